"""Peers whose network is gone without a word (F14), in a network of their own.

``lost`` runs this module in a network namespace whose only device, the loopback, is taken down:
no FIN, no RST, no answer to anything. The server must let go of who is idle within two heartbeats,
and of who has a full buffer after SILENCE_MS and SLOW_CLOSE_MS; when the network is back, both go on.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Final

from tests.kit.server_process import ROOT, ServerProcess
from tests.kit.system_device import Device, connect_device, text
from tests.kit.system_peer import Peer

LIMITS: Final = {
    "HEARTBEAT_MS": 500,
    "SILENCE_MS": 1_000,
    "SLOW_CLOSE_MS": 500,
    "OUTGOING_BYTES": 65_536,
    "REQUESTS_PER_S": 0,
    "USER_REQUESTS_PER_S": 0,
}
IDLE_S: Final = 2 * LIMITS["HEARTBEAT_MS"] / 1000
FULL_S: Final = (LIMITS["SILENCE_MS"] + LIMITS["SLOW_CLOSE_MS"]) / 1000
SLACK_S: Final = 1.5
"""Two sweeps of half a second, and a busy machine."""

_OWN_NETWORK: Final = 'ip link set lo up || exit 77; exec "$@"'
_CANNOT: Final = 77
_MESSAGES: Final = 600


async def lost(directory: Path, _seed: int) -> Counter[tuple[str, str]]:
    """The part of ``scripts/faults``: runs ``main`` in a network namespace."""
    command = ("unshare", "-rn", "sh", "-c", _OWN_NETWORK, "sh")
    program = (sys.executable, "-m", "scripts.faulting.network", str(directory))
    process = await asyncio.create_subprocess_exec(
        *command, *program, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    output, errors = await process.communicate()
    if process.returncode == _CANNOT or b"unshare failed" in errors:
        return Counter({("the network is gone", "no network namespaces here"): 1})
    assert process.returncode == 0, errors.decode()[-2000:]
    return Counter({("the network is gone", line): 1 for line in output.decode().splitlines()})


async def main(directory: Path) -> None:
    """Judge it; says on standard output what was seen."""
    with ServerProcess(directory / "data", limits=LIMITS) as server, Peer() as full:
        before = _sockets(server)
        full.stay_small()
        await full.connect(server)
        idle = await connect_device(server, "bob")
        await full.hello(server, "carol")
        alice = await connect_device(server, "alice")
        members = [{"user_id": "bob"}, {"user_id": "carol"}]
        await alice.call("create_group", group_id="g", type="Public", name="g", members=members)
        for _ in range(_MESSAGES):
            await alice.call("send_message", group_id="g", body=text("." * 3000))
        await idle.settle()
        cursor, heard = idle.cursor, len(_messages(idle))
        _loopback("down")
        began_s = time.monotonic()
        limit_s = IDLE_S + SLACK_S
        await _until_sockets(server, before + 1, limit_s)
        print(f"who is idle is let go within {limit_s:.1f} s")
        await _until_sockets(server, before, began_s + FULL_S + SLACK_S - time.monotonic())
        print(f"who has a full buffer is let go within {FULL_S + SLACK_S:.1f} s")
        _loopback("up")
        again = await connect_device(server, "bob", cursor=cursor)
        await again.settle()
        assert heard + len(_messages(again)) == _MESSAGES
        carol = await connect_device(server, "carol", "peer-1", cursor=None)
        page = await carol.call("list_messages", group_id="g", after_seq=0)
        assert page["events"]
        print("they come back and miss nothing")
        assert server.trouble() == [], server.log()
        for gone in (alice, idle, again, carol):
            gone.drop()


def _messages(device: Device) -> list[object]:
    return [event for event in device.events if event["event"] == "message"]


def _loopback(state: str) -> None:
    subprocess.run(["ip", "link", "set", "lo", state], check=True)


def _sockets(server: ServerProcess) -> int:
    """How many sockets the process has; none of it needs the network to be seen."""
    directory = f"/proc/{server.pid}/fd"
    links = (os.path.join(directory, name) for name in os.listdir(directory))
    return sum(os.readlink(link).startswith("socket:") for link in links)


async def _until_sockets(server: ServerProcess, most: int, within_s: float) -> None:
    deadline_s = time.monotonic() + within_s
    while (count := _sockets(server)) > most:
        assert time.monotonic() < deadline_s, f"{count} sockets are left, not {most}"
        await asyncio.sleep(0.02)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
