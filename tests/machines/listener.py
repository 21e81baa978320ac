"""A device as somebody who listens: what it was told must be what it would fetch."""

from collections.abc import Iterable, Sequence
from typing import Any

from tests.machines.client_state import Map, State
from tests.machines.exemptions import of_absence, of_discards
from tests.machines.snapshot import KNOWN_EVENTS, differences, reduced


class Listener:
    """Holds a client to the law, from one fetched state to the next.

    Attributes:
        told: the state fetched before, with all that was told since.
        fetched: the state that was fetched last.
        heard: how many events were held to the law.
    """

    def __init__(self, state: State) -> None:
        self.told = state
        self.fetched = state
        self.heard = 0
        self._exempt: set[str] = set()
        self._was_away = False

    def excuse(self, exempt: Iterable[str], *, is_away: bool) -> None:
        """A command is done of which these paths need not be known; the device may be away."""
        self._exempt.update(exempt)
        self._was_away = self._was_away or is_away

    def hear(self, events: Sequence[Map]) -> None:
        """The device has received these events."""
        for event in events:
            assert (event["kind"], event["event"]) in KNOWN_EVENTS, f"an unknown event: {event}"
        self.told = reduced(self.told, events)
        self.heard += len(events)

    def check(self, fetched: State, about: object = "") -> None:
        """What was told is what was fetched; from here on it goes on from that."""
        exempt = self._exempt | of_discards(self.fetched, self.told, fetched)
        if self._was_away:
            exempt |= of_absence(self.fetched, self.told, fetched)
        wrong = differences(self.told, fetched, exempt)
        lines: list[Any] = [f"{fetched.user_id} was told otherwise:", *wrong, about]
        assert not wrong, "\n".join(map(str, lines))
        self.told = self.fetched = fetched
        self._exempt = set()
        self._was_away = False
