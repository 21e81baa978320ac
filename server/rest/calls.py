"""What is counted of the calls: by command, by code, and how long they took."""

from collections import defaultdict
from typing import Final

from protocol.errors import ErrorCode
from server.rest.registry import Row
from server.service.tally import Tally

UNKNOWN: Final = "unknown"
"""What calls are counted as whose command is none; no command has this name."""

DURATIONS_MS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 5_000)
_VETOES: Final = range(10100, 10201)


def name_of(row: Row | None) -> str:
    """``service/command``, or UNKNOWN: never what somebody sent."""
    return UNKNOWN if row is None else f"{row.service}/{row.name}"


class Calls:
    """Counts of calls; only those that there were take room, and each is of few kinds.

    Attributes:
        by_code: (service/command, code) -> calls. A veto of the operator's own service is VETOED
            whatever its number, so that nobody chooses the values.
        took_ms: service/command -> how long its calls took.
    """

    def __init__(self) -> None:
        self.by_code: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.took_ms: defaultdict[str, Tally] = defaultdict(lambda: Tally(DURATIONS_MS))

    def add(self, row: Row | None, code: int, took_ms: float) -> None:
        """One call is answered; ``row`` is None where there is no such command."""
        name = name_of(row)
        told = ErrorCode.VETOED.name if code in _VETOES else str(code)
        self.by_code[name, told] += 1
        self.took_ms[name].add(round(took_ms))
