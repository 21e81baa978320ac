"""A peer that asks without end and reads no answer: it is not read from, and others are served."""

import asyncio
from pathlib import Path
from typing import Final

from scripts.common.process import resident_bytes
from tests.kit.server_process import ServerProcess
from tests.kit.system_device import text
from tests.kit.system_peer import Peer
from tests.system.conftest import Connect

MESSAGES: Final = 100
WORDS: Final = "x" * 5_000
ANSWER_BYTES: Final = MESSAGES * len(WORDS)
REQUESTS: Final = 400_000
"""40 MB of them: more than the kernel keeps for two ends of a connection."""
IN_FLIGHT: Final = 16
LIMITS: Final = {
    "REQUESTS_PER_S": 0,
    "USER_REQUESTS_PER_S": 0,
    "REQUESTS_IN_FLIGHT": IN_FLIGHT,
    "RATE_WARNINGS": 0,
    "SILENCE_MS": 0,
    "OUTGOING_BYTES": 65_536,
}
PATIENCE_S: Final = 2.0


async def test_a_flood_of_requests_whose_answers_nobody_reads_is_bounded(
    data_directory: Path, connect: Connect
) -> None:
    with ServerProcess(data_directory, limits=LIMITS) as server, Peer() as flood:
        owner = await connect(server, "owner")
        members = [{"user_id": "eve"}]
        await owner.call("create_group", type="Public", name="-", group_id="g", members=members)
        for number in range(MESSAGES):
            await owner.call("send_message", group_id="g", body=text(f"{number}{WORDS}"))
        flood.stay_small()
        await flood.connect(server)
        await flood.hello(server, "eve")
        before = resident_bytes(server.pid)
        params = {"group_id": "g", "limit": MESSAGES}
        request = {"type": "request", "method": "list_messages", "params": params}
        some = [flood.message_bytes(request | {"id": f"r{number}"}) for number in range(4_000)]
        requests = b"".join(some) * (REQUESTS // len(some))
        sending = asyncio.ensure_future(
            asyncio.get_running_loop().sock_sendall(flood.socket, requests)
        )
        done, _ = await asyncio.wait([sending], timeout=PATIENCE_S)
        assert not done, "the server stops reading from who does not read"
        sending.cancel()
        # What is kept is what was in flight, as rows, as events and as bytes; not what was asked.
        most = 4 * IN_FLIGHT * ANSWER_BYTES
        assert resident_bytes(server.pid) - before < most
        assert most < REQUESTS * ANSWER_BYTES / 1000
        await owner.call("send_message", group_id="g", body=text("the others are served"))
