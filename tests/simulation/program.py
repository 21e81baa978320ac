"""scripts/simulate: plays thousands of seeded histories, and says what was found in them."""

import argparse
import gc
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Final

import msgspec

from tests.simulation.history import Outcome, play
from tests.simulation.report import report

HASH_SEED: Final = "0"
"""What PYTHONHASHSEED has to be: sets of texts are walked in the order of their hashes."""

_TRACE_LINES: Final = 60
_MOST_FINDINGS: Final = 5
_AT_ONCE: Final = 20


class Batch(msgspec.Struct):
    """What came of some histories; of those with findings all of it."""

    histories: int = 0
    counts: dict[str, int] = {}
    digest: str = "0" * 32
    failed: list[Outcome] = []
    is_last: bool = False

    def add(self, outcome: Outcome) -> None:
        """One more."""
        self.histories += 1
        self._count(outcome.counts)
        self._mix(outcome.digest)
        if outcome.findings:
            self.failed.append(outcome)

    def join(self, other: "Batch") -> None:
        """All of another one."""
        self.histories += other.histories
        self._count(other.counts)
        self._mix(other.digest)
        self.failed += other.failed

    def _count(self, counts: Mapping[str, int]) -> None:
        for name, count in counts.items():
            self.counts[name] = self.counts.get(name, 0) + count

    def _mix(self, digest: str) -> None:
        """Whatever the order in which they come, the same comes out."""
        self.digest = f"{int(self.digest, 16) ^ int(digest, 16):032x}"


def main(arguments: Sequence[str]) -> int:
    """Run; returns the exit status: 0 nothing was found, 1 something was."""
    options = _parser().parse_args(arguments)
    if options.seed is not None:
        return _play_one(options.seed, shows_trace=options.trace)
    started_s = time.monotonic()
    total = Batch()
    for batch in _play_all(options.first, options.histories, options.jobs, options.seconds):
        for outcome in batch.failed[: max(0, _MOST_FINDINGS - len(total.failed))]:
            _show_failed(outcome)
        total.join(batch)
        if len(total.failed) >= _MOST_FINDINGS and not options.go_on:
            break
    for line in report(total.counts, total.histories, time.monotonic() - started_s):
        _say(line)
    _say(f"digest {total.digest}")
    if total.failed:
        seeds = " ".join(str(outcome.seed) for outcome in total.failed[:20])
        _say(f"{len(total.failed)} of {total.histories} histories broke a promise: {seeds}")
        return 1
    _say(f"Nothing is wrong in {total.histories} histories.")
    return 0


def fix_hashes(program: str, arguments: Sequence[str]) -> None:
    """Return when hashes are the same in every process; else become ``program`` where they are."""
    if os.environ.get("PYTHONHASHSEED") != HASH_SEED:
        environment = {**os.environ, "PYTHONHASHSEED": HASH_SEED}
        command = [sys.executable, "-P", program, *arguments]
        os.execve(sys.executable, command, environment)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/simulate", description=__doc__)
    parser.add_argument("--histories", type=int, default=1000, help="how many to play")
    parser.add_argument("--first", type=int, default=1, help="the seed of the first one")
    parser.add_argument("--seconds", type=float, help="stop after so long, however many that are")
    parser.add_argument("--jobs", type=int, default=2, help="how many processes play")
    parser.add_argument("--go-on", action="store_true", help="do not stop at a few findings")
    parser.add_argument("--seed", type=int, help="play this one only")
    parser.add_argument("--trace", action="store_true", help="with --seed: show all that happened")
    return parser


def _play_one(seed: int, *, shows_trace: bool) -> int:
    outcome = play(seed, keeps_trace=shows_trace)
    if shows_trace:
        _say("\n".join(outcome.trace))
    for finding in outcome.findings:
        _say(f"FOUND {finding}")
    _say(f"seed {seed} digest {outcome.digest}: {len(outcome.findings)} findings")
    return 1 if outcome.findings else 0


def _show_failed(outcome: Outcome) -> None:
    _say(f"seed {outcome.seed} broke a promise:")
    for finding in outcome.findings[:6]:
        _say(f"  {finding}")
    _say(f"  the end of {len(outcome.trace)} steps:")
    _say("\n".join(outcome.trace[-_TRACE_LINES:]))
    _say(f"Replay it with: scripts/simulate --seed {outcome.seed} --trace\n")


def _play_all(first: int, histories: int, jobs: int, seconds: float | None) -> Iterator[Batch]:
    """Play them in ``jobs`` processes; what came of them, bit by bit."""
    deadline_s = None if seconds is None else time.monotonic() + seconds
    gc.collect()
    gc.freeze()  # what was imported is looked at by no collection
    context = get_context("fork")
    pipes: list[Connection] = []
    for job in range(jobs):
        receiver, sender = context.Pipe(duplex=False)
        seeds = range(first + job, first + histories, jobs)
        context.Process(target=_work, args=(sender, seeds, deadline_s), daemon=True).start()
        sender.close()
        pipes.append(receiver)
    while pipes:
        for pipe in wait(pipes):
            assert isinstance(pipe, Connection)
            try:
                batch = msgspec.msgpack.decode(pipe.recv_bytes(), type=Batch)
            except EOFError:
                raise SystemExit("a process that played histories has died") from None
            yield batch
            if batch.is_last:
                pipes.remove(pipe)


def _work(sender: Connection, seeds: Sequence[int], deadline_s: float | None) -> None:
    batch = Batch()
    for seed in seeds:
        if deadline_s is not None and time.monotonic() > deadline_s:
            break
        batch.add(play(seed))
        gc.collect()
        if batch.failed or batch.histories >= _AT_ONCE:
            sender.send_bytes(msgspec.msgpack.encode(batch))
            batch = Batch()
    batch.is_last = True
    sender.send_bytes(msgspec.msgpack.encode(batch))
