"""Tells the operator's own service, and asks it."""
