"""What was played, in figures: so that it shows that each fault really happens."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from tests.simulation.faulty_store import StoreFault
from tests.simulation.profile import FAULTS, RECEIVER_FAULTS

GROUPS: Final[Mapping[str, Sequence[str]]] = {
    "faults": (
        *(f"fault {name}" for name in dict.fromkeys(f for fs in FAULTS.values() for f in fs)),
        *(f"fault {name}" for name in RECEIVER_FAULTS),
        *(fault.value for fault in StoreFault),
    ),
    "server": ("start", "crash", "power cut", "drain", "fenced", "restore", "slow"),
    "connections": (
        "connect",
        "connect refused",
        "connect hangs",
        "welcome fresh",
        "welcome resumed",
        "welcome reset unknown_cursor",
        "welcome reset expired",
        "welcome reset too_far",
        "bye 4408",
        "bye 4409",
        "bye 4429",
        "bye 4500",
        "bye 4503",
    ),
    "answers": (
        "ask",
        "answer ok",
        "answer REQUEST_ID_CONFLICT",
        "answer NO_PERMISSION",
        "answer GROUP_NOT_FOUND",
        "answer MUTED",
        "reply OUTCOME_UNKNOWN",
        "reply UNAVAILABLE",
        "reply TOO_MANY_REQUESTS",
        "reply GROUP_MESSAGE_RATE",
    ),
    "webhook": (
        "by HTTP",
        "told 200",
        "told 500",
        "told 410",
        "told nothing",
        "poison",
        "asked 200",
        "asked 500",
        "asked nothing",
        "word: refused",
        "word: vetoed",
        "word: dropped",
        "word: rewritten",
        "word: members refused",
        "reply CALLBACK_REFUSED",
        "reply VETOED",
        "reply CALLBACK_FAILED",
    ),
}
"""What has to happen in a few hundred histories, by kind."""


def report(counts: Mapping[str, int], histories: int, seconds: float) -> Iterator[str]:
    """The figures of a run, line by line."""
    hours = counts.get("virtual s", 0) / 3600
    per_s = histories / seconds if seconds else 0.0
    yield f"{histories} histories in {seconds:.1f} s ({per_s:.0f} per s), {hours:.1f} virtual hours"
    for group, names in GROUPS.items():
        yield f"{group}: " + ", ".join(
            f"{name.removeprefix('fault ')} {counts.get(name, 0)}" for name in names
        )
    missing = never_happened(counts)
    if missing:
        yield "never happened: " + ", ".join(missing)


def never_happened(counts: Mapping[str, int]) -> list[str]:
    """What has to happen, and did not."""
    return [name for names in GROUPS.values() for name in names if not counts.get(name)]
