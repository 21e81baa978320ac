"""Which requests may be in flight together, so that it is known what each must be answered."""

from collections import deque
from collections.abc import Callable, Iterator

import msgspec

from scripts.loadgen.device import Device
from scripts.loadgen.plan import Act, Expects, Kind


class Request(msgspec.Struct, eq=False):
    """A request from the moment it is due to its answer.

    Attributes:
        number: its act's place in the plan.
        due_s: when it is to be sent, by ``time.monotonic``.
        involved: indexes of the users whom it is about.
        device: which device sends it, once that is known.
    """

    act: Act
    number: int
    due_s: float
    involved: frozenset[int]
    device: Device | None = None

    def conflicts(self, other: "Request") -> bool:
        """Whether one decides what the other may do.

        Acts of different groups never do. Those that are meant to race do not either.
        """
        kinds = {self.act.kind, other.act.kind}
        if Kind.CREATE in kinds:
            return True
        if Expects.EITHER in (self.act.expects, other.act.expects):
            return False
        if Kind.DISBAND in kinds:
            return True
        if kinds <= {Kind.SEND, Kind.READ}:
            return False
        return bool(self.involved & other.involved)


class Turns:
    """Lets requests go, in each group in the order in which they are offered.

    A request that must wait for the answer of another one holds back those of its own group that
    come after it, and no others.

    Args:
        launch: sends a request; ``done`` has to be called when it is answered.
    """

    def __init__(self, launch: Callable[[Request], None]) -> None:
        self._launch = launch
        self._running: dict[int, set[Request]] = {}
        self._waiting: dict[int, deque[Request]] = {}

    @property
    def waiting(self) -> int:
        """How many requests wait for others."""
        return sum(map(len, self._waiting.values()))

    def offer(self, request: Request) -> None:
        """Send ``request`` when it may go."""
        group = request.act.group
        queue = self._waiting.get(group)
        if queue or self._is_blocked(request):
            self._waiting.setdefault(group, deque()).append(request)
        else:
            self._go(request)

    def done(self, request: Request) -> None:
        """``request`` was answered, or never will be."""
        group = request.act.group
        self._running[group].discard(request)
        queue = self._waiting.get(group)
        while queue and not self._is_blocked(queue[0]):
            self._go(queue.popleft())
        if queue is not None and not queue:
            del self._waiting[group]

    def blockers(self) -> Iterator[Request]:
        """Those in flight for which others wait."""
        for group in self._waiting:
            yield from tuple(self._running.get(group, ()))

    def forget(self) -> None:
        """Send nothing more of what waits."""
        self._waiting.clear()

    def _is_blocked(self, request: Request) -> bool:
        group = request.act.group
        if group < 0:
            return False
        return any(request.conflicts(other) for other in self._running.get(group, ()))

    def _go(self, request: Request) -> None:
        self._running.setdefault(request.act.group, set()).add(request)
        self._launch(request)
