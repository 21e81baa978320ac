"""The command line of scripts/load."""

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Final

from scripts.common.target import DEFAULT_SDKAPPID

PLAN_NUMBERS: Final = (
    "seed",
    "rate",
    "requests",
    "users",
    "groups",
    "devices",
    "churn",
    "slow",
    "kills",
    "restarts",
)
"""The fields of ``writer.Options`` that the result names."""

_DESCRIPTION: Final = """\
Load a server with a seeded conversation over real sockets, and check on every device that
nothing is lost, doubled, out of order or given to somebody whom it does not concern.

People with several devices each talk in groups of all five types: mostly of 2 to 10, some of
hundreds, two of everybody; a few groups are hot; most messages are short, some nearly as long
as may be. Devices go away, politely or not, and come back; some read slowly or stop for a
while; users join, leave, are invited, removed and muted; groups are founded, transferred and
disbanded.

The load is an open loop: requests are due at --rate, at random moments as from independent
people, whatever the server does, and latencies count from the moment when a request was due.
So a stall is felt by all that fell due in it (no coordinated omission). Making the first
groups comes before and is not measured.

The result goes to standard output: percentiles over time, by kind of request, and the verdict.
Ctrl-C ends the run early and tells what was seen so far.
"""

_EPILOG: Final = """\
exit status: 0 nothing is wrong; 1 something is; 2 it could not be run; 130 interrupted, and
  nothing was wrong until then

examples:
  scripts/load --rate 1000 --users 1000 --seconds 60 --out result
  scripts/load --kills 2                      # kill -9 in the middle, and start again
  scripts/load --url wss://chat.example/ws --key-file secret.key

Without --url a server is started for the occasion, without limits on rates, and removed
afterwards. One that runs may keep its limits: what they refuse is sent again when it says, and
the page counts it. Its users are new ones, whose IDs begin with load-; the groups are disbanded
at the end. All users connect from one address: CONNECTIONS_PER_ADDRESS must allow that.
"""


def parser() -> argparse.ArgumentParser:
    """What scripts/load understands."""
    parser = argparse.ArgumentParser(
        prog="scripts/load",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    load = parser.add_argument_group("the load")
    load.add_argument(
        "--rate",
        type=_rate,
        metavar="N",
        default=500.0,
        help="requests per second; default 500. 0: as fast as the answers come (a closed loop "
        "with --in-flight), to find the limit",
    )
    load.add_argument(
        "--seconds",
        type=_seconds,
        metavar="N",
        default=30.0,
        help="how long; default 30",
    )
    for name, default, meaning in _NUMBERS:
        text = f"{meaning}; default {default}"
        is_number = isinstance(default, int)
        least = 1 if name in _AT_LEAST_1 else 0
        load.add_argument(
            name,
            type=_natural_of(least),
            metavar="N",
            default=default if is_number else None,
            help=text,
        )
    _add_server(parser.add_argument_group("the server"))
    _add_result(parser.add_argument_group("the result"))
    return parser


_NUMBERS: Final[tuple[tuple[str, int | str, str], ...]] = (
    ("--users", 500, "users"),
    ("--groups", "users / 3", "groups, of all types"),
    ("--devices-per-user", 3, "at most"),
    ("--churn", "requests / 50", "how often a device goes away and comes back"),
    ("--slow", "users / 20", "devices that read slowly or stop for a while"),
    ("--kills", 0, "how often the started server is killed (kill -9) and started again"),
    ("--restarts", 0, "how often it is ended by SIGTERM and started again"),
    ("--seed", 1, "the same seed, the same conversation"),
    ("--requests", "rate x seconds", "how many requests, instead of a time"),
    ("--in-flight", 64, "requests at a time, with --rate 0 and for what prepares the load"),
)
_AT_LEAST_1: Final = frozenset({"--users", "--devices-per-user", "--in-flight"})


def _add_server(group: "argparse._ArgumentGroup") -> None:
    add = group.add_argument
    add("--url", metavar="ws://...", help="a server that runs, ws:// or wss://; see below")
    add("--key-file", type=Path, metavar="FILE", help="its secret.key, with --url")
    add("--secret-key", metavar="KEY", help="the key itself; default MUSTER_SECRET_KEY")
    add(
        "--sdkappid",
        type=_natural_of(1),
        metavar="N",
        default=DEFAULT_SDKAPPID,
        help=f"its app; default {DEFAULT_SDKAPPID}",
    )
    add(
        "--admin",
        metavar="USER",
        default="administrator",
        help="one of its app_admin accounts, which looks at histories at the end; default "
        "administrator",
    )
    add(
        "--allow-restarts",
        action="store_true",
        help="you restart it meanwhile: lost connections are no fault, what they lose is",
    )
    add("--keep-groups", action="store_true", help="do not disband the groups at the end")


def _add_result(group: "argparse._ArgumentGroup") -> None:
    add = group.add_argument
    add("--out", type=Path, metavar="DIR", help="write load.txt, load.svg and load.json there")
    add("--text", type=Path, metavar="FILE", help="write the page there")
    add("--picture", type=Path, metavar="FILE", help="write the picture there, as SVG")
    add("--json", type=Path, metavar="FILE", help="write all figures there")


def _natural_of(least: int) -> Callable[[str], int]:
    def natural(text: str) -> int:
        if not text.isascii() or not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected a whole number, {least} or more")
        return int(text)

    return natural


def _rate(text: str) -> float:
    return _number(text, 0, "expected requests per second, 0 or more")


def _seconds(text: str) -> float:
    value = _number(text, 0, "expected seconds, above 0")
    if not value:
        raise argparse.ArgumentTypeError("expected seconds, above 0")
    return value


def _number(text: str, least: float, words: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value < math.inf:
        raise argparse.ArgumentTypeError(words)
    return value
