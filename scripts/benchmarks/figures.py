"""Figures: measured several times, shown with their spread, kept as JSON, compared."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from scripts.common.terminal import table

OURS: Final = "Muster"
"""The side that the others are compared with."""


class Figure(msgspec.Struct, kw_only=True):
    """One number, once for each run.

    ``better`` is "higher", "lower" or "" for neither; ``side`` is whose it is, where several did
    the same work; ``goal`` is what the median has to reach.
    """

    name: str
    unit: str
    better: str
    values: list[float]
    side: str = ""
    goal: float | None = None

    @property
    def median(self) -> float:
        """The middle of the runs."""
        return statistics.median(self.values)

    @property
    def title(self) -> str:
        """What it is, and whose."""
        return f"{self.name}, {self.side}" if self.side else self.name

    def verdict(self) -> str:
        """Whether the goal is met, and if not by how much it is missed; empty without a goal."""
        if self.goal is None:
            return ""
        is_met = self.median <= self.goal if self.better == "lower" else self.median >= self.goal
        return "met" if is_met else f"missed by {abs(self.median / self.goal - 1):.0%}"

    def goal_text(self) -> str:
        """The goal with its direction; empty without one."""
        if self.goal is None:
            return ""
        return f"{'<=' if self.better == 'lower' else '>='} {number(self.goal)}"


class Result(msgspec.Struct, kw_only=True):
    """What a work measured; ``notes`` say under which conditions."""

    figures: list[Figure]
    notes: list[str] = []


class Report(msgspec.Struct, kw_only=True):
    """Everything of one call of the program."""

    machine: str
    seed: int
    works: dict[str, Result]
    made: str = ""


class Runs:
    """Collects figures run by run, in the order in which they are first named."""

    def __init__(self) -> None:
        self._figures: dict[tuple[str, str], Figure] = {}

    def add(
        self,
        name: str,
        value: float,
        unit: str,
        better: str = "",
        *,
        side: str = "",
        goal: float | None = None,
    ) -> None:
        """One more value of a figure."""
        figure = self._figures.setdefault(
            (name, side),
            Figure(name=name, unit=unit, better=better, values=[], side=side, goal=goal),
        )
        figure.values.append(value)

    def last(self, name: str, side: str = "") -> float | None:
        """The newest value of a figure; None if there is none."""
        figure = self._figures.get((name, side))
        return None if figure is None else figure.values[-1]

    def figures(self) -> list[Figure]:
        """All of them; those of one name beside each other."""
        names = list(dict.fromkeys(name for name, _ in self._figures))
        return sorted(self._figures.values(), key=lambda figure: names.index(figure.name))


def shown(result: Result) -> str:
    """A work's figures as a table, without the columns that have nothing to say."""
    ours = {figure.name: figure.median for figure in result.figures if figure.side == OURS}
    rows = [["", "", "median", "lowest", "highest", "", "to ours", "goal", "", "runs"]]
    named = ""
    for figure in result.figures:
        middle = ours.get(figure.name)
        is_other = figure.side not in ("", OURS) and middle
        rows.append(
            [
                figure.name if figure.name != named else "",
                figure.side,
                number(figure.median),
                number(min(figure.values)),
                number(max(figure.values)),
                figure.unit,
                f"{figure.median / middle:.2f} x" if is_other and middle else "",
                figure.goal_text(),
                figure.verdict(),
                str(len(figure.values)),
            ]
        )
        named = figure.name
    notes = "".join(f"\n  {note}" for note in result.notes if note)
    return _without_empty_columns(rows, (2, 3, 4, 6, 9)) + notes


def _without_empty_columns(rows: list[list[str]], right: Sequence[int]) -> str:
    kept = [
        column
        for column in range(len(rows[0]))
        if column == 0 or any(row[column] for row in rows[1:])
    ]
    narrow = [[row[column] for column in kept] for row in rows]
    return table(narrow, right=[kept.index(column) for column in right if column in kept])


def goals(report: Report) -> str:
    """Every figure that has a goal, and whether it is met."""
    rows = [["work", "figure", "median", "", "goal", ""]]
    for work, result in report.works.items():
        rows += [
            [
                work,
                figure.title,
                number(figure.median),
                figure.unit,
                figure.goal_text(),
                figure.verdict(),
            ]
            for figure in result.figures
            if figure.goal is not None
        ]
    return table(rows, right=(2,)) if len(rows) > 1 else ""


def markdown(report: Report, *, all_figures: bool = False) -> str:
    """The report as a page's table: of each work what has a goal and what stands first.

    Args:
        all_figures: whether to show every figure instead.
    """
    lines = [f"{report.machine}; {report.made}", ""]
    lines += ["| work | figure | Muster | others, and how many times ours | goal | |"]
    lines += ["| --- | --- | --- | --- | --- | --- |"]
    for work, result in report.works.items():
        for name in dict.fromkeys(figure.name for figure in result.figures):
            named = [figure for figure in result.figures if figure.name == name]
            is_judged = any(figure.goal is not None for figure in named)
            if all_figures or is_judged or name == result.figures[0].name:
                lines += [_markdown_row(work, group) for group in _by_own_side(named)]
    return "\n".join(lines)


def _by_own_side(figures: Sequence[Figure]) -> Iterator[Sequence[Figure]]:
    """Each figure of ours with the others beside the first one of them."""
    mine = [figure for figure in figures if figure.side == "" or figure.side.startswith(OURS)]
    others = [figure for figure in figures if figure not in mine]
    if not mine:
        yield others
    for place, figure in enumerate(mine):
        yield [figure, *others] if place == 0 else [figure]


def _markdown_row(work: str, figures: Sequence[Figure]) -> str:
    first, *others = figures
    is_mine = first.side == "" or first.side.startswith(OURS)
    beside = others if is_mine else figures
    shown_others = "; ".join(
        f"{figure.side} {number(figure.median)}"
        + (f" ({figure.median / first.median:.2f})" if is_mine and first.median else "")
        for figure in beside
    )
    spread = f"{number(min(first.values))} to {number(max(first.values))}"
    unit = f" {first.unit}" if first.unit else ""
    value = f"{number(first.median)}{unit} ({spread})" if is_mine else ""
    whose = first.side.removeprefix(OURS).strip(", ") if is_mine else ""
    name = f"{first.name}, {whose}" if whose else first.name
    cells = [work, name, value, shown_others, first.goal_text(), first.verdict()]
    return f"| {' | '.join(cells)} |"


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
        before = {figure.title: figure for figure in old[work].figures} if work in old else {}
        for figure in result.figures:
            if figure.title in before:
                yield f"{work}: {figure.title}", before[figure.title], figure


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
