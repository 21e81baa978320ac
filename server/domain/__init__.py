"""The rules as a calculator: no clock, no randomness, no I/O, no logging."""
