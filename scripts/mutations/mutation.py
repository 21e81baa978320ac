"""One way to break the code: a text of a file, and what stands there instead."""

from pathlib import Path

import msgspec


class DoesNotFit(Exception):
    """The code has changed: the text to be replaced is not there, or more than once."""


class Mutation(msgspec.Struct, frozen=True, kw_only=True):
    """A fault.

    ``file`` is seen from the repository; ``old`` stands in it exactly once. ``tests`` are pytest's
    arguments of those that should notice; ``is_simulated`` says whether the simulation should too.
    """

    name: str
    promise: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    is_simulated: bool = True

    def applied(self, text: str) -> str:
        """The file's text with the fault in it.

        Raises:
            DoesNotFit: ``old`` is not in it exactly once.
        """
        count = text.count(self.old)
        if count != 1:
            raise DoesNotFit(f"{self.name}: its text is {count} times in {self.file}")
        return text.replace(self.old, self.new)

    def apply(self, root: Path) -> None:
        """Put the fault into the copy of the repository at ``root``."""
        path = root / self.file
        path.write_text(self.applied(path.read_text(encoding="utf-8")), encoding="utf-8")
