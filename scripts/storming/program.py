"""scripts/storm: a server, its clients in several processes, and two ends of the server."""

import argparse
import asyncio
import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Final

import msgspec

from scripts.common.percentiles import percentile
from scripts.common.process import peak_bytes, raise_open_files
from scripts.common.target import OwnServer, Target, Trouble, own_server
from scripts.common.terminal import table
from scripts.storming.crowd import Answer, Member, Task, run_crowd
from scripts.storming.pulse import Pulse

SETTINGS: Final = {
    "MUSTER_LIMIT_REQUESTS_PER_S": "0",
    "MUSTER_LIMIT_USER_REQUESTS_PER_S": "0",
    "MUSTER_LIMIT_UNAUTHENTICATED_PER_ADDRESS": "0",
}
_GROUP: Final = 50
_FILES_BESIDE: Final = 200
_AFTER_S: Final = 1.0


class Storm(msgspec.Struct, kw_only=True):
    """What one end of the server did; times in seconds, bytes, ms.

    Attributes:
        down_s: from the signal until the server was ready again.
        back_s: from then until each client was welcomed, ascending.
        peak_rss_bytes: of the server that they came back to.
        latencies_ms: of messages sent on a connection while others came back, ascending.
    """

    how: str
    exit_status: int
    down_s: float
    back_s: list[float]
    peak_rss_bytes: int
    latencies_ms: list[float]
    server_cpu_s: float


class Result(msgspec.Struct, kw_only=True):
    """Everything that is told; the JSON form has these names."""

    clients: int
    storms: list[Storm]
    endings: dict[str, int]
    events: int
    messages: int
    refusals: int
    wrong: list[str]
    wrong_count: int
    troubles: list[str]
    rss_before_bytes: int

    @property
    def has_failed(self) -> bool:
        """Whether anything is wrong."""
        return bool(self.wrong_count or self.troubles or self.refusals)


def main(arguments: Sequence[str]) -> int:
    """Run; returns the exit status: 0 nothing is wrong, 1 something is, 2 it could not be run."""
    options = _parser().parse_args(arguments)
    files = raise_open_files()
    try:
        if files < options.clients + _FILES_BESIDE:
            raise Trouble(f"{options.clients} clients need more open files than {files}")
        with own_server(SETTINGS) as server:
            result = _run(options, server)
    except Trouble as error:
        sys.stderr.write(f"storm: {error}\n")
        return 2
    sys.stdout.write(text_of(result) + "\n")
    if options.json is not None:
        options.json.write_bytes(msgspec.json.encode(result))
    return 1 if result.has_failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/storm",
        description="Connect many SDK clients to a server, end it with SIGTERM and then with "
        "kill -9, start it again each time, and see that every client comes back by itself and "
        "gets everything that was said, once. Exit status 1 if not.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--clients", type=int, metavar="N", default=5_000, help="how many; default 5000")
    add("--processes", type=int, metavar="N", default=0, help="default: one for 1250 clients")
    add("--rate", type=float, metavar="N", default=50.0, help="messages per second; default 50")
    add("--json", type=Path, metavar="FILE", help="write the result there, too")
    return parser


def _run(options: argparse.Namespace, server: OwnServer) -> Result:
    members = _members(server.target(), options.clients)
    count = options.processes or -(-options.clients // 1_250)
    context = multiprocessing.get_context("spawn")
    pipes: list[Pipe] = []
    processes = []
    try:
        for number in range(count):
            ours, theirs = context.Pipe()
            part = members[number::count]
            process = context.Process(target=run_crowd, args=(theirs, server.url, part))
            process.start()
            theirs.close()
            pipes.append(ours)
            processes.append(process)
        return asyncio.run(_storm(options, server, members, _Crowds(pipes)))
    finally:
        for process in processes:
            process.join(0.5)
            if process.is_alive():
                process.kill()
                process.join()


def _members(target: Target, count: int) -> list[Member]:
    return [
        Member(f"storm-{number}", target.sign(f"storm-{number}"), f"storm-{number // _GROUP}")
        for number in range(count)
    ]


class _Crowds:
    """All processes as one."""

    def __init__(self, pipes: list[Pipe]) -> None:
        self._pipes = pipes

    async def perform(self, task: Task) -> Answer:
        """Have all do it at the same time; the sum of what they report."""

        def one(pipe: Pipe) -> Answer:
            pipe.send(task)
            answer: Answer = pipe.recv()
            return answer

        total = Answer()
        for answer in await asyncio.gather(*(asyncio.to_thread(one, p) for p in self._pipes)):
            total.welcomed_s = total.welcomed_s + answer.welcomed_s
            total.wrong = total.wrong + answer.wrong
            total.wrong_count += answer.wrong_count
            total.events += answer.events
            total.endings = {
                code: total.endings.get(code, 0) + answer.endings.get(code, 0)
                for code in total.endings | answer.endings
            }
        return total

    def close(self) -> None:
        """Let them end."""
        for pipe in self._pipes:
            pipe.send(None)


async def _storm(
    options: argparse.Namespace, server: OwnServer, members: list[Member], crowds: _Crowds
) -> Result:
    pulse = Pulse(server.url, "pulse", server.target().sign("pulse"), options.rate)
    await crowds.perform(Task("connect"))
    await pulse.found(members)
    rss_before = peak_bytes(server.pid)
    beating = asyncio.create_task(pulse.beat())
    storms: list[Storm] = []
    for number, (how, end) in enumerate((("SIGTERM", server.stop), ("kill -9", server.kill))):
        await asyncio.sleep(_AFTER_S)
        began_s = time.monotonic()
        status = await asyncio.to_thread(end)
        await asyncio.to_thread(server.start)
        ready_s, cpu_s = time.monotonic(), server.cpu_s
        answer = await crowds.perform(Task("returned", connections=number + 2))
        all_back_s = time.monotonic()
        storms.append(
            Storm(
                how=how,
                exit_status=status or 0,
                down_s=ready_s - began_s,
                back_s=sorted(at_s - ready_s for at_s in answer.welcomed_s),
                peak_rss_bytes=peak_bytes(server.pid),
                latencies_ms=[],
                server_cpu_s=server.cpu_s - cpu_s,
            )
        )
        await asyncio.sleep(_AFTER_S)
        storms[-1].latencies_ms = sorted(
            (sent.replied_s - sent.sent_s) * 1000
            for sent in pulse.sent
            if sent.was_connected and ready_s <= sent.sent_s <= all_back_s
        )
    pulse.stop()
    await beating
    answer = await crowds.perform(Task("finish", last_seqs=pulse.last_seqs))
    crowds.close()
    await pulse.close()
    troubles = server.log_troubles()
    is_sound, said = await asyncio.to_thread(server.check)
    if not is_sound:
        troubles.append(f"the data is not sound: {said}")
    if storms[0].exit_status:
        troubles.append(f"the drain ended with status {storms[0].exit_status}")
    return Result(
        clients=len(members),
        storms=storms,
        endings=answer.endings,
        events=answer.events,
        messages=len(pulse.sent),
        refusals=pulse.refusals,
        wrong=answer.wrong,
        wrong_count=answer.wrong_count,
        troubles=troubles,
        rss_before_bytes=rss_before,
    )


def text_of(result: Result) -> str:
    """The page as plain text."""
    endings = ", ".join(f"{count} with {code}" for code, count in sorted(result.endings.items()))
    lines = [
        f"{result.clients:,} clients, {result.messages:,} messages, {result.events:,} deliveries",
        f"the server's memory before, at most: {result.rss_before_bytes / 2**20:.1f} MiB",
        f"connections ended: {endings}; {result.refusals} messages refused for good",
    ]
    rows = [["", *(storm.how for storm in result.storms)]]
    rows += [[name, *(cell(storm) for storm in result.storms)] for name, cell in _ROWS]
    lines.append(table(rows, right=(1, 2)))
    if result.has_failed:
        lines += [f"{result.wrong_count} wrong:", *result.wrong, *result.troubles]
    else:
        lines.append("Nothing is wrong.")
    return "\n".join(lines)


def _most_in_a_second(back_s: Sequence[float]) -> int:
    first, most = 0, 0
    for last, at_s in enumerate(back_s):
        while back_s[first] <= at_s - 1:
            first += 1
        most = max(most, last - first + 1)
    return most


_ROWS: Final[Sequence[tuple[str, Callable[[Storm], str]]]] = (
    ("s until the server was ready again", lambda s: f"{s.down_s:.1f}"),
    ("s from then until half were back", lambda s: f"{percentile(s.back_s, 0.5):.1f}"),
    ("  99 %", lambda s: f"{percentile(s.back_s, 0.99):.1f}"),
    ("  all", lambda s: f"{percentile(s.back_s, 1.0):.1f}"),
    ("most in one second", lambda s: f"{_most_in_a_second(s.back_s)}"),
    ("CPU seconds of the server", lambda s: f"{s.server_cpu_s:.1f}"),
    ("its memory, at most, MiB", lambda s: f"{s.peak_rss_bytes / 2**20:.1f}"),
    ("messages sent meanwhile", lambda s: f"{len(s.latencies_ms)}"),
    ("  ms until answered, median", lambda s: f"{percentile(s.latencies_ms, 0.5):.0f}"),
    ("  99 %", lambda s: f"{percentile(s.latencies_ms, 0.99):.0f}"),
)
