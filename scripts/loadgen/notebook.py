"""Where a plan's acts are written down, each with the time when it is due."""

from random import Random
from typing import Any, Final

from scripts.loadgen.bodies import body
from scripts.loadgen.people import Group, People
from scripts.loadgen.plan import REQUESTS, Act, Expects, Kind

_ONLINE_ONLY: Final = 0.01
_REPEATED: Final = 0.02
_MENTION: Final = 0.03


class Notebook:
    """Acts in their order. Requests that prepare are not due; those after ``begin_load`` are.

    Args:
        rate: requests per second. Between two of them pass exponentially distributed times, as
            between calls of many people who know nothing of each other. 0: nothing is ever due.

    Attributes:
        acts: all so far.
        is_load: whether the load has begun.
        requests: how many of the acts are requests of the load.
        prepared: how many acts there were when the load began.
    """

    def __init__(self, random: Random, people: People, rate: float) -> None:
        self._random = random
        self._people = people
        self._rate = rate
        self._due_s: float | None = None
        self.is_load = False
        self._marks = 0
        self.acts: list[Act] = []
        self.requests = 0
        self.prepared = 0

    def begin_load(self) -> None:
        """What is added from now on is the load."""
        self.is_load = True
        self._due_s = 0.0 if self._rate else None
        self.prepared = len(self.acts)

    def add(
        self,
        kind: Kind,
        user: int = 0,
        group: Group | None = None,
        method: str = "",
        *,
        device: int | None = None,
        **more: Any,  # noqa: ANN401 - fields of Act, which mypy checks where they are read
    ) -> None:
        """Write down an act of ``user``, by ``device`` or one that is connected."""
        if kind in REQUESTS:
            self._count_request()
        if device is None:
            device = self._people.device(user) if kind in REQUESTS else 0
        assert device is not None  # actors are chosen among those who can act
        self.acts.append(
            Act(
                kind=kind,
                user=user,
                device=device,
                group=-1 if group is None else group.index,
                method=method,
                due_s=self._due_s,
                **more,
            )
        )

    def send(self, group: Group, user: int, expects: Expects = Expects.DONE) -> None:
        """Write down a message of ``user`` to ``group``."""
        random = self._random
        self._marks += 1
        params: dict[str, Any] = {"body": body(random), "custom_data": str(self._marks)}
        if random.random() < _MENTION:
            params["at_user_ids"] = [random.choice(group.members)]
        is_stored = not group.is_room
        if is_stored and expects is Expects.DONE and random.random() < _ONLINE_ONLY:
            params["online_only"] = True
            is_stored = False
        self.add(
            Kind.SEND,
            user,
            group,
            "send_message",
            params=params,
            expects=expects,
            mark=self._marks,
            is_stored=is_stored,
            is_repeated=expects is Expects.DONE and random.random() < _REPEATED,
        )

    def _count_request(self) -> None:
        if not self.is_load:
            return
        self.requests += 1
        if self._due_s is not None:
            self._due_s += self._random.expovariate(self._rate)
