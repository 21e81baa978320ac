"""scripts/faults: rounds of every kind of harm until the time is up, then the table."""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from scripts.faulting.parts import PARTS, Done, kills
from tests.kit.faults import library


def main(arguments: Sequence[str]) -> int:
    """Run; returns the exit status: 0 nothing was found, 1 something was, 2 it cannot be run."""
    options = _parser().parse_args(arguments)
    if library() is None:
        print("faults: a C compiler (cc) is needed", file=sys.stderr)
        return 2
    chosen = options.only or list(PARTS)
    totals: dict[str, Done] = {name: Counter() for name in chosen}
    findings: list[str] = []
    started_s = time.monotonic()
    for number in range(options.rounds or sys.maxsize):
        for name in chosen:
            if not options.rounds and time.monotonic() - started_s >= options.seconds:
                return _conclude(totals, findings, time.monotonic() - started_s)
            seed = options.seed + number
            try:
                totals[name] += _round(name, seed, options.kills, keep=options.keep)
            except AssertionError as error:
                replay = f"scripts/faults --only {name} --seed {seed} --rounds 1"
                findings.append(f"{name}: {error}\n  again: {replay}")
                print(f"faults: FOUND {findings[-1]}", file=sys.stderr, flush=True)
    return _conclude(totals, findings, time.monotonic() - started_s)


def _round(name: str, seed: int, kill_count: int, *, keep: bool) -> Done:
    directory = Path(tempfile.mkdtemp(prefix=f"faults-{name}-"))
    began_s = time.monotonic()
    try:
        if name == "kills":
            done = asyncio.run(kills(directory, seed, kill_count))
        else:
            done = asyncio.run(PARTS[name](directory, seed))
    except BaseException:
        if keep:
            print(f"faults: the data is kept in {directory}", file=sys.stderr)
        else:
            shutil.rmtree(directory, ignore_errors=True)
        raise
    shutil.rmtree(directory)
    passed_s = time.monotonic() - began_s
    print(f"faults: {name} {seed} in {passed_s:.1f} s", file=sys.stderr, flush=True)
    return done


def _conclude(totals: dict[str, Done], findings: Sequence[str], passed_s: float) -> int:
    print(f"{'part':12} {'injected':42} {'what became of it':42} {'times':>7}")
    for name, done in totals.items():
        for (what, end), times in sorted(done.items()):
            print(f"{name:12} {what:42} {end:42} {times:7}")
    print(
        f"{sum(map(Counter.total, totals.values()))} in {passed_s:.0f} s, {len(findings)} findings"
    )
    for finding in findings:
        print(f"FOUND {finding}")
    return 1 if findings else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/faults", description="Does harm to real servers and judges what came of it."
    )
    parser.add_argument("--seed", type=int, default=1, help="of the first round (1)")
    parser.add_argument("--seconds", type=int, default=120, help="begin no part after them (120)")
    parser.add_argument("--rounds", type=int, default=0, help="so many rounds instead")
    parser.add_argument("--kills", type=int, default=20, help="kill -9 in a round (20)")
    parser.add_argument("--only", action="append", choices=PARTS, help="these parts; repeatable")
    parser.add_argument("--keep", action="store_true", help="keep the data of a finding")
    return parser
