"""scripts/storm: thousands of SDK clients lose their server and come back to it."""
