"""scripts/mutate: a copy of the repository for each fault, and the tests that should notice it."""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from scripts.common.terminal import table
from scripts.mutations.catalogue import MUTATIONS
from scripts.mutations.mutation import Mutation

_ROOT: Final = Path(__file__).resolve().parents[2]
_MOST_S: Final = 240.0
_FAILED: Final = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
_SEED: Final = re.compile(r"--seed (\d+)")


class Verdict(msgspec.Struct, frozen=True):
    """Who noticed a fault: the first test that failed, and the simulation's seed; "" for nobody."""

    mutation: Mutation
    by_test: str
    by_simulation: str
    seconds: float

    @property
    def is_caught(self) -> bool:
        """Whether anybody noticed."""
        return bool(self.by_test or self.by_simulation)


def main(arguments: Sequence[str]) -> int:
    """Run; returns the exit status: 1 when a fault was not noticed."""
    options = _parser().parse_args(arguments)
    wanted = [m for m in MUTATIONS if not options.names or m.name in options.names]
    unknown = set(options.names) - {mutation.name for mutation in MUTATIONS}
    if unknown:
        sys.stderr.write(f"mutate: no mutation is called {', '.join(sorted(unknown))}\n")
        return 2
    with ThreadPoolExecutor(options.jobs) as pool:
        verdicts = []
        for verdict in pool.map(lambda m: _judge(m, options.histories), wanted):
            word = "caught" if verdict.is_caught else "NOT CAUGHT"
            sys.stderr.write(f"{word} in {verdict.seconds:.0f} s: {verdict.mutation.name}\n")
            verdicts.append(verdict)
    rows = [["fault", "promise", "test that fails", "simulation"]]
    rows += [[v.mutation.name, v.mutation.promise, v.by_test, v.by_simulation] for v in verdicts]
    caught = sum(verdict.is_caught for verdict in verdicts)
    sys.stdout.write(f"{table(rows)}\n\n{caught} of {len(verdicts)} faults were noticed\n")
    return 0 if caught == len(verdicts) else 1


def _judge(mutation: Mutation, histories: int) -> Verdict:
    begin_s = time.monotonic()
    with _copy() as root:
        mutation.apply(root)
        by_test = _first_failure(root, mutation.tests)
        by_simulation = _seed_found(root, histories) if mutation.is_simulated else "not asked"
    noticed = "" if by_simulation == "not asked" and not by_test else by_simulation
    return Verdict(mutation, by_test, noticed, time.monotonic() - begin_s)


@contextmanager
def _copy() -> Iterator[Path]:
    """A copy of what git knows of, as it is in the working tree."""
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=_ROOT,
        check=True,
        capture_output=True,
    ).stdout.decode()
    with tempfile.TemporaryDirectory(prefix="muster-mutation-") as directory:
        root = Path(directory)
        for name in filter(None, names.split("\0")):
            target = root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(_ROOT / name, target)
        (root / ".venv").symlink_to(_ROOT / ".venv")
        yield root


def _first_failure(root: Path, tests: Sequence[str]) -> str:
    """The first test that fails, "" when all pass."""
    if not tests:
        return ""
    status, output = _run(
        root, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", *tests
    )
    if status in (0, 5):
        return ""
    found = _FAILED.search(output)
    return found.group(1) if found else f"pytest ended with {status}"


def _seed_found(root: Path, histories: int) -> str:
    """The seed with which the simulation notices, "" when it does not."""
    status, output = _run(root, "scripts/simulate", "--histories", str(histories), "--jobs", "1")
    if status == 0:
        return ""
    found = _SEED.search(output)
    return f"seed {found.group(1)}" if found else f"ended with {status}"


def _run(root: Path, *arguments: str) -> tuple[int, str]:
    """Run Python in ``root``; a run that does not end has noticed something too."""
    try:
        done = subprocess.run(
            [root / ".venv" / "bin" / "python", *arguments],
            cwd=root,
            check=False,
            capture_output=True,
            text=True,
            timeout=_MOST_S,
        )
    except subprocess.TimeoutExpired:
        return -1, "it did not end in time"
    return done.returncode, done.stdout + done.stderr


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/mutate",
        description="Put one fault after another into a copy of the code, and see who notices.",
        allow_abbrev=False,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these; all by default")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="how many at a time")
    parser.add_argument(
        "--histories", type=int, default=400, metavar="N", help="of the simulation, for each"
    )
    return parser
