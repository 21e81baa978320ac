"""What waits to be told, in memory: of what is in the outbox only the numbers, by their groups."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence

from server.service.outbox import Outgoing, Waiting


class Stream:
    """What waits of one group, oldest first: numbers in the outbox, or what is not in there.

    ``attempts`` are those of the first one. ``told_id`` is the number of the one that is on its
    way, 0 for none. Of the first one that fails, ``failing_s`` is since when, on the monotonic
    clock, and ``taken`` how much else had been taken when the last attempt began (``blame``).
    """

    __slots__ = ("attempts", "failing_s", "items", "name", "taken", "told_id")

    def __init__(self, name: str) -> None:
        self.name = name
        self.items: list[int | Outgoing] = []  # a deque takes ten times as much for a single item
        self.attempts = 0
        self.told_id = 0
        self.failing_s: float | None = None
        self.taken = 0

    def has_new_first(self) -> None:
        """What is known of the first one is not about the one that is first now."""
        self.attempts = 0
        self.failing_s = None


class Backlog:
    """The streams, and the numbers of all of them in the order of the outbox."""

    def __init__(self) -> None:
        self._streams: dict[str, Stream] = {}
        self._rows: OrderedDict[int, tuple[Stream, int]] = OrderedDict()
        self.passing = 0

    @property
    def stored(self) -> int:
        """How many of what waits are in the outbox; ``passing`` are in none."""
        return len(self._rows)

    @property
    def oldest_ms(self) -> int | None:
        """Since when the oldest in the outbox waits, in ms since 1970; None when none does."""
        for _, time_ms in self._rows.values():
            return time_ms
        return None

    def add(self, row: Waiting) -> tuple[Stream, bool]:
        """One more in the outbox, newer than all: its stream, and whether that is new."""
        stream, is_new = self._stream(row.stream)
        if is_new:
            stream.attempts = row.attempts
        stream.items.append(row.id)
        self._rows[row.id] = (stream, row.time_ms)
        return stream, is_new

    def add_passing(self, outgoing: Outgoing) -> tuple[Stream, bool]:
        """One more that is in no outbox: as ``add``."""
        stream, is_new = self._stream(outgoing.item.stream)
        stream.items.append(outgoing)
        self.passing += 1
        return stream, is_new

    def drop_first(self, stream: Stream) -> None:
        """The first of a stream waits no more."""
        first = stream.items.pop(0)
        stream.has_new_first()
        if isinstance(first, int):
            del self._rows[first]
        else:
            self.passing -= 1

    def forget(self, stream: Stream) -> None:
        """Nothing of it waits, and nobody has it in hand."""
        del self._streams[stream.name]

    def drop_oldest(self, count: int) -> Sequence[int]:
        """Up to ``count`` numbers wait no more, the oldest, but for those that are on their way."""
        dropped: list[int] = []
        last_of: dict[Stream, int] = {}
        for row_id, stream in self._oldest(count):
            dropped.append(row_id)
            last_of[stream] = row_id
        gone = set(dropped)
        for stream, last in last_of.items():
            if stream.items[0] in gone:
                stream.has_new_first()
            end = stream.items.index(last) + 1
            stream.items[:end] = [one for one in stream.items[:end] if one not in gone]
        for row_id in dropped:
            del self._rows[row_id]
        return dropped

    def _oldest(self, count: int) -> Iterator[tuple[int, Stream]]:
        found = 0
        for row_id, (stream, _) in self._rows.items():
            if found >= count:
                return
            if row_id != stream.told_id:
                found += 1
                yield row_id, stream

    def _stream(self, name: str) -> tuple[Stream, bool]:
        stream = self._streams.get(name)
        if stream is not None:
            return stream, False
        stream = self._streams[name] = Stream(name)
        return stream, True
