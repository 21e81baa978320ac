"""A server on the websockets library's asyncio side, with its broadcast helper, uncompressed."""

import asyncio
import json
import sys

from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed

EVENT = b"events".ljust(int(sys.argv[1]) - 4, b"x")
everybody: set[ServerConnection] = set()


async def handle(connection: ServerConnection) -> None:
    try:
        await connection.recv()
        everybody.add(connection)
        await connection.send("welcome")
        async for message in connection:
            if message[:3] == b"all":
                broadcast(everybody, EVENT)
            else:
                await connection.send(message)
    except ConnectionClosed:
        pass
    finally:
        everybody.discard(connection)


async def main() -> None:
    async with serve(
        handle, "127.0.0.1", 0, compression=None, backlog=4096, ping_interval=None
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        print(json.dumps({"ready": True, "ws": f"ws://127.0.0.1:{port}/"}), flush=True)
        await server.serve_forever()


asyncio.run(main())
