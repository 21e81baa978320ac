"""scripts/soak: a server, people who stay, people who come and go, and somebody who watches."""

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from scripts.common.beside import beside
from scripts.common.process import open_files, raise_open_files
from scripts.common.target import (
    OwnServer,
    Target,
    Trouble,
    own_server,
    read_key,
)
from scripts.common.terminal import Progress
from scripts.loadgen.device import Lost
from scripts.loadgen.program import SETTINGS as LOAD_SETTINGS
from scripts.loadgen.record import Fault, Finding
from scripts.soaking.chapters import Counts, Lane
from scripts.soaking.page import Result, text_of
from scripts.soaking.residents import Residents
from scripts.soaking.watch import RSS_GROWTH, Watch, files_verdict, memory_verdict

HISTORY_MS: Final = 120_000
SETTINGS: Final = {
    **LOAD_SETTINGS,
    # Short, so that what is kept for a time is let go of many times while we watch.
    "MUSTER_LIMIT_HISTORY_MS": str(HISTORY_MS),
    "MUSTER_LIMIT_REQUEST_ID_MS": str(HISTORY_MS),
    "MUSTER_LIMIT_HANDLED_MS": str(HISTORY_MS),
    "MUSTER_LIMIT_GROUPS_PER_DAY": "0",
}
_LANES: Final = 2
_CHAPTER_S: Final = 45.0
_AWAY_S: Final = 15.0
_EVERY_S: Final = 10.0
_MOST_KEPT: Final = 1_000
_GONE_S: Final = 5.0
_RESIDENTS_SHARE: Final = 0.3


def main(arguments: Sequence[str]) -> int:
    """Run; returns the exit status: 0 nothing is wrong, 1 something is, 2 it could not be run."""
    options = _parser().parse_args(arguments)
    raise_open_files()
    try:
        result = _given(options) if options.url else _own(options)
    except Trouble as error:
        sys.stderr.write(f"soak: {error}\n")
        return 2
    sys.stdout.write(text_of(result) + "\n")
    if options.json is not None:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    return 1 if result.has_failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/soak",
        description="Load a server evenly for a long time, with people who come, go, stall, are "
        "removed and come back, and check every delivery. Fails if anything is lost, doubled, out "
        f"of order or foreign, if memory grows by more than {RSS_GROWTH:.0%} after the first five "
        "minutes, or if files stay open.",
        epilog="A server given with --url needs "
        + ", ".join(f"{name}={value}" for name, value in SETTINGS.items()),
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--minutes", type=_positive, metavar="N", default=30.0, help="how long; default 30")
    add("--rate", type=_positive, metavar="N", default=250.0, help="acts per second; default 250")
    add("--users", type=int, metavar="N", default=60, help="in each conversation; default 60")
    add("--seed", type=int, metavar="N", default=1, help="who does what")
    add("--json", type=Path, metavar="FILE", help="write the result there, too")
    add("--url", metavar="ws://...", help="a server that runs (see below); not for its memory")
    add("--key-file", type=Path, metavar="FILE", help="its secret.key, with --url")
    add("--admin", default="administrator", metavar="USER", help="its app_admin account")
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError("expected a number above 0")
    return value


def _given(options: argparse.Namespace) -> Result:
    if options.key_file is None:
        raise Trouble("--url needs --key-file, the server's secret.key")
    target = Target(options.url, read_key(options.key_file))
    return asyncio.run(_soak(options, target, None))


def _own(options: argparse.Namespace) -> Result:
    with own_server(SETTINGS) as server:
        files = open_files(server.pid)
        try:
            result = asyncio.run(_soak(options, server.target(), server))
        except Lost as error:
            tail = server.log_tail()
            raise Trouble(f"the server is gone: {error}; its log ends:\n{tail}") from error
        is_flat, result.files = files_verdict(files, open_files(server.pid))
        if not is_flat:
            result.problems.append("files stay open")
        if server.stop() != 0:
            result.problems.append("the server did not end as it should")
        result.findings += [
            Finding(Fault.SERVER_LOG, "server", line) for line in server.log_troubles()
        ]
        result.finding_count += len(server.log_troubles())
        is_sound, result.check = server.check()
        if not is_sound:
            result.problems.append("the data is not sound")
        return result


class _Findings:
    """The first findings, and how many there were; each is told when it is made."""

    def __init__(self) -> None:
        self.kept: list[Finding] = []
        self.count = 0

    def note(self, finding: Finding) -> None:
        self.count += 1
        if len(self.kept) < _MOST_KEPT:
            self.kept.append(finding)
            sys.stderr.write(f"{finding.fault.value}: {finding.where}: {finding.what}\n")


async def _soak(options: argparse.Namespace, target: Target, server: OwnServer | None) -> Result:
    seconds = options.minutes * 60
    findings, counts = _Findings(), Counts()
    residents = Residents(
        target,
        seed=options.seed,
        users=max(4, options.users // 5),
        groups=3,
        rate=options.rate * _RESIDENTS_SHARE,
        away_s=min(_AWAY_S, seconds / 6),
        admin=options.admin,
        on_finding=findings.note,
    )
    chapter_s = min(_CHAPTER_S, max(1.0, seconds / 2))
    lanes = [
        Lane(
            target,
            seed=1_000_000 * (number + 1) * options.seed,
            users=options.users,
            rate=options.rate * (1 - _RESIDENTS_SHARE) / _LANES,
            chapter_s=chapter_s,
            admin=options.admin,
            counts=counts,
            on_finding=findings.note,
        )
        for number in range(_LANES)
    ]
    watch = Watch(server.pid, min(_EVERY_S, seconds / 6)) if server is not None else None
    started_s, cpu_before_s = time.monotonic(), _cpu_s(server)
    until_s = started_s + seconds
    async with beside(_show(seconds)), beside(watch.run() if watch is not None else None):
        await asyncio.gather(
            residents.run(until_s),
            *(lane.run(until_s, number * chapter_s / _LANES) for number, lane in enumerate(lanes)),
        )
    lasted_s = time.monotonic() - started_s
    cpu_share = (_cpu_s(server) - cpu_before_s) / lasted_s
    if watch is not None and server is not None:
        await _until_all_are_gone(server.pid)
        watch.look()
    samples = watch.samples if watch is not None else []
    growth, memory = memory_verdict(samples)
    return Result(
        seed=options.seed,
        minutes=lasted_s / 60,
        rate=options.rate,
        chapters=counts.chapters,
        deliveries=counts.deliveries + residents.deliveries,
        resumes=counts.resumes + residents.resumes,
        events_from_the_log=counts.paged + residents.paged,
        answers_watched=counts.watched,
        acts=dict(Counter(residents.acts) + Counter(counts.requests)),
        findings=findings.kept,
        finding_count=findings.count,
        memory_growth=growth,
        memory=memory,
        files="not looked at",
        check="not looked at",
        lag_ms=max((sample.lag_ms for sample in samples), default=0.0),
        cpu_share=cpu_share,
        problems=["memory grows"] if growth is not None and growth > RSS_GROWTH else [],
        samples=samples,
    )


def _cpu_s(server: OwnServer | None) -> float:
    return time.process_time() + (server.cpu_s if server is not None else 0.0)


async def _until_all_are_gone(pid: int) -> None:
    """Give the server a moment to see that everybody has left."""
    give_up_s = time.monotonic() + _GONE_S
    before = open_files(pid)
    while time.monotonic() < give_up_s:
        await asyncio.sleep(0.2)
        now = open_files(pid)
        if now == before:
            return
        before = now


async def _show(seconds: float) -> None:
    progress = Progress(int(seconds), "s")
    try:
        for second in range(int(seconds) + 1):
            progress.show(second)
            await asyncio.sleep(1)
    finally:
        progress.end()
