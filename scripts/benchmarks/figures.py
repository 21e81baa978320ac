"""Figures: measured several times, shown with their spread, kept as JSON, compared."""

import statistics
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from scripts.common.terminal import table


class Figure(msgspec.Struct, kw_only=True):
    """One number, once for each run; ``better`` is "higher", "lower" or "" for neither."""

    name: str
    unit: str
    better: str
    values: list[float]

    @property
    def median(self) -> float:
        """The middle of the runs."""
        return statistics.median(self.values)


class Result(msgspec.Struct, kw_only=True):
    """What a work measured; ``notes`` say under which conditions."""

    figures: list[Figure]
    notes: list[str] = []


class Report(msgspec.Struct, kw_only=True):
    """Everything of one call of the program."""

    machine: str
    seed: int
    works: dict[str, Result]


class Runs:
    """Collects figures run by run, in the order in which they are first named."""

    def __init__(self) -> None:
        self._figures: dict[str, Figure] = {}

    def add(self, name: str, value: float, unit: str, better: str = "") -> None:
        """One more value of a figure."""
        figure = self._figures.setdefault(
            name, Figure(name=name, unit=unit, better=better, values=[])
        )
        figure.values.append(value)

    def figures(self) -> list[Figure]:
        """All of them."""
        return list(self._figures.values())


def shown(result: Result) -> str:
    """A work's figures as a table."""
    rows = [["", "median", "lowest", "highest", "", "runs"]]
    rows += [
        [
            figure.name,
            number(figure.median),
            number(min(figure.values)),
            number(max(figure.values)),
            figure.unit,
            str(len(figure.values)),
        ]
        for figure in result.figures
    ]
    notes = "".join(f"\n  {note}" for note in result.notes)
    return table(rows, right=(1, 2, 3, 5)) + notes


def compared(old: Report, new: Report) -> str:
    """Old and new side by side; what lies within the spread of the runs is called the same."""
    rows = [["", "old", "new", "", "change", ""]]
    for name, before, after in _pairs(old.works, new.works):
        change = after.median / before.median - 1 if before.median else 0.0
        rows.append(
            [
                name,
                number(before.median),
                number(after.median),
                after.unit,
                f"{change:+.0%}",
                _verdict(before, after),
            ]
        )
    lines = [f"old: {old.machine}, seed {old.seed}", f"new: {new.machine}, seed {new.seed}"]
    return "\n".join([*lines, table(rows, right=(1, 2, 4))])


def _pairs(
    old: Mapping[str, Result], new: Mapping[str, Result]
) -> Iterator[tuple[str, Figure, Figure]]:
    for work, result in new.items():
        before = {figure.name: figure for figure in old[work].figures} if work in old else {}
        for figure in result.figures:
            if figure.name in before:
                yield f"{work}: {figure.name}", before[figure.name], figure


def _verdict(before: Figure, after: Figure) -> str:
    if not after.better:
        return ""
    rises = min(after.values) > max(before.values)
    falls = max(after.values) < min(before.values)
    if not rises and not falls:
        return "same within the spread"
    return "better" if rises == (after.better == "higher") else "worse"


def number(value: float) -> str:
    """Three digits that matter, and thousands set apart."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def percentile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` of ``values`` do not exceed."""
    ascending = sorted(values)
    return ascending[min(len(ascending) - 1, int(share * len(ascending)))]
