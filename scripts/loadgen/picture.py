"""The result as a picture: latencies and deliveries over time, as SVG that any browser shows.

Written by hand: a drawing of two panels is less code than the care of a plotting library, and the
file is small, sharp at any size, and tells the figures of the bucket under the pointer.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final
from xml.sax.saxutils import escape

from scripts.loadgen.axes import Axis, linear_axis, log_axis, time_axis
from scripts.loadgen.result import Bucket, Latencies, Result

_WIDTH: Final = 1080
_LEFT: Final = 84
_RIGHT: Final = 28
_UPPER: Final = (112, 300)
_LOWER: Final = (478, 170)
"""Top and height of the two panels."""
_HEIGHT: Final = 706

_BLUE, _ORANGE, _GREEN, _RED, _INK, _GREY = (
    "#1f6fb4",
    "#d9620b",
    "#2a8a57",
    "#b3261e",
    "#222222",
    "#666666",
)

_Latency = Callable[[Latencies], float]
_PERCENTILES: Final[tuple[tuple[str, _Latency, str], ...]] = (
    ("p50", lambda latencies: latencies.p50_ms, 'stroke-width="1.4" stroke-dasharray="1.5 3"'),
    ("p90", lambda latencies: latencies.p90_ms, 'stroke-width="1.3" stroke-opacity="0.65"'),
    ("p99", lambda latencies: latencies.p99_ms, 'stroke-width="2.2"'),
)
_Latencies = Callable[[Bucket], Latencies | None]
_SIDES: Final[tuple[tuple[str, _Latencies, str], ...]] = (
    ("reply", lambda bucket: bucket.replies_ms, _BLUE),
    ("delivery", lambda bucket: bucket.deliveries_ms, _ORANGE),
)

_LEGEND: Final = {"reply": 86, "delivery": 100}
"""How wide an entry of the legend is."""

_Point = tuple[float, float]


def picture(result: Result) -> str:
    """An SVG document."""
    x = time_axis(result.total.length_s, (_LEFT, _WIDTH - _RIGHT))
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
            f'width="{_WIDTH}" height="{_HEIGHT}" '
            'font-family="system-ui, Helvetica, Arial, sans-serif" font-size="13">',
            f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
            *_title(result),
            *_latencies(result.points, x),
            *_deliveries(result.points, x),
            *_marks(result, x),
            *_hints(result.points, x),
            "</svg>",
            "",
        ]
    )


def _title(result: Result) -> Iterator[str]:
    yield _text(_LEFT, 34, f"Load on {result.server}", size=20, weight="600")
    shown = ",  ".join(f"{name} {value:g}" for name, value in result.parameters.items() if value)
    yield _text(_LEFT, 57, f"{result.began};  {shown}", colour=_GREY)
    wrong = sum(result.faults.values())
    verdict = f"{wrong} findings, see the page" if wrong else "nothing is wrong"
    ended = f"{result.end.lower()} after {result.seconds:.1f} s: "
    words = f"{ended}{result.deliveries:,} deliveries checked, {verdict}"
    yield _text(_LEFT, 77, words, colour=_RED if wrong else _GREEN)


# The panels.


def _latencies(points: Sequence[Bucket], x: Axis) -> Iterator[str]:
    values = [
        value(latencies)
        for bucket in points
        for _, side, _ in _SIDES
        if (latencies := side(bucket)) is not None
        for _, value, _ in _PERCENTILES
    ]
    top, height = _UPPER
    y = log_axis(values, (top + height, top))
    yield from _panel(x, y, _UPPER, "latency in ms, log scale, from when a request was due")
    at = _WIDTH - _RIGHT - sum(len(_PERCENTILES) * wide for wide in _LEGEND.values())
    for side_name, side, colour in _SIDES:
        for name, value, style in _PERCENTILES:
            label = f"{side_name} {name}"
            runs = _runs(points, _one_of(side, value))
            yield from _lines(runs, x, y, colour, style, label)
            yield (
                f'<line x1="{at}" x2="{at + 20}" y1="{top - 11}" y2="{top - 11}" '
                f'stroke="{colour}" {style}/>'
            )
            yield _text(at + 24, top - 7, label, size=11)
            at += _LEGEND[side_name]


def _one_of(side: _Latencies, value: _Latency) -> Callable[[Bucket], float | None]:
    def found(bucket: Bucket) -> float | None:
        latencies = side(bucket)
        return None if latencies is None else value(latencies)

    return found


def _deliveries(points: Sequence[Bucket], x: Axis) -> Iterator[str]:
    top, height = _LOWER
    y = linear_axis([bucket.deliveries_per_s for bucket in points], (top + height, top))
    yield from _panel(x, y, _LOWER, "deliveries per second")
    for run in _runs(points, lambda bucket: bucket.deliveries_per_s):
        corners = [(x.at(at), y.at(value)) for at, value in run]
        ground = y.at(0)
        area = [(corners[0][0], ground), *corners, (corners[-1][0], ground)]
        yield f'<polygon points="{_points(area)}" fill="{_GREEN}" fill-opacity="0.15"/>'
    runs = _runs(points, lambda bucket: bucket.deliveries_per_s)
    yield from _lines(runs, x, y, _GREEN, 'stroke-width="1.8"', "deliveries")
    yield _text(x.pixels[1], top + height + 40, "seconds since the load began", anchor="end")


def _panel(x: Axis, y: Axis, place: tuple[int, int], title: str) -> Iterator[str]:
    """The frame, the grid and the labels."""
    top, height = place
    left, right = x.pixels
    yield _text(left, top - 7, title, weight="600")
    for value, label in y.ticks:
        at = y.at(value)
        yield _line(left, at, right, at, "#e3e3e3")
        yield _text(left - 8, at + 4, label, anchor="end", colour=_GREY)
    for value, label in x.ticks:
        at = x.at(value)
        yield _line(at, top, at, top + height, "#eeeeee")
        yield _text(at, top + height + 18, label, anchor="middle", colour=_GREY)
    yield (
        f'<rect x="{left:g}" y="{top}" width="{right - left:g}" height="{height}" fill="none" '
        'stroke="#999999"/>'
    )


def _marks(result: Result, x: Axis) -> Iterator[str]:
    """What happened to the server, through both panels."""
    for number, mark in enumerate(result.marks):
        at = x.at(mark.at_s)
        for top, height in (_UPPER, _LOWER):
            yield (
                f'<line class="mark" x1="{at:.1f}" x2="{at:.1f}" y1="{top}" y2="{top + height}" '
                f'stroke="{_RED}" stroke-dasharray="5 3"/>'
            )
        # Neighbours at different heights, so that their words do not meet.
        height = _UPPER[0] + 16 + 15 * (number % 3)
        is_late = at > x.pixels[1] - 110
        yield _text(
            at - 4 if is_late else at + 4,
            height,
            mark.what,
            anchor="end" if is_late else "start",
            colour=_RED,
            size=11,
        )


def _hints(points: Sequence[Bucket], x: Axis) -> Iterator[str]:
    """What a browser shows for the bucket under the pointer."""
    top, end = _UPPER[0], _LOWER[0] + _LOWER[1]
    for bucket in points:
        left, right = x.at(bucket.from_s), x.at(bucket.from_s + bucket.length_s)
        words = [f"from {bucket.from_s:.0f} s: {bucket.deliveries_per_s:,.0f} deliveries per s"]
        words.append(f"{bucket.offered} requests due, {bucket.answered} answered")
        for name, side, _ in _SIDES:
            latencies = side(bucket)
            if latencies is not None:
                shown = [f"{label} {of(latencies):.1f}" for label, of, _ in _PERCENTILES]
                words.append(f"{name} ms: {', '.join(shown)}, most {latencies.max_ms:.1f}")
        yield (
            f'<rect class="hint" x="{left:.1f}" y="{top}" width="{max(0.5, right - left):.1f}" '
            f'height="{end - top}" fill="white" fill-opacity="0">'
            f"<title>{escape(chr(10).join(words))}</title></rect>"
        )


# Strokes.


def _runs(
    points: Sequence[Bucket], value: Callable[[Bucket], float | None]
) -> Iterator[list[_Point]]:
    """The values with the middles of their buckets, in runs without a missing one."""
    run: list[_Point] = []
    for bucket in points:
        found = value(bucket)
        if found is not None:
            run.append((bucket.from_s + bucket.length_s / 2, found))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _lines(
    runs: Iterator[list[_Point]], x: Axis, y: Axis, colour: str, style: str, name: str
) -> Iterator[str]:
    for run in runs:
        corners = _points([(x.at(at), y.at(value)) for at, value in run])
        if len(run) == 1:  # of which a line shows nothing
            at, value = run[0]
            yield f'<circle cx="{x.at(at):.1f}" cy="{y.at(value):.1f}" r="2.5" fill="{colour}"/>'
        yield (
            f'<polyline class="{escape(name)}" points="{corners}" fill="none" stroke="{colour}" '
            f'stroke-linejoin="round" stroke-linecap="round" {style}/>'
        )


def _points(corners: Sequence[_Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _text(
    x: float,
    y: float,
    words: str,
    *,
    size: int = 12,
    weight: str = "400",
    colour: str = _INK,
    anchor: str = "start",
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" '
        f'fill="{colour}" text-anchor="{anchor}">{escape(words)}</text>'
    )
