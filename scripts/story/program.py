"""scripts/demo: tells the story on a server that runs, or on one that it starts itself."""

import argparse
import asyncio
import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from protocol.errors import ConnectionRefused, Refused
from scripts.common.target import Target, Trouble, own_server, read_key
from scripts.story.screen import Screen
from scripts.story.story import Story


def main(arguments: Sequence[str]) -> int:
    """Tell it; returns the exit status: 0 told to the end, 1 it went wrong."""
    options = _parser().parse_args(arguments)
    try:
        with _target(options) as target:
            story = Story(target, Screen(), is_shared=options.url is not None)
            asyncio.run(story.tell())
    except (Trouble, Refused, ConnectionRefused, OSError) as error:
        sys.stderr.write(f"demo: {error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        description="A group's whole life, as three users see it on two devices each.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--url", metavar="ws://...", help="a server that runs; default: one is started"
    )
    parser.add_argument("--key-file", type=Path, metavar="FILE", help="its secret.key, with --url")
    return parser


@contextlib.contextmanager
def _target(options: argparse.Namespace) -> Iterator[Target]:
    if options.url is None:
        with own_server({}) as server:
            yield server.target()
    elif options.key_file is None:
        raise Trouble("--url needs --key-file, the server's secret.key")
    else:
        yield Target(options.url, read_key(options.key_file))
