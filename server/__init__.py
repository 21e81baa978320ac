"""The Muster server: see README.md, Architecture, for the rooms and the way through them."""

from typing import Final

VERSION: Final = "0.1.0"
"""As in pyproject.toml, which is not there for a program that runs."""
