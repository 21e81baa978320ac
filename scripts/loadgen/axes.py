"""Axes of a drawing: from values to pixels, with round numbers at the ticks."""

import math
from collections.abc import Sequence
from typing import Final

import msgspec

_STEPS: Final = (1, 2, 5)
_MOST_TICKS: Final = 12
_TIME_STEPS_S: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)


class Axis(msgspec.Struct, frozen=True):
    """Values from ``values[0]`` to ``values[1]`` at the pixels from ``pixels[0]`` to ``pixels[1]``.

    Attributes:
        ticks: values with their labels.
        is_log: equal ratios are equally far apart.
    """

    values: tuple[float, float]
    pixels: tuple[float, float]
    ticks: list[tuple[float, str]]
    is_log: bool = False

    def at(self, value: float) -> float:
        """The pixel of ``value``; one beyond an end is put at the end."""
        first, last = self.values
        value = min(max(value, first), last)
        if self.is_log:
            share = math.log(value / first) / math.log(last / first)
        else:
            share = (value - first) / (last - first)
        start, end = self.pixels
        return start + share * (end - start)


def log_axis(values: Sequence[float], pixels: tuple[float, float]) -> Axis:
    """From the step below the least value to the one above the most: 1, 2, 5, 10, 20, ..."""
    above_0 = [value for value in values if value > 0] or [1.0, 10.0]
    first, last = _step_below(min(above_0)), _step_above(max(above_0))
    if first >= last:
        first, last = first / 10, last * 10
    lowest = math.floor(math.log10(first))
    highest = math.ceil(math.log10(last))
    steps = [step * 10.0**power for power in range(lowest, highest + 1) for step in _STEPS]
    ticks = [step for step in steps if first * 0.999 <= step <= last * 1.001]
    if len(ticks) > _MOST_TICKS:
        ticks = [10.0**power for power in range(lowest, highest + 1)]
        ticks = [tick for tick in ticks if first * 0.999 <= tick <= last * 1.001]
    return Axis((first, last), pixels, [(tick, f"{tick:,g}") for tick in ticks], is_log=True)


def linear_axis(values: Sequence[float], pixels: tuple[float, float]) -> Axis:
    """From 0 to a round number above the most."""
    most = max([*values, 0.0]) or 1.0
    step = _step_above(most / 5)
    count = math.ceil(most / step)
    ticks = [(number * step, f"{number * step:,g}") for number in range(count + 1)]
    return Axis((0.0, count * step), pixels, ticks)


def time_axis(length_s: float, pixels: tuple[float, float]) -> Axis:
    """From 0 to ``length_s`` seconds."""
    step = next((s for s in _TIME_STEPS_S if length_s / s <= _MOST_TICKS), _TIME_STEPS_S[-1])
    ticks = [(float(at), f"{at:,}") for at in range(0, int(length_s) + 1, step)]
    return Axis((0.0, max(length_s, 0.001)), pixels, ticks)


def _step_below(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return max((step * power for step in _STEPS if step * power <= value * 1.001), default=power)


def _step_above(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return next((s * power for s in (*_STEPS, 10) if s * power >= value * 0.999), 10 * power)
