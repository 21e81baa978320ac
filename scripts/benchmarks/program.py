"""scripts/bench: runs works, prints their figures, keeps and compares them."""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from scripts.benchmarks import (
    connects,
    fanout,
    groupsize,
    memory,
    operations,
    pauses,
    peers,
    profiling,
    requests,
    resume,
    returning,
    sends,
    steady,
)
from scripts.benchmarks.bench import Sizes, Work
from scripts.benchmarks.figures import Report, Result, compared, goals, markdown, shown
from scripts.benchmarks.machine import machine_line
from scripts.common.process import raise_open_files
from scripts.common.target import Trouble

WORKS: Final[Mapping[str, Work]] = {
    "lone": fanout.LONE,
    "burst": fanout.BURST,
    "steady": steady.WORK,
    "pauses": pauses.WORK,
    "memory": memory.WORK,
    "connects": connects.WORK,
    "returning": returning.WORK,
    "sends": sends.WORK,
    "operations": operations.WORK,
    "requests": requests.WORK,
    "groupsize": groupsize.WORK,
    "resume": resume.WORK,
}
"""To add one, write a module with a WORK and name it here."""

_SPARE_FILES: Final = 200
_FULL_S: Final = 60.0


def main(arguments: Sequence[str]) -> int:
    """Run; returns the exit status."""
    try:
        if arguments[:1] == ["compare"]:
            return _compare(arguments[1:])
        if arguments[:1] == ["table"]:
            return _table(arguments[1:])
        if arguments == ["install-peers"]:
            peers.install()
            return 0
        return _bench(arguments)
    except (Trouble, OSError, msgspec.DecodeError) as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1


def _bench(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(arguments)
    names = list(WORKS) if "all" in options.works else list(dict.fromkeys(options.works))
    sizes = Sizes(
        seed=options.seed,
        runs=options.runs,
        seconds=options.seconds,
        members=options.members,
        rounds=options.rounds,
        connections=tuple(options.connections),
        connects=options.connects,
        large=options.large,
        steady=_FULL_S if options.full else options.steady,
        idle=options.idle,
        devices=options.devices,
        groups=options.groups,
        wants_c=not options.plain,
        wants_sides=not options.alone,
    )
    files = raise_open_files()
    most = max(sizes.members, sizes.connects, sizes.idle, sizes.devices, *sizes.connections)
    if most + _SPARE_FILES > files:
        raise Trouble(f"{most} connections need more open files than the {files} that are allowed")
    tell = _teller()
    if options.profile:
        profiling.switch_on()
    made = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    report = Report(machine=machine_line(), seed=sizes.seed, works={}, made=made)
    sys.stdout.write(f"{report.machine}\n")
    has_failed = False
    for name in names:
        try:
            result = WORKS[name].measure(sizes, tell)
        except (Trouble, OSError) as error:
            # What the other works found is kept.
            result = Result(figures=[], notes=[f"failed: {error}"])
            has_failed = True
        tell("")
        report.works[name] = result
        _show(name, result)
    if summary := goals(report):
        sys.stdout.write(f"\ngoals\n{summary}\n")
    if options.json is not None:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    return int(has_failed)


def _show(name: str, result: Result) -> None:
    sys.stdout.write(f"\n{name}: {WORKS[name].question}\n{shown(result)}\n")
    sys.stdout.flush()


def _compare(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/bench compare", description="Show two results side by side."
    )
    parser.add_argument("old", type=Path, metavar="OLD.json")
    parser.add_argument("new", type=Path, metavar="NEW.json")
    options = parser.parse_args(arguments)
    old, new = (
        msgspec.json.decode(path.read_bytes(), type=Report) for path in (options.old, options.new)
    )
    sys.stdout.write(compared(old, new) + "\n")
    return 0


def _table(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/bench table", description="Show a result as a Markdown table."
    )
    parser.add_argument("file", type=Path, metavar="FILE.json")
    parser.add_argument("--all", action="store_true", help="every figure")
    options = parser.parse_args(arguments)
    report = msgspec.json.decode(options.file.read_bytes(), type=Report)
    sys.stdout.write(markdown(report, all_figures=options.all) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    known = "\n".join(f"  {name:10}{work.question}" for name, work in WORKS.items())
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description=f"Measure a server of its own over real sockets.\n\nworks:\n{known}",
        epilog="scripts/bench compare OLD.json NEW.json shows two results side by side, "
        "scripts/bench table FILE.json one as a page, and scripts/bench install-peers gets the "
        "servers that are measured beside ours.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "works", nargs="*", default=["all"], metavar="WORK", help="or all", type=_work
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures")
    defaults = Sizes()
    for name, parse, meaning in _SIZES:
        default = getattr(defaults, name)
        parser.add_argument(
            f"--{name}",
            type=parse,
            default=default,
            metavar="N",
            help=f"{meaning}; default {default}",
        )
    parser.add_argument(
        "--connections",
        type=_positive,
        nargs="+",
        default=defaults.connections,
        metavar="N",
        help="idle connections; default 1000 5000",
    )
    parser.add_argument(
        "--full", action="store_true", help=f"steady and pauses for {_FULL_S:g} seconds a run"
    )
    parser.add_argument(
        "--plain", action="store_true", help="receivers in Python even with a C compiler"
    )
    parser.add_argument(
        "--profile", action="store_true", help="show where our server's time goes meanwhile"
    )
    parser.add_argument(
        "--alone", action="store_true", help="our server only, without limits and peers beside it"
    )
    return parser


def _work(text: str) -> str:
    if text not in WORKS and text != "all":
        raise argparse.ArgumentTypeError(f"known works are {', '.join(WORKS)} and all")
    return text


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError("expected a whole number, 1 or more")
    return int(text)


_SIZES: Final[Sequence[tuple[str, Callable[[str], float], str]]] = (
    ("seed", _positive, "of the order of what is measured"),
    ("runs", _positive, "how often everything is measured"),
    ("seconds", float, "of each run of what goes on for a time"),
    ("members", _positive, "of the group of lone and burst"),
    ("rounds", _positive, "of each run of lone, burst and groupsize"),
    ("connects", _positive, "connections of each run of connects"),
    ("large", _positive, "members of the large group of groupsize"),
    ("steady", float, "seconds of each run of steady and pauses"),
    ("idle", _positive, "idle connections of pauses"),
    ("devices", _positive, "that come at once in returning"),
    ("groups", _positive, "of the device of resume"),
)


def _teller() -> Callable[[str], None]:
    """Shows on a terminal how far it is, in a line that the next one replaces."""
    stream = sys.stderr

    def tell(text: str) -> None:
        if stream.isatty():
            stream.write(f"\r\x1b[K{text}")
            stream.flush()

    return tell
