"""Bytes in and out: WebSocket connections and the admin listener."""
