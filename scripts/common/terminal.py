"""Plain text for people: colours and a bar where there is a terminal, aligned tables everywhere."""

import os
import shutil
import sys
import time
from collections.abc import Sequence
from typing import Final, TextIO

_COLOURS: Final = {"red": 31, "green": 32, "yellow": 33, "blue": 34, "magenta": 35, "cyan": 36}
_STYLES: Final = {"bold": 1, "dim": 2}
_BAR: Final = 30
_LEAST_BAR: Final = 5
_REDRAW_S: Final = 0.1
_TENTHS: Final = 10


class Paint:
    """Colours text for ``stream`` if it is a terminal and NO_COLOR is not set."""

    def __init__(self, stream: TextIO) -> None:
        self.is_on = stream.isatty() and not os.environ.get("NO_COLOR")

    def __call__(self, text: str, *styles: str) -> str:
        """``text`` in these styles, or as it is."""
        codes = ";".join(str({**_COLOURS, **_STYLES}[style]) for style in styles)
        return f"\x1b[{codes}m{text}\x1b[0m" if self.is_on and codes else text


class Progress:
    """How far the work is: a bar on a terminal, otherwise a line now and then.

    Written to standard error, so that standard output holds the result only.

    Args:
        every_s: where there is no terminal, a line after so long and for the end; None for a line
            for each tenth.
    """

    def __init__(
        self,
        total: int,
        unit: str,
        stream: TextIO | None = None,
        *,
        every_s: float | None = None,
    ) -> None:
        self._total = max(1, total)
        self._unit = unit
        self._stream = sys.stderr if stream is None else stream
        self._is_terminal = self._stream.isatty()
        self._every_s = every_s
        self._tenths = 0
        self._drawn_s = 0.0

    def show(self, done: int, note: str = "") -> None:
        """Tell that ``done`` of the total are done."""
        text = f"{done:,}/{self._total:,} {self._unit}  {note}".rstrip()
        if not self._is_terminal:
            if self._is_time_for_a_line(done):
                self._write(text + "\n")
            return
        now_s = time.monotonic()
        if now_s - self._drawn_s >= _REDRAW_S or done >= self._total:
            self._drawn_s = now_s
            columns = shutil.get_terminal_size().columns
            # As long as there is room, since a line that wraps cannot be drawn over.
            bar = max(_LEAST_BAR, min(_BAR, columns - len(text) - 4))
            filled = min(bar, done * bar // self._total)
            line = f"[{'#' * filled}{'.' * (bar - filled)}] {text}"
            self._write(f"\r\x1b[K{line[: max(1, columns - 1)]}")

    def _is_time_for_a_line(self, done: int) -> bool:
        tenths = done * _TENTHS // self._total
        is_new = tenths > self._tenths
        self._tenths = max(tenths, self._tenths)
        if self._every_s is None or (is_new and tenths >= _TENTHS):
            return is_new
        now_s = time.monotonic()
        if now_s - self._drawn_s < self._every_s:
            return False
        self._drawn_s = now_s
        return True

    def end(self) -> None:
        """Leave the line."""
        if self._is_terminal:
            self._write("\n")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def table(rows: Sequence[Sequence[str]], *, right: Sequence[int] = (), indent: str = "  ") -> str:
    """Rows in columns as wide as their widest cell; the columns in ``right`` end flush."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append((indent + "  ".join(cells)).rstrip())
    return "\n".join(lines)
