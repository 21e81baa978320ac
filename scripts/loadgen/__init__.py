"""scripts/load: a seeded conversation over real sockets, and the oracle that judges it."""
