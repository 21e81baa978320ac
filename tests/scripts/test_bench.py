"""scripts/bench: the shape of what it prints and keeps, never the speed."""

import shutil
from pathlib import Path
from typing import Final

import msgspec
import pytest

from scripts.benchmarks.bench import SETTINGS
from scripts.benchmarks.figures import Figure, Report, Result, compared, number, percentile, shown
from scripts.benchmarks.program import WORKS, main
from scripts.benchmarks.swarm import swarm_of
from scripts.common.target import own_server
from scripts.common.terminal import table
from tests.scripts.running import run_program

TINY: Final = (
    *("--runs", "1", "--seconds", "0.2", "--members", "10", "--rounds", "3"),
    *("--connects", "20", "--connections", "10", "20", "--large", "30"),
)
needs_a_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")


@pytest.mark.slow
def test_every_work_gives_its_figures(tmp_path: Path) -> None:
    kept = tmp_path / "figures.json"
    done = run_program("bench", *TINY, "--json", str(kept))

    assert done.returncode == 0, done.stdout + done.stderr
    report = msgspec.json.decode(kept.read_bytes(), type=Report)
    assert list(report.works) == list(WORKS)
    assert report.machine in done.stdout
    for name, result in report.works.items():
        assert f"{name}: {WORKS[name].question}" in done.stdout
        assert result.figures
        for figure in result.figures:
            assert figure.name in done.stdout
            assert figure.better in ("", "higher", "lower")
            assert len(figure.values) == 1
            assert all(value >= 0 for value in figure.values) or figure.unit == "bytes each"
        assert result.notes, "a figure without its conditions says nothing"
    names = {figure.name for figure in report.works["sends"].figures}
    assert {f"{count} in flight: requests" for count in (1, 32, 256)} <= names
    assert {f.name for f in report.works["memory"].figures} >= {"10 connections", "20 connections"}

    same = run_program("bench", "compare", str(kept), str(kept))
    assert same.returncode == 0
    assert "fanout: one at a time: last device, median" in same.stdout
    assert "worse" not in same.stdout


@pytest.mark.slow
def test_it_does_without_a_compiler() -> None:
    done = run_program("bench", "fanout", "connects", *TINY, "--plain")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "one process in Python" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("wants_c", [pytest.param(True, marks=needs_a_compiler), False])
def test_both_swarms_do_what_they_are_told(wants_c: bool) -> None:
    users = [f"user-{number}" for number in range(30)]
    create = msgspec.msgpack.encode(
        {
            "type": "request",
            "id": "1",
            "method": "create_group",
            "params": {"type": "Work", "name": "x", "members": [{"user_id": u} for u in users[1:]]},
        }
    )
    with (
        own_server(SETTINGS) as server,
        swarm_of(server.target(), users, wants_c=wants_c) as swarm,
    ):
        assert swarm.is_c is wants_c
        for _ in range(2):
            assert swarm.open(10, 3).seconds > 0
            assert swarm.open(30, 64).seconds > 0
            swarm.close()
        swarm.open(30)
        sent_s = swarm.send(0, [create])
        heard = swarm.wait_for_events(1)
        assert heard.last_s > sent_s
        assert (heard.least, heard.most) == (1, 1)


@pytest.mark.parametrize("options", [("nonsense",), ("--runs", "0"), ("compare", "/no", "/where")])
def test_it_says_what_is_wrong(
    options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = main(options)
    except SystemExit as error:
        status = int(str(error.code))

    assert status in (1, 2)
    assert capsys.readouterr().err


def _report(*values: float, better: str = "higher") -> Report:
    figure = Figure(name="speed", unit="per second", better=better, values=list(values))
    return Report(machine="m", seed=1, works={"w": Result(figures=[figure])})


@pytest.mark.parametrize(
    ("old", "new", "better", "verdict"),
    [
        ((10.0, 12.0), (13.0, 14.0), "higher", "better"),
        ((10.0, 12.0), (8.0, 9.0), "higher", "worse"),
        ((10.0, 12.0), (8.0, 9.0), "lower", "better"),
        ((10.0, 12.0), (13.0, 14.0), "lower", "worse"),
        ((10.0, 12.0), (11.0, 20.0), "higher", "same within the spread"),
        ((10.0, 12.0), (13.0, 14.0), "", "%"),
    ],
)
def test_a_difference_counts_only_beyond_the_spread(
    old: tuple[float, ...], new: tuple[float, ...], better: str, verdict: str
) -> None:
    page = compared(_report(*old, better=better), _report(*new, better=better))

    assert page.splitlines()[-1].endswith(verdict)


def test_a_new_figure_is_not_compared() -> None:
    old = Report(machine="m", seed=1, works={})

    assert "speed" not in compared(old, _report(1.0))


def test_a_figure_shows_its_middle_and_its_spread() -> None:
    page = shown(_report(1.0, 5.0, 3.0).works["w"])

    assert " ".join(page.splitlines()[1].split()) == "speed 3.00 1.00 5.00 per second 3"


def test_numbers_have_three_digits_that_matter() -> None:
    assert [number(value) for value in (0.1234, 12.34, 1234.5)] == ["0.12", "12.3", "1,234"]


def test_percentiles() -> None:
    values = [float(value) for value in range(100, 0, -1)]

    assert (percentile(values, 0.5), percentile(values, 0.99), percentile([7.0], 0.99)) == (
        51.0,
        100.0,
        7.0,
    )


def test_a_table_is_aligned() -> None:
    assert table([["a", "1"], ["long", "22"]], right=(1,)) == "  a      1\n  long  22"
