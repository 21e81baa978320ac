"""scripts/bench: what things cost, measured and printed, never asserted."""
