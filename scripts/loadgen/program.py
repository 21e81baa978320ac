"""scripts/load: writes a plan, plays it against a server, judges what came of it."""

import argparse
import asyncio
import contextlib
import gc
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import urlsplit

import msgspec

from scripts.common.process import raise_open_files
from scripts.common.target import OwnServer, Target, Trouble, own_server, read_key
from scripts.common.terminal import Progress
from scripts.loadgen.device import Lost
from scripts.loadgen.glimpse import Glimpse
from scripts.loadgen.options import PLAN_NUMBERS, parser
from scripts.loadgen.oracle import judge
from scripts.loadgen.page import page, warnings
from scripts.loadgen.picture import picture
from scripts.loadgen.plan import Plan
from scripts.loadgen.record import Record
from scripts.loadgen.result import Played, Result, result_of
from scripts.loadgen.run import Manner, Watch, run
from scripts.loadgen.writer import Options, write_plan

SETTINGS: Final = {
    "MUSTER_LIMIT_REQUESTS_PER_S": "0",
    "MUSTER_LIMIT_USER_REQUESTS_PER_S": "0",
    "MUSTER_LIMIT_UNAUTHENTICATED_PER_ADDRESS": "0",
    # Small, so that a slow device falls behind and is fed from the log.
    "MUSTER_LIMIT_OUTGOING_BYTES": "32768",
}
"""What a server of our own is started with."""

_LINE_EVERY_S: Final = 5.0
_INTERRUPTED: Final = 130


def main(arguments: Sequence[str]) -> int:
    """Run; returns the exit status.

    0 nothing is wrong, 1 something is, 2 it could not be run, 130 interrupted and nothing wrong.
    """
    options = parser().parse_args(arguments)
    try:
        _check_files(options)
        plan_options = _plan_options(options)
        began = time.strftime("%Y-%m-%d %H:%M:%S %z")
        with _server(options) as (target, server), _uncollected():
            plan = write_plan(plan_options)
            try:
                played, record, was_stopped = asyncio.run(_play(options, plan, target, server))
            except Lost as error:
                log = f"; its log ends:\n{server.log_tail()}" if server is not None else ""
                raise Trouble(f"cannot go on: {error}{log}") from error
    except Trouble as error:
        sys.stderr.write(f"load: {error}\n")
        return 2
    sys.stderr.write("judging what every device was given ...\n")
    result = result_of(
        played,
        record,
        judge(record),
        server=options.url or "a server of its own",
        began=began,
        parameters=_parameters(options),
        end=_end(played, was_stopped=was_stopped),
    )
    _tell(options, result)
    if result.is_wrong:
        return 1
    return _INTERRUPTED if was_stopped else 0


def _plan_options(options: argparse.Namespace) -> Options:
    requests = options.requests
    if requests is None:
        requests = int(options.rate * options.seconds) if options.rate else 15_000
    if not requests:
        raise Trouble("there is nothing to do: --rate times --seconds is no request")
    users = options.users
    return Options(
        seed=options.seed,
        users=users,
        groups=max(4, users // 3) if options.groups is None else options.groups,
        requests=requests,
        rate=options.rate,
        devices=options.devices_per_user,
        churn=requests // 50 if options.churn is None else options.churn,
        slow=users // 20 if options.slow is None else options.slow,
        kills=options.kills,
        restarts=options.restarts,
    )


def _parameters(options: argparse.Namespace) -> dict[str, int | float]:
    plan = _plan_options(options)
    return {name: getattr(plan, name) for name in PLAN_NUMBERS}


def _end(played: Played, *, was_stopped: bool) -> str:
    if was_stopped:
        return "Interrupted"
    return "The time was up" if played.was_cut else "Played to its end"


# Playing.


async def _play(
    options: argparse.Namespace, plan: Plan, target: Target, server: OwnServer | None
) -> tuple[Played, Record, bool]:
    """Play; the first Ctrl-C ends it early, the second one at once."""
    stops = asyncio.Event()
    playing = asyncio.current_task()
    assert playing is not None  # this is a coroutine

    def interrupt() -> None:
        if stops.is_set():
            playing.cancel()
        else:
            sys.stderr.write("\nload: stopping; once more ends it without a result\n")
            stops.set()

    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupt)
    progress = Progress(plan.request_count, "requests", every_s=_LINE_EVERY_S)

    def show(glimpse: Glimpse) -> None:
        progress.show(glimpse.answered, glimpse.line())

    manner = Manner(
        seed=options.seed,
        admin=options.admin,
        in_flight=max(1, options.in_flight),
        seconds=float("inf") if options.rate else options.seconds,
        allows_losses=options.allow_restarts,
        disbands=server is None and not options.keep_groups,
    )
    try:
        played, record = await run(plan, target, server, manner, Watch(show, stops))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        progress.end()
    return played, record, stops.is_set()


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without the garbage collector.

    A full collection of all that is written down would stop the load for 50 ms and more, and what
    is in circles, such as failed tasks, is little.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextlib.contextmanager
def _server(options: argparse.Namespace) -> Iterator[tuple[Target, OwnServer | None]]:
    if options.url is None:
        raise_open_files()
        with own_server(SETTINGS) as server:
            yield server.target(), server
        return
    if options.kills or options.restarts:
        raise Trouble("--kills and --restarts are for a server of its own, not with --url")
    _check_url(options.url)
    target = Target(options.url, _key(options), options.sdkappid)
    raise_open_files()
    yield target, None


def _key(options: argparse.Namespace) -> str:
    key: str | None = options.secret_key or os.environ.get("MUSTER_SECRET_KEY")
    if options.key_file is not None:
        key = read_key(options.key_file)
    if not key:
        raise Trouble(
            "--url needs the server's key, which signs for the users: --key-file with its "
            "secret.key, --secret-key, or MUSTER_SECRET_KEY in the environment"
        )
    return key


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        is_right = parts.scheme in ("ws", "wss") and parts.hostname and parts.port != 0
    except ValueError:
        is_right = False
    if not is_right:
        raise Trouble(f"--url {url} is no ws:// or wss:// address such as ws://127.0.0.1:7700/ws")


# Telling.


def _check_files(options: argparse.Namespace) -> None:
    """Fail before the run rather than after it; makes --out."""
    if options.picture is not None and options.picture.suffix != ".svg":
        raise Trouble(f"--picture {options.picture}: the picture is SVG, name it something.svg")
    try:
        if options.out is not None:
            options.out.mkdir(parents=True, exist_ok=True)
            options.text = options.text or options.out / "load.txt"
            options.picture = options.picture or options.out / "load.svg"
            options.json = options.json or options.out / "load.json"
        for path in (options.text, options.picture, options.json):
            if path is not None:
                path.touch()
    except OSError as error:
        raise Trouble(f"the result cannot be written: {error}") from error


def _tell(options: argparse.Namespace, result: Result) -> None:
    text = page(result) + "\n"
    sys.stdout.write(text)
    if options.text is not None:
        options.text.write_text(text, encoding="utf-8")
    if options.picture is not None:
        options.picture.write_text(picture(result), encoding="utf-8")
    if options.json is not None:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    for warning in warnings(result):
        sys.stderr.write(f"load: WARNING: {warning}\n")
