"""A python-socketio server on uvicorn, WebSocket only."""

import asyncio
import json
import socket
import sys
from typing import Any

import socketio
import uvicorn

EVENT = "events".ljust(int(sys.argv[1]) - 20, "x")  # the rest is what socket.io puts around it
sio = socketio.AsyncServer(async_mode="asgi", ping_interval=3600, transports=["websocket"])


@sio.event
async def connect(sid: str, environ: dict[str, Any]) -> None:
    await sio.emit("welcome", to=sid)


@sio.on("all")
async def send_to_all(sid: str, number: str) -> None:
    await sio.emit("m", EVENT)


@sio.on("echo")
async def echo(sid: str, data: str) -> None:
    await sio.emit("echo", data, to=sid)


async def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    port = listener.getsockname()[1]
    app = socketio.ASGIApp(sio)
    config = uvicorn.Config(
        app,
        log_level="critical",
        backlog=4096,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_ping_interval=None,
    )
    print(
        json.dumps(
            {
                "ready": True,
                "ws": f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket",
            }
        ),
        flush=True,
    )
    await uvicorn.Server(config).serve(sockets=[listener])


asyncio.run(main())
