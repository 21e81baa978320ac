"""What each device must be told, worked out from the log alone, by the promise and not by the code.

Design promise 3: all events that a user may see reach each of the user's devices in commit order,
exactly once; holes are provable. Protocol: a cursor names a place in that order.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence

from protocol.events import Event
from protocol.frames import Bye, Events, Pong, Reply, ServerFrame, Welcome
from server.service.ports import Committed
from tests.kit.devices import Device, is_stored, place_of_cursor

Name = tuple[str, str, int]
"""Which log an event is in, whose it is, and its number there."""


def visible_to(user_id: str, log: Sequence[Committed]) -> list[Committed]:
    """The entries of the whole log that the user may see."""
    seen: list[Committed] = []
    inside: set[str] = set()
    for told in log:
        entry = told.entry
        if user_id in entry.joined:
            inside.add(entry.group_id)
        if entry.inbox_of == user_id or (entry.inbox_of is None and entry.group_id in inside):
            seen.append(told)
        if entry.closes or user_id in entry.left:
            inside.discard(entry.group_id)
    return seen


def name_of_entry(told: Committed) -> Name:
    if told.entry.inbox_of is not None:
        return ("inbox", told.entry.inbox_of, told.seq)
    return ("group", told.entry.group_id, told.seq)


def name_of_event(event: Event, user_id: str) -> Name:
    if event.inbox_seq is not None:
        return ("inbox", user_id, event.inbox_seq)
    return ("group", event.group_id, event.seq or 0)


def assert_log_is_sound(log: Sequence[Committed]) -> None:
    """Positions rise, and every log is numbered 1, 2, 3 without a hole."""
    numbers: defaultdict[tuple[str, str], int] = defaultdict(int)
    before = 0
    for told in log:
        assert told.position > before
        before = told.position
        kind, whose, number = name_of_entry(told)
        numbers[kind, whose] += 1
        assert number == numbers[kind, whose]


class Witness:
    """Watches a device from its connecting on, and holds all that it reads against the log.

    Args:
        keep: called with each cursor from which the device could go on later.
        visited: groups that the user is no stored member of, only takes part in: what is told
            there is told at best to those who are there, so that nothing is said of it here.
    """

    def __init__(
        self,
        device: Device,
        keep: Callable[[str], object] = lambda _cursor: None,
        *,
        visited: Collection[str] = (),
    ) -> None:
        self._device = device
        self._keep = keep
        self._visited = visited
        self._names: list[Name] = []
        self._cursors: list[tuple[int, int]] = []
        """Each cursor's position, with the number of stored events that were read before it."""
        self._checked = 0
        self._wrong: list[str] = []
        device.on_frame = self._on_frame

    def _on_frame(self, frame: ServerFrame) -> None:
        # Called from within the server: what is wrong is said later, by the test.
        device = self._device
        if isinstance(frame, Welcome) != (len(device.frames) == 1) and not isinstance(frame, Bye):
            self._wrong.append("the first frame, and no other, is the welcome")
        if isinstance(frame, Events):
            if not frame.events:
                self._wrong.append("an events frame without events")
            self._names += [
                name_of_event(event, device.user_id)
                for event in frame.events
                if is_stored(event) and event.group_id not in self._visited
            ]
        if isinstance(frame, Welcome | Events | Reply | Pong):
            self._cursors.append((place_of_cursor(frame.cursor), len(self._names)))
            self._keep(frame.cursor)

    def assert_nothing_wrong(self, log: Sequence[Committed]) -> None:
        """Every cursor so far is true: all up to it was told in order, and nothing after it."""
        assert not self._wrong
        if len(self._cursors) == self._checked:
            return
        positions, names = self._expected(log)
        assert self._names == names[: len(self._names)]
        for cursor, count in self._cursors[self._checked :]:
            assert bisect_right(positions, cursor) == count
        self._checked = len(self._cursors)

    def assert_all_is_told(self, log: Sequence[Committed]) -> None:
        """Nothing is missing any more."""
        _, names = self._expected(log)
        assert self._names == names

    def _expected(self, log: Sequence[Committed]) -> tuple[list[int], list[Name]]:
        start = self._cursors[0][0]
        told = [t for t in visible_to(self._device.user_id, log) if t.position > start]
        return [t.position for t in told], [name_of_entry(t) for t in told]
