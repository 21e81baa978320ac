"""scripts/bench: the shape of what it prints and keeps, never the speed."""

import contextlib
import shutil
from pathlib import Path
from typing import Final

import msgspec
import pytest

from scripts.benchmarks import program
from scripts.benchmarks.bare_writer import bare_writer
from scripts.benchmarks.bench import SETTINGS, Sizes, Work
from scripts.benchmarks.fanout import event_bytes
from scripts.benchmarks.figures import (
    OURS,
    Figure,
    Report,
    Result,
    compared,
    goals,
    markdown,
    number,
    percentile,
    shown,
)
from scripts.benchmarks.frames import Muster, Plain, many
from scripts.benchmarks.profiling import shown_stacks
from scripts.benchmarks.program import WORKS, main
from scripts.benchmarks.sides import (
    BROADCAST,
    C_JOINED,
    C_LOOP,
    CORE,
    PYTHON_SOCKETIO,
    Company,
)
from scripts.benchmarks.swarm import swarm_of
from scripts.common.process import cpu_s
from scripts.common.target import Trouble, own_server
from scripts.common.terminal import table
from tests.scripts.running import run_program

TINY: Final = (
    *("--runs", "1", "--seconds", "0.2", "--members", "10", "--rounds", "3"),
    *("--connects", "20", "--connections", "10", "20", "--large", "30"),
    *("--steady", "0.1", "--idle", "20", "--devices", "40", "--groups", "20"),
)
NAMED: Final[dict[str, set[str]]] = {
    "lone": {"server CPU", "last device, median"},
    "sends": {f"{count} in flight: requests" for count in (1, 32, 256)},
    "memory": {"10 connections", "20 connections"},
    "groupsize": {f"{name}: ratio" for name in ("send", "kick", "disband")},
}
HAS_CC: Final = shutil.which("cc") is not None
FOR_C: Final = ("steady", "pauses")
needs_a_compiler = pytest.mark.skipif(not HAS_CC, reason="there is no C compiler")


@pytest.mark.slow
@pytest.mark.parametrize("half", [0, 1])
def test_every_work_gives_its_figures(half: int, tmp_path: Path) -> None:
    kept = tmp_path / "figures.json"
    names = list(WORKS)[half::2]
    done = run_program("bench", *names, *TINY, "--alone", "--json", str(kept))

    assert done.returncode == 0, done.stdout + done.stderr
    report = msgspec.json.decode(kept.read_bytes(), type=Report)
    assert list(report.works) == names
    assert report.machine in done.stdout
    for name, result in report.works.items():
        assert f"{name}: {WORKS[name].question}" in done.stdout
        assert result.figures or (name in FOR_C and not HAS_CC)
        for figure in result.figures:
            assert figure.name in done.stdout
            assert figure.better in ("", "higher", "lower")
            assert len(figure.values) == 1
            assert all(value >= 0 for value in figure.values) or figure.unit == "KiB each", figure
        assert result.notes, "a figure without its conditions says nothing"
    found = {name: {f.name for f in result.figures} for name, result in report.works.items()}
    for name, figures in NAMED.items():
        assert figures <= found.get(name, figures)

    same = run_program("bench", "compare", str(kept), str(kept))
    assert same.returncode == 0
    first = report.works[names[0]].figures[0]
    assert f"{names[0]}: {first.title}" in same.stdout
    assert "worse" not in same.stdout


@pytest.mark.slow
def test_it_does_without_a_compiler() -> None:
    done = run_program("bench", "lone", "connects", "sends", *TINY, "--alone", "--plain")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "one process in Python" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("wants_c", [pytest.param(True, marks=needs_a_compiler), False])
def test_both_swarms_do_what_they_are_told(wants_c: bool) -> None:
    users = [f"user-{number}" for number in range(30)]
    params = {"type": "Work", "name": "x", "members": [{"user_id": user} for user in users[1:]]}
    with (
        own_server(SETTINGS) as server,
        swarm_of(
            server.url,
            (talk := Muster(server.target())).upgrade(),
            talk.hellos(users),
            wants_c=wants_c,
        ) as swarm,
    ):
        assert swarm.is_c is wants_c
        for _ in range(2):
            assert swarm.open(10, 3).seconds > 0
            assert swarm.open(30, 64).seconds > 0
            swarm.close()
        swarm.open(30)
        swarm.send(0, many(talk.request("create_group", params), [1]))
        heard = swarm.wait_for_events(1)
        assert (heard.least, heard.most) == (1, 1)
        swarm.forget_events()
        sent_s, heard = swarm.play(0, many(talk.request("create_group", params), [1]), 1)
        assert heard.last_s >= heard.first_s > sent_s
        assert (heard.least, heard.most) == (1, 1)
        assert heard.bytes_read > 0

        for number, name in enumerate(("Public", "Work", "nonsense")):
            swarm.teach(number, talk.request("create_group", {"type": name, "name": "y"}))
        asked = swarm.ask(0, 2, 3, 0.1)
        assert (asked.answers > 0, asked.errors) == (True, 0)
        assert asked.p99_ms >= asked.p50_ms > 0
        asked = swarm.ask(2, 1, 1, 0.05)
        assert asked.errors == asked.answers > 0
        swarm.forget_events()
        assert swarm.wait_for_events(0).most == 0


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


@pytest.mark.slow
@pytest.mark.parametrize("name", [CORE, BROADCAST, *([C_LOOP, C_JOINED] if HAS_CC else [])])
def test_what_stands_beside_ours_does_the_same_work(name: str) -> None:
    with contextlib.ExitStack() as stack:
        company = Company(stack, wants_c=HAS_CC, wants_sides=True)
        company.invite([name], 5, 200)
        (side,) = company.sides
        assert side.event is not None
        side.swarm.open(5)
        assert event_bytes(side, 5) == 200
        side.swarm.send(0, many(side.event, range(3)))
        heard = side.swarm.wait_for_events(4)
        assert (heard.least, heard.most) == (4, 4)
        assert cpu_s(side.server.pid) > 0


@needs_a_compiler
@pytest.mark.slow
def test_a_swarm_asks_in_time() -> None:
    with contextlib.ExitStack() as stack:
        company = Company(stack, wants_c=True, wants_sides=True)
        company.invite([C_LOOP], 4, 200)
        (side,) = company.sides
        assert side.event is not None
        side.swarm.open(4)
        side.swarm.teach(0, side.event)
        side.swarm.teach(1, Plain().echo(40))
        side.swarm.begin_probe(1, 0.001, 20)
        probed = side.swarm.end_probe()
        assert 0 < probed.p50_ms <= probed.p99_ms
        assert probed.seconds >= 0.02
        side.swarm.begin_pace(0, 0.001, 20)
        paced = side.swarm.end_pace()
        assert 0 < paced.p50_ms <= paced.p99_ms <= paced.most_ms + 0.01
        assert side.swarm.wait_for_events(20).most == 20


def test_stacks_become_shares() -> None:
    text = "main (server/a.py:1);send (libc.so.6) 3\nmain (server/a.py:2);epoll_wait (libc.so.6) 9"

    page = shown_stacks(text + "\nmain (server/a.py:3) 1")

    assert "4 samples" in page
    assert "75.0%  send (libc.so.6)" in page
    assert "25.0%  main (server/a.py)" in page
    assert "100.0%  main (server/a.py)" in page
    assert "epoll_wait" not in page
    assert "no samples" in shown_stacks("")


def test_what_fails_does_not_take_the_rest_with_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def fail(_sizes: Sizes, _tell: object) -> Result:
        raise Trouble("no luck")

    good = Result(figures=[Figure(name="f", unit="s", better="lower", values=[1.0])])
    works = {
        "bad": Work(question="Bad?", measure=fail),
        "good": Work(question="Good?", measure=lambda _sizes, _tell: good),
    }
    monkeypatch.setattr(program, "WORKS", works)
    kept = tmp_path / "figures.json"

    assert program.main(["all", "--json", str(kept)]) == 1
    assert "failed: no luck" in capsys.readouterr().out
    assert msgspec.json.decode(kept.read_bytes(), type=Report).works["good"] == good
    assert program.main(["table", str(kept)]) == 0
    assert "| good | f | 1.00 s (1.00 to 1.00) |" in capsys.readouterr().out


@pytest.mark.slow
def test_the_bare_writer_writes() -> None:
    with bare_writer() as writer:
        for written in (
            writer.group(8, 0.1),
            writer.bulk(8, 0.1),
            writer.alone(0.05),
            writer.read(0.02),
        ):
            assert written.count > 0
            assert written.per_s > 0
            assert written.waits_ms > 0


def test_a_side_that_cannot_be_had_is_named() -> None:
    with contextlib.ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", "/nowhere")
        company = Company(stack, wants_c=False, wants_sides=True)
        company.invite([PYTHON_SOCKETIO], 5, 200)

    assert company.sides == []
    assert company.notes == [
        "python-socketio is left out: not installed; scripts/bench install-peers gets it"
    ]


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


def _goal(*values: float, better: str, goal: float) -> Report:
    figures = [
        Figure(name="speed", unit="us", better=better, values=list(values), side=OURS, goal=goal),
        Figure(name="speed", unit="us", better=better, values=[20.0], side="other"),
    ]
    return Report(machine="m", seed=1, works={"w": Result(figures=figures)})


@pytest.mark.parametrize(
    ("better", "goal", "text", "verdict"),
    [
        ("lower", 10.0, "<= 10.0", "met"),
        ("lower", 8.0, "<= 8.00", "missed by 25%"),
        ("higher", 10.0, ">= 10.0", "met"),
        ("higher", 12.5, ">= 12.5", "missed by 20%"),
    ],
)
def test_a_goal_stands_beside_the_figure(better: str, goal: float, text: str, verdict: str) -> None:
    report = _goal(9.0, 10.0, 11.0, better=better, goal=goal)
    ours, other = shown(report.works["w"]).splitlines()[1:]

    assert " ".join(ours.split()).endswith(f"us {text} {verdict} 3")
    assert "2.00 x" in other
    assert verdict in goals(report)
    row = markdown(report).splitlines()[-1]
    assert row == (
        f"| w | speed | 10.0 us (9.00 to 11.0) | other 20.0 (2.00) | {text} | {verdict} |"
    )


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
