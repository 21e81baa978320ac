"""Coverage-guided fuzzing; the program is scripts/fuzz."""
