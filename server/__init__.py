"""The Muster server: see README.md, Architecture, for the rooms and the way through them."""
