"""Harm done to real servers, over and over, and a table of what they made of it."""
