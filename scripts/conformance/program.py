"""scripts/autobahn: runs the suite, prints what passed and what did not."""

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from scripts.conformance.echo import echo_server
from scripts.conformance.suite import CannotRun, Verdict, find_python, install, run_suite

EXCEPTIONS: Final[Mapping[str, str]] = {
    "7.1.5": (
        "a close frame between the fragments of a message is answered with 1002: a choice of the "
        "websockets library, whose protocol core this is; the connection ends in any case"
    ),
}
"""Cases that may fail, and why."""

_OUR_CODES: Final = frozenset({4400, 4413})


def main(arguments: Sequence[str], description: str) -> int:
    """Run; returns the exit status."""
    options = _parser(description).parse_args(arguments)
    try:
        strict = asyncio.run(_run(options.cases, says_bye=False))
        status = tell(strict)
        if strict and options.contract:
            _compare(strict, asyncio.run(_run(options.cases, says_bye=True)))
    except CannotRun as error:
        sys.stderr.write(f"autobahn: {error}\n")
        return 3
    return status


def _parser(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/autobahn",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "cases", nargs="*", default=["*"], metavar="CASE", help='such as "5.*"; all of 1 to 10'
    )
    parser.add_argument(
        "--contract",
        action="store_true",
        help="run them a second time, ending connections as on /ws does, and compare",
    )
    return parser


async def _run(cases: Sequence[str], *, says_bye: bool) -> list[Verdict]:
    python = find_python()
    packages = install(python)
    async with echo_server(says_bye=says_bye) as url:
        return await run_suite(python, packages, url, cases)


def tell(verdicts: Sequence[Verdict]) -> int:
    """Print the counts and what did not pass; returns the exit status."""
    if not verdicts:
        sys.stderr.write("autobahn: no case has this name\n")
        return 2
    for what in ("behavior", "close"):
        counts = Counter(getattr(verdict, what) for verdict in verdicts)
        print(f"{what:9}", ", ".join(f"{count} {name}" for name, count in counts.most_common()))
    failed = [verdict for verdict in verdicts if not verdict.passes]
    for verdict in failed:
        excuse = EXCEPTIONS.get(verdict.case)
        print(f"{'excepted' if excuse else 'FAILED'}: {verdict.case}: {excuse or ''}")
        print(f"    {verdict.behavior}, close {verdict.close} ({verdict.close_code})")
        print(f"    expected {verdict.expected}")
        print(f"    received {verdict.received}")
    unexpected = [verdict for verdict in failed if verdict.case not in EXCEPTIONS]
    print(
        f"{len(verdicts)} cases, {len(verdicts) - len(failed)} passed, "
        f"{len(failed) - len(unexpected)} excepted, {len(unexpected)} failed"
    )
    return 1 if unexpected else 0


def _compare(strict: Sequence[Verdict], contract: Sequence[Verdict]) -> None:
    """Print in which cases the contract's way of ending makes a difference, and which."""
    before = {verdict.case: verdict for verdict in strict}
    changed = [v for v in contract if (v.behavior, v.close) != _words(before[v.case])]
    as_said = [v for v in changed if v.close_code in _OUR_CODES and v.ends_with_bye]
    print(
        f"with the contract's codes {len(contract) - len(changed)} cases have the same verdicts, "
        f"{len(as_said)} differ only by the bye and the close code, "
        f"{len(changed) - len(as_said)} otherwise"
    )
    for verdict in changed:
        if verdict not in as_said:
            print(f"    {verdict.case}: {verdict.behavior}, {verdict.close} ({verdict.close_code})")


def _words(verdict: Verdict) -> tuple[str, str]:
    return verdict.behavior, verdict.close
