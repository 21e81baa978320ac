"""What happened in a history, line by line, and what was counted in it."""

import hashlib
from collections import Counter
from collections.abc import Iterator

from tests.simulation.virtual_loop import VirtualLoop

Line = tuple[float, str, tuple[object, ...]]


class Trace:
    """Every step that matters, with its time. Two runs of one seed have the same digest.

    Attributes:
        counts: how often each thing happened, for the report.
    """

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._lines: list[Line] = []
        self.counts: Counter[str] = Counter()

    def note(self, what: str, *details: object) -> None:
        """Note and count ``what``; the details are numbers and texts."""
        self._lines.append((self._loop.time(), what, details))
        self.counts[what] += 1

    def quiet(self, what: str, *details: object) -> None:
        """Note without counting: for what is frequent."""
        self._lines.append((self._loop.time(), what, details))

    def digest(self) -> str:
        """A fingerprint of all of it."""
        digest = hashlib.blake2b(digest_size=16)
        for line in self._lines:
            digest.update(repr(line).encode())
        return digest.hexdigest()

    def lines(self, last: int | None = None) -> Iterator[str]:
        """The steps as text, all or the ``last`` ones."""
        start = 0 if last is None else max(0, len(self._lines) - last)
        for time_s, what, details in self._lines[start:]:
            yield f"{time_s:10.4f}  {what:<22} {' '.join(map(str, details))}"
