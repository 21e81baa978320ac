"""The page and the picture say what is in the result, and warn where it is not the server's."""

import itertools
import re
from xml.etree import ElementTree

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.common.percentiles import Histogram
from scripts.loadgen.axes import Axis, linear_axis, log_axis, time_axis
from scripts.loadgen.oracle import judge
from scripts.loadgen.page import page, warnings
from scripts.loadgen.picture import picture
from scripts.loadgen.record import Fault, Finding
from scripts.loadgen.result import Played, Result, result_of
from scripts.loadgen.timeline import Timeline
from tests.scripts.world import play, record_of

SECONDS = 12
SVG = "{http://www.w3.org/2000/svg}"


def timeline(silent: int | None = None) -> Timeline:
    """Twelve seconds, one of them without any answer or delivery."""
    made = Timeline()
    made.begin(100.0)
    for number in range(SECONDS):
        second = made.at(100.5 + number)
        second.offered = 50
        second.load_cpu, second.server_cpu, second.server_bytes = 0.25, 0.5, 64 * 2**20
        if number != silent:
            second.answered, second.deliveries = 49, 1000 + number
            for times in (second.replies, second.news):
                times.add(0.001 * (number + 1))
                times.add(0.5)
    made.end(100.0 + SECONDS)
    made.close()
    made.mark(103.25, 'kill -9 & "more" <of it>')
    return made


def result(silent: int | None = None, late_s: float = 0.001) -> Result:
    record = record_of(play())
    late = Histogram()
    late.add(late_s)
    played = Played(
        seed=1,
        seconds=12.0,
        was_cut=False,
        devices=4,
        deliveries=12_066,
        resumes=3,
        pages=2,
        paged=9,
        limited=5,
        kills=1,
        late=late,
        timeline=timeline(silent),
        load_cpu_s=3.0,
        load_waited_s=0.5,
        server_cpu_s=6.0,
        server_peak_bytes=70 * 2**20,
    )
    return result_of(
        played,
        record,
        judge(record),
        server="ws://a&b/ws",
        began="2026-01-01",
        parameters={"rate": 50, "users": 3},
        end="Played to its end",
    )


# The picture.


def drawn(of: Result) -> ElementTree.Element:
    return ElementTree.fromstring(picture(of))


def corners(root: ElementTree.Element, series: str) -> list[list[tuple[float, float]]]:
    lines = [e for e in root.iter(f"{SVG}polyline") if e.get("class") == series]
    return [
        [
            (float(x), float(y))
            for x, y in (pair.split(",") for pair in line.attrib["points"].split())
        ]
        for line in lines
    ]


SERIES = [f"{side} {name}" for side in ("reply", "delivery") for name in ("p50", "p90", "p99")]


@pytest.mark.parametrize("series", [*SERIES, "deliveries"])
def test_each_second_is_a_corner_of_each_line(series: str) -> None:
    [line] = corners(drawn(result()), series)

    assert len(line) == SECONDS
    steps = {round(later[0] - earlier[0]) for earlier, later in itertools.pairwise(line)}
    assert len(steps) <= 2  # evenly, but for rounding


def test_a_second_without_an_answer_is_a_gap_in_the_latencies_and_a_0_in_the_deliveries() -> None:
    root = drawn(result(silent=5))

    assert [len(line) for line in corners(root, "reply p99")] == [5, 6]
    [deliveries] = corners(root, "deliveries")
    assert len(deliveries) == SECONDS
    assert deliveries[5][1] == max(y for _, y in deliveries)


def test_a_second_between_two_silent_ones_is_seen() -> None:
    alone = result(silent=5)
    alone.points = [alone.points[0], alone.points[5], alone.points[6], alone.points[5]]
    root = drawn(alone)

    assert [len(line) for line in corners(root, "reply p99")] == [1, 1]
    assert len(list(root.iter(f"{SVG}circle"))) == 2 * len(SERIES)


def test_a_higher_latency_is_drawn_higher() -> None:
    [line] = corners(drawn(result()), "reply p50")
    heights = [y for _, y in line]

    assert heights == sorted(heights, reverse=True)
    assert len(set(heights)) == SECONDS


def test_it_says_what_was_loaded_and_when_and_marks_what_happened() -> None:
    root = drawn(result())
    words = [element.text or "" for element in root.iter(f"{SVG}text")]

    assert "Load on ws://a&b/ws" in words
    assert any("2026-01-01" in text and "rate 50" in text for text in words)
    assert 'kill -9 & "more" <of it>' in words
    assert len([e for e in root.iter(f"{SVG}line") if e.get("class") == "mark"]) == 2
    assert set(SERIES) <= set(words)
    hints = [e for e in root.iter(f"{SVG}rect") if e.get("class") == "hint"]
    assert len(hints) == SECONDS


def test_everything_is_inside_the_picture() -> None:
    root = drawn(result())
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for line in root.iter(f"{SVG}polyline"):
        for x, y in (map(float, pair.split(",")) for pair in line.attrib["points"].split()):
            assert 0 <= x <= width
            assert 0 <= y <= height


def test_a_run_of_nothing_has_a_picture_and_a_page() -> None:
    empty = result()
    empty.rows, empty.points, empty.marks = [], [], []

    assert corners(drawn(empty), "deliveries") == []
    assert "Nothing is wrong." in page(empty)


@given(st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=20))
def test_axes_hold_every_value_in_order(values: list[float]) -> None:
    for make in (log_axis, linear_axis):
        axis: Axis = make(values, (300.0, 0.0))
        pixels = [axis.at(value) for value in sorted(values)]
        assert pixels == sorted(pixels, reverse=True)
        assert axis.values[0] <= min(values)
        assert axis.values[1] >= max(values) * 0.999
        assert 2 <= len(axis.ticks) <= 14
        assert all(0 <= axis.at(value) <= 300 for value, _ in axis.ticks)


@given(st.floats(0.5, 80_000))
def test_a_time_axis_has_few_round_ticks(length_s: float) -> None:
    axis = time_axis(length_s, (0.0, 1000.0))
    assert 1 <= len(axis.ticks) <= 13
    assert all(value <= length_s for value, _ in axis.ticks)


# The page.


def test_the_page_has_a_row_for_each_second_and_one_for_all() -> None:
    lines = page(result()).splitlines()
    start = next(n for n, line in enumerate(lines) if "from s" in line)
    rows = [line.split() for line in lines[start + 1 : start + 2 + SECONDS]]

    assert [row[0] for row in rows] == [*(str(number) for number in range(SECONDS)), "all"]
    assert rows[3][1:4] == ["50", "49", "1,003"]
    assert rows[3][-3:] == ["25%", "50%", "64"]
    assert "after 3.2 s: kill -9" in page(result())


def test_a_long_run_has_few_rows_and_all_of_its_requests() -> None:
    long = Timeline()
    long.begin(0.0)
    for number in range(1000):
        long.at(number + 0.5).offered = 7
    long.end(1000.0)
    assert sum(span.seconds.offered for span in long.spans(20)) == 7_000
    assert len(list(long.spans(20))) == 20


def test_findings_are_the_last_word() -> None:
    wrong = result()
    wrong.faults = {**wrong.faults, Fault.LOST.value: 2}
    wrong.findings = [Finding(Fault.LOST, "bob phone", "crew 7")]

    assert wrong.is_wrong
    assert page(wrong).endswith("  lost: bob phone: crew 7")
    assert "2 findings" in picture(wrong)
    assert not result().is_wrong


def test_it_warns_when_the_load_side_is_what_is_measured() -> None:
    fine = result()
    assert warnings(fine) == []
    busy = result()
    busy.total = msgspec.structs.replace(fine.total, load_cpu=0.81)
    assert re.search(r"81% of a core", warnings(busy)[0])
    assert "WARNING: The load side took" in page(busy)
    fine.load_waited_s = 6.0
    [waited] = warnings(fine)
    assert "50% of the time" in waited
    [late] = warnings(result(late_s=0.3))
    assert "300 ms" in late


def test_the_json_form_is_all_of_it() -> None:
    whole = result()
    assert msgspec.json.decode(msgspec.json.encode(whole), type=Result) == whole
