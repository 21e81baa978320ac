"""scripts/demo: a group's whole life as six devices see it."""
