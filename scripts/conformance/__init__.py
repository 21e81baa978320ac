"""The Autobahn WebSocket test suite against our transport; the program is scripts/autobahn."""
