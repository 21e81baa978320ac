"""The machine's wall clock jumps while the server works and between two runs: fault F11.

Order, numbers, request ids, rates, pings and what is old do not depend on it; times in the
logs never go back.
"""

import asyncio
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.kit.faults import Faults
from tests.kit.receivers import http_peer
from tests.kit.server_process import ServerProcess
from tests.kit.system_device import PATIENCE_S, Device, Frame, text

pytestmark = pytest.mark.usefixtures("shim")

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
TOKEN_S = 3 * 86_400
UNAVAILABLE = b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n"

JUMPS = (-HOUR_MS, DAY_MS, 0, -DAY_MS)


async def device_of(server: ServerProcess, user_id: str, cursor: str | None = None) -> Device:
    """A device whose token outlives the jumps; the hello is judged by the shown time."""
    device = await Device.open(server.ws)
    token = server.token(user_id, now_s=int(time.time()) - TOKEN_S, expire_s=2 * TOKEN_S)
    await device.hello(user_id, token, cursor=cursor)
    return device


async def log_of(device: Device) -> list[Frame]:
    page = await device.call("list_messages", group_id="g", after_seq=0)
    events: list[Frame] = page["events"]
    return events


async def test_a_clock_that_jumps(data_directory: Path) -> None:
    faults = Faults(data_directory)
    limits = {"HEARTBEAT_MS": 400, "REQUESTS_PER_S": 50, "REQUESTS_BURST": 100}
    with ServerProcess(data_directory, limits=limits, env=faults.env) as server:
        alice = await device_of(server, "alice")
        group = {"group_id": "g", "type": "Public", "name": "g"}
        await alice.call("create_group", request_id="made", **group)
        for number, jump in enumerate(JUMPS):
            faults.shift_clock(jump)
            first = await alice.call("send_message", request_id=f"r{number}", **says(number))
            again = await alice.call("send_message", request_id=f"r{number}", **says(number))
            assert again == first
            assert first["seq"] == number + 1
            # Two beats of the server come as if nothing had happened.
            await (await alice.connection.ping())
        entries = await log_of(alice)
        times = [entry["time_ms"] for entry in entries]
        assert times == sorted(times)
        assert max(times) - min(times) >= DAY_MS - HOUR_MS, "the jumps were seen"
        assert not alice.is_closed
        assert server.trouble() == []
        # The clock was ahead and is right again: it alone judges tokens.
        shown_s = int(time.time()) + JUMPS[-1] // 1000
        bob = await Device.open(server.ws)
        await bob.hello("bob", server.token("bob", now_s=shown_s, expire_s=600))
        await bob.close()
        cursor = alice.cursor
        await alice.close()

        # A restart while the clock shows a time before what is in the log.
        assert server.stop() == 0
        server.start()
        alice = await device_of(server, "alice", cursor)
        assert alice.frames[0]["resume"] == "resumed"
        last = await alice.call("send_message", request_id="last", **says(len(JUMPS)))
        assert last["seq"] == len(JUMPS) + 1
        again = await alice.call("send_message", request_id="r0", **says(0))
        assert again["seq"] == 1, "ids are remembered across the restart and the jump"
        entries = await log_of(alice)
        assert [entry["seq"] for entry in entries] == list(range(1, last["seq"] + 1))
        assert entries[-1]["time_ms"] >= max(times), "nor over a restart"
        await alice.close()
        server.assert_sound()


async def test_the_webhook_is_signed_and_tried_again_by_the_right_time(
    data_directory: Path,
) -> None:
    """The clock was ahead by a day and is right again: the log's time stands still meanwhile.

    Who checks signatures refuses what is from tomorrow, and what failed is due by then.
    """
    faults = Faults(data_directory)
    limits = {"WEBHOOK_BACKOFF_MS": 10}
    async with http_peer(UNAVAILABLE) as peer:
        env = {
            **faults.env,
            "MUSTER_WEBHOOK_URL": peer.url,
            "MUSTER_WEBHOOK_CALLBACKS": "Group.CallbackAfterSendMsg",
            "MUSTER_WEBHOOK_SECRET": "s",
            "MUSTER_WEBHOOK_TOKEN": "t",
        }
        with ServerProcess(data_directory, limits=limits, env=env) as server:
            alice = await device_of(server, "alice")
            await alice.call("create_group", group_id="g", type="Public", name="g")
            faults.shift_clock(DAY_MS)
            await alice.call("update_group", group_id="g", name="tomorrow")
            faults.shift_clock(0)
            await alice.call("send_message", **says(1))
            async with asyncio.timeout(PATIENCE_S):
                while len(peer.requests) < 3:  # noqa: ASYNC110 - another process causes it
                    await asyncio.sleep(0.01)
            for first_line, headers, _ in peer.requests:
                signed_s = int(headers["Muster-Signature"].split(",")[0].removeprefix("t="))
                query = parse_qs(urlsplit(first_line.split()[1]).query)
                for at_s in (signed_s, int(query["RequestTime"][0])):
                    assert abs(at_s - time.time()) < DAY_MS / 2000
            await alice.close()


def says(number: int) -> Frame:
    return {"group_id": "g", "body": text(str(number))}
