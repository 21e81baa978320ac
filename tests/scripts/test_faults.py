"""scripts/faults: the table, the exit status, and how a finding is done again."""

from collections import Counter
from pathlib import Path

import pytest

from scripts.faulting import program
from scripts.faulting.parts import SWEPT, Done, Part, places


def test_consecutive_rounds_take_every_place() -> None:
    assert {place for seed in range(SWEPT) for place in places(seed)} == set(range(SWEPT))


async def sound(_directory: Path, seed: int) -> Done:
    return Counter({("a harm", "survived"): seed})


async def unsound(_directory: Path, seed: int) -> Done:
    assert seed != 8, "something was lost"
    return Counter()


@pytest.mark.parametrize(("part", "status"), [(sound, 0), (unsound, 1)])
def test_a_finding_can_be_done_again(
    part: Part, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "library", lambda: Path("there"))
    monkeypatch.setattr(program, "PARTS", {"power": part})
    assert program.main(["--seed", "7", "--rounds", "2", "--only", "power"]) == status
    output = capsys.readouterr().out
    if status:
        assert "power: something was lost" in output
        assert "scripts/faults --only power --seed 8 --rounds 1" in output
    else:
        assert [line.split()[-1] for line in output.splitlines() if "a harm" in line] == ["15"]


def test_without_a_compiler_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "library", lambda: None)
    assert program.main([]) == 2
    assert "cc" in capsys.readouterr().err
