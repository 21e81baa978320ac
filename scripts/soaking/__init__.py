"""scripts/soak: hours of mixed load on one server; memory, files and every delivery are watched."""
