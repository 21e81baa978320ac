"""Requests that change nothing, beside a bare echo of as many bytes."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from scripts.benchmarks.bare_writer import BareWriter, bare_writer
from scripts.benchmarks.bench import Meter, Sizes, Work, fresh_server, others_note
from scripts.benchmarks.fanout import found
from scripts.benchmarks.figures import OURS, Result, Runs
from scripts.benchmarks.frames import Muster
from scripts.benchmarks.sides import (
    BROADCAST,
    CORE,
    KINDS,
    NODE_SOCKETIO,
    NODE_WS,
    PYTHON_SOCKETIO,
    Company,
    Side,
)
from scripts.common.target import OwnServer, Trouble

_SIDES: Final = (CORE, BROADCAST, NODE_WS, NODE_SOCKETIO, PYTHON_SOCKETIO)
_CONNECTIONS: Final = 32
_FRAME_BYTES: Final = 200
_WARM_UP: Final = 0.2
_CPU: Final = "server CPU"
_MEMORY, _ROW, _PING = f"{OURS}, get_online_count", f"{OURS}, get_members of one", f"{OURS}, ping"
_ALLOWED: Final = 2.0


def _measure(sizes: Sizes, tell: Callable[[str], None]) -> Result:
    runs = Runs()
    others: list[float] = []
    with fresh_server() as server, contextlib.ExitStack() as stack:
        company = Company(stack, wants_c=sizes.wants_c, wants_sides=sizes.wants_sides)
        request_bytes = _open_ours(company, server)
        company.invite(_SIDES, _CONNECTIONS, _FRAME_BYTES)
        for side in company.sides[len((_MEMORY, _ROW, _PING)) :]:
            side.swarm.open(_CONNECTIONS)
            for number in range(_CONNECTIONS):
                side.swarm.teach(number, KINDS[side.name].talk.echo(request_bytes))
        writer = stack.enter_context(bare_writer()) if sizes.wants_sides else None
        for run in range(sizes.runs):
            for side in company.sides:
                tell(f"requests, run {run + 1} of {sizes.runs}, {side.name}")
                others.append(_one(side, sizes, runs))
            if writer is not None:
                _compare(writer, sizes, runs)
    return Result(
        figures=runs.figures(),
        notes=[
            f"{_CONNECTIONS} connections with one request each under way; elsewhere a message of "
            f"{request_bytes} bytes that comes back",
            "the bare read is one row by its key with sqlite3; allowed are twice the bare core's "
            "echo and one bare read",
            *company.notes,
            others_note(others),
        ],
    )


def _open_ours(company: Company, server: OwnServer) -> int:
    """A side for each kind of request, all of one server; returns the bytes of a request."""
    target = server.target()
    talk = Muster(target)
    size = 0
    for name in (_MEMORY, _ROW, _PING):
        users = [f"{name.rpartition(' ')[2]}-{number}" for number in range(_CONNECTIONS)]
        group_id = asyncio.run(found(target, users))
        side = company.ours(server, users, name=name)
        side.swarm.open(_CONNECTIONS)
        for number, user in enumerate(users):
            template = {
                _MEMORY: talk.request("get_online_count", {"group_id": group_id}),
                _ROW: talk.request("get_members", {"group_id": group_id, "user_ids": [user]}),
                _PING: talk.ping(),
            }[name]
            side.swarm.teach(number, template)
            size = max(size, len(template.frame))
    return size


def _one(side: Side, sizes: Sizes, runs: Runs) -> float:
    """A run of one side; returns what others used."""
    side.swarm.ask(0, _CONNECTIONS, 1, sizes.seconds * _WARM_UP)
    meter = Meter(side.server, side.swarm.pid)
    asked = side.swarm.ask(0, _CONNECTIONS, 1, sizes.seconds)
    if asked.errors:
        raise Trouble(f"{asked.errors} of {asked.answers} requests were refused")
    done = asked.answers + _CONNECTIONS
    name = side.name
    runs.add(_CPU, meter.server_s() / done * 1e6, "us per request", "lower", side=name)
    runs.add("load side CPU", meter.load_s() / done * 1e6, "us per request", side=name)
    per_s = asked.answers / asked.seconds
    runs.add("requests", per_s, "per second", "higher", side=name)
    runs.add("answer, median", asked.p50_ms, "ms", "lower", side=name)
    return meter.others()


def _compare(writer: BareWriter, sizes: Sizes, runs: Runs) -> None:
    """How ours compares with what is allowed."""
    read_us = writer.read(sizes.seconds * _WARM_UP).cpu_us
    runs.add(_CPU, read_us, "us per request", "lower", side="bare read")
    echo_us = runs.last(_CPU, CORE)
    if echo_us is None:
        return
    for name in (_MEMORY, _ROW, _PING):
        allowed_us = _ALLOWED * echo_us + (0 if name == _PING else read_us)
        ratio = (runs.last(_CPU, name) or 0.0) / allowed_us
        runs.add("share of what is allowed", ratio, "", "lower", side=name, goal=1.0)
        times = (runs.last(_CPU, name) or 0.0) / echo_us
        runs.add("ratio to the bare echo", times, "", "lower", side=name)


WORK: Final = Work(question="What does a request cost that changes nothing?", measure=_measure)
