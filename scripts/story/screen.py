"""How the demo looks: one aligned line for each thing, as it happens."""

import os
import sys
import time
from typing import Final, TextIO

from scripts.common.terminal import Paint

_COLOURS: Final = ("cyan", "green", "magenta", "yellow")
_DEVICE: Final = 13
_PLACE: Final = 11
_WIDTH: Final = 88


class Screen:
    """Writes lines: seconds since the start, the device, the direction, what.

    ``>>`` is what a device asks for, ``<<`` what it is answered, ``<-`` an event that it is given.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stdout if stream is None else stream
        self._paint = Paint(self._stream)
        self._started_s = time.monotonic()
        self._colours: dict[str, str] = {}

    def chapter(self, title: str) -> None:
        """A headline."""
        self._write(self._paint(f"-- {title} ".ljust(_WIDTH, "-"), "bold"))

    def asks(self, user: str, device: str, what: str) -> None:
        """A device sends a request."""
        self._line(user, device, self._paint(f">> {what}", "bold"))

    def answered(self, user: str, device: str, what: str) -> None:
        """A device is answered."""
        self._line(user, device, f"<< {what}")

    def refused(self, user: str, device: str, what: str) -> None:
        """A device is refused something."""
        self._line(user, device, self._paint(f"<< refused: {what}", "red"))

    def given(self, user: str, device: str, place: str, what: str) -> None:
        """A device is given an event; ``place`` is where it stands in which log."""
        self._line(user, device, f"<- {self._paint(place.ljust(_PLACE), 'dim')} {what}")

    def tells(self, user: str, device: str, what: str) -> None:
        """Something about a device's connection."""
        self._line(user, device, f"   {what}")

    def note(self, text: str) -> None:
        """A remark."""
        self._write(text)

    def _line(self, user: str, device: str, what: str) -> None:
        colour = self._colours.setdefault(user, _COLOURS[len(self._colours) % len(_COLOURS)])
        name = self._paint(f"{user} {device}".ljust(_DEVICE), colour)
        clock = self._paint(f"{time.monotonic() - self._started_s:6.3f}", "dim")
        self._write(f"{clock}  {name}  {what}")

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text + "\n")
            self._stream.flush()
        except BrokenPipeError:
            # Whoever read has seen enough; the story goes on and ends in order.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
