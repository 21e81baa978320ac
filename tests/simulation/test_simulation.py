"""scripts/simulate: the everyday histories, and that a seed is a whole history."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

SIMULATE: Final = Path(__file__).parents[2] / "scripts" / "simulate"
EVERYDAY: Final = 2000
EVERYDAY_S: Final = "50"


def simulate(*options: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONHASHSEED"}
    return subprocess.run(
        [sys.executable, str(SIMULATE), *options],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env=environment,
    )


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_no_history_breaks_a_promise_and_every_fault_happens() -> None:
    done = simulate("--first", "1", "--histories", str(EVERYDAY), "--seconds", EVERYDAY_S)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    assert "Nothing is wrong in" in done.stdout
    played = int(re.match(r"(\d+) histories", done.stdout)[1])  # type: ignore[index]
    # On a busy machine the time is up before all are played, and rare things have not happened.
    assert played < EVERYDAY or "never happened" not in done.stdout, done.stdout


def test_the_same_seeds_are_the_same_histories_in_every_process() -> None:
    few = ("--first", "100001", "--histories", "60")
    alone, together = simulate(*few, "--jobs", "1"), simulate(*few, "--jobs", "3")
    digests = [re.search(r"digest (\w+)", done.stdout) for done in (alone, together)]
    assert digests[0] is not None, alone.stderr
    assert digests[1] is not None, together.stderr
    assert digests[0][1] == digests[1][1]


def test_one_seed_can_be_watched() -> None:
    done = simulate("--seed", "7", "--trace")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "welcome fresh" in done.stdout
    assert "seed 7 digest" in done.stdout
