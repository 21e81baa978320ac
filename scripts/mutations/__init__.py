"""Faults that somebody could make in the code, and whether the tests would see them."""
