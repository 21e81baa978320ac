"""scripts/load: writes a plan, plays it against a server, judges what came of it."""

import argparse
import asyncio
import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from scripts.common.process import raise_open_files
from scripts.common.target import OwnServer, Target, Trouble, own_server, read_key
from scripts.common.terminal import Progress
from scripts.loadgen.device import Lost
from scripts.loadgen.oracle import judge
from scripts.loadgen.report import report
from scripts.loadgen.run import Manner, run
from scripts.loadgen.writer import Options, write_plan

SETTINGS: Final = {
    "MUSTER_LIMIT_REQUESTS_PER_S": "0",
    "MUSTER_LIMIT_USER_REQUESTS_PER_S": "0",
    "MUSTER_LIMIT_UNAUTHENTICATED_PER_ADDRESS": "0",
    # Small, so that a slow device falls behind and is fed from the log.
    "MUSTER_LIMIT_OUTGOING_BYTES": "32768",
}
"""What a server of our own is started with; a given one needs the first three."""


def main(arguments: Sequence[str]) -> int:
    """Run; returns the exit status: 0 nothing is wrong, 1 something is, 2 it could not be run."""
    options = _parser().parse_args(arguments)
    plan = write_plan(
        Options(
            seed=options.seed,
            users=options.users,
            groups=options.groups,
            messages=options.messages,
            devices=options.devices_per_user,
            churn=options.messages // 50 if options.churn is None else options.churn,
            slow=options.users // 20 if options.slow is None else options.slow,
            kills=options.kills,
        )
    )
    raise_open_files()
    progress = Progress(plan.message_count, "messages")
    try:
        with _server(options) as (target, server):
            manner = Manner(
                seed=options.seed,
                admin=options.admin,
                in_flight=max(1, options.in_flight),
                rate=options.rate,
                seconds=options.seconds,
            )
            try:
                playing = run(plan, target, server, manner, progress.show)
                played, record = asyncio.run(playing)
            except Lost as error:
                log = f"; its log ends:\n{server.log_tail()}" if server is not None else ""
                raise Trouble(f"the server is gone: {error}{log}") from error
    except Trouble as error:
        sys.stderr.write(f"load: {error}\n")
        return 2
    progress.end()
    findings = judge(record)
    sys.stdout.write(report(played, record, findings) + "\n")
    return 1 if findings else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/load",
        description="Replay a seeded conversation through real sockets, and check on every device "
        "that nothing is lost, doubled, out of order or foreign. Exit status 1 if anything is.",
        epilog="Without --url a server is started for the occasion. One that runs needs "
        + ", ".join(f"{name}={value}" for name, value in list(SETTINGS.items())[:3]),
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--url", metavar="ws://...", help="a server that runs, its limits on rates off (see below)")
    add("--key-file", type=Path, metavar="FILE", help="its secret.key, with --url")
    add("--admin", default="administrator", metavar="USER", help="its app_admin account")
    for name, default, meaning in _NUMBERS:
        text = meaning if default is None else f"{meaning}; default {default}"
        add(name, type=_natural, metavar="N", default=default, help=text)
    return parser


_NUMBERS: Final = (
    ("--users", 200, "users"),
    ("--groups", 50, "groups, of all types"),
    ("--messages", 10_000, "messages that are stored; others come on top"),
    ("--devices-per-user", 2, "at most"),
    ("--churn", None, "how often a device goes and comes back; default messages / 50"),
    ("--slow", None, "devices that read slowly; default users / 20"),
    ("--kills", 0, "how often the started server is killed and started again"),
    ("--seed", 1, "the same seed, the same conversation"),
    ("--in-flight", 64, "requests at a time"),
    ("--rate", 0, "messages per second, 0 for no limit"),
    ("--seconds", 600, "stop sending after this time"),
)


def _natural(text: str) -> int:
    if not text.isascii() or not text.isdecimal():
        raise argparse.ArgumentTypeError("expected a whole number, 0 or more")
    return int(text)


@contextlib.contextmanager
def _server(options: argparse.Namespace) -> Iterator[tuple[Target, OwnServer | None]]:
    if options.url is None:
        with own_server(SETTINGS) as server:
            yield server.target(), server
    elif options.key_file is None:
        raise Trouble("--url needs --key-file, the server's secret.key")
    else:
        yield Target(options.url, read_key(options.key_file)), None
