"""Writes a plan: a seeded conversation with realistic sizes, rates and comings and goings."""

import heapq
from random import Random
from typing import Any, Final

import msgspec

from scripts.loadgen.changes import Changes
from scripts.loadgen.mistakes import mistake
from scripts.loadgen.notebook import Notebook
from scripts.loadgen.people import People
from scripts.loadgen.plan import Kind, Plan, PlannedUser

_FIRST: Final = 0.8
"""This share of the groups is there before the first message."""

# Chances before each burst of messages.
_COMINGS_AND_GOINGS: Final = 0.15
_READ: Final = 0.20
_MISTAKE: Final = 0.05
_BURST: Final = 4
_CHATTING: Final = 20

_AWAY: Final = 0.02
"""How long a device is away, on average, as a share of the load."""

_MOST_AWAY: Final = 0.1
"""This share of the devices is away at a time, on average."""

_ACTIVITY: Final = 1.3
_MOST_ACTIVE: Final = 40.0
"""Nobody is alone as active as forty who write little: a connection's rate has a limit."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What shapes a plan.

    Attributes:
        requests: how many the load is; a few more may come of it.
        rate: how many of them are due in a second, 0 for as fast as the answers come.
        devices: the most that a user has.
        churn: how often a device goes away and comes back.
        slow: how many devices read slowly or stop for a while.
        kills: how often the server is killed; ``restarts`` how often it is ended by SIGTERM.
    """

    seed: int = 1
    users: int = 500
    groups: int = 150
    requests: int = 15_000
    rate: float = 500
    devices: int = 3
    churn: int = 300
    slow: int = 25
    kills: int = 0
    restarts: int = 0


def write_plan(options: Options) -> Plan:
    """The plan of these options: the same every time."""
    return _Writer(options).write()


class _Writer:
    """Keeps the state that the acts written so far lead to."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._random = random = Random(options.seed)
        self._returns: list[tuple[int, int, int]] = []
        users = [_user(random, options) for _ in range(options.users)]
        slow = random.sample(range(options.users), min(options.slow, options.users))
        for index in slow:
            users[index] = msgspec.structs.replace(
                users[index], devices=max(2, users[index].devices), has_slow_device=True
            )
        self._people = People(users, random)
        devices = sum(user.devices for user in users)
        # With much churn each absence is short, so that most devices are there at any time.
        share = min(_AWAY, _MOST_AWAY * devices / max(1, options.churn))
        self._typical_absence = max(1.0, options.requests * share)
        self._notes = Notebook(random, self._people, options.rate)
        self._changes = Changes(random, self._people, self._notes)

    def write(self) -> Plan:
        options, notes = self._options, self._notes
        for _ in range(max(1, int(options.groups * _FIRST))):
            self._changes.found()
        notes.begin_load()
        drops = self._spread(options.churn)
        kills = self._spread(options.kills)
        restarts = self._spread(options.restarts)
        rest = self._spread(options.groups - len(self._changes.planned))
        while notes.requests < options.requests:
            for due, action in (
                (drops, self._drop),
                (kills, self._kill),
                (restarts, self._restart),
                (rest, self._changes.found),
            ):
                while due and due[0] <= notes.requests:
                    heapq.heappop(due)
                    action()
            self._return_the_due()
            before = notes.requests
            self._between()
            self._burst()
            if notes.requests == before and self._returns:
                self._return_next()  # it may be that everybody is away
        return Plan(
            users=list(self._people.users),
            groups=self._changes.planned,
            acts=notes.acts,
            prepared=notes.prepared,
        )

    def _spread(self, count: int) -> list[int]:
        """``count`` places among the requests, in order."""
        most = max(1, self._options.requests)
        return sorted(self._random.randrange(most) for _ in range(max(0, count)))

    # Connections.

    def _drop(self) -> None:
        """A device goes away, to come back after some requests."""
        random = self._random
        user = self._people.one(range(len(self._people.users)))
        device = None if user is None else self._people.device(user)
        if user is None or device is None:
            return
        self._people.drop(user, device)
        away = 1 + int(random.expovariate(1 / self._typical_absence))
        heapq.heappush(self._returns, (self._notes.requests + away, user, device))
        self._notes.add(Kind.DROP, user, device=device, is_polite=random.random() < 0.3)
        if self._people.is_away(user):
            self._changes.leave_rooms(user)

    def _return_the_due(self) -> None:
        while self._returns and self._returns[0][0] <= self._notes.requests:
            self._return_next()

    def _return_next(self) -> None:
        _, user, device = heapq.heappop(self._returns)
        self._people.come_back(user, device)
        self._notes.add(Kind.RETURN, user, device=device)

    def _kill(self) -> None:
        self._end_server(is_polite=False)

    def _restart(self) -> None:
        self._end_server(is_polite=True)

    def _end_server(self, *, is_polite: bool) -> None:
        """The server goes and is started again; everybody comes back to it."""
        self._notes.add(Kind.KILL, is_polite=is_polite)
        self._people.all_come_back()
        self._returns.clear()
        for user in range(len(self._people.users)):
            self._changes.leave_rooms(user)

    # Talking and reading.

    def _between(self) -> None:
        random = self._random
        if random.random() < _COMINGS_AND_GOINGS:
            self._changes.change()
        if random.random() < _READ:
            self._read()
        if random.random() < _MISTAKE:
            self._mistake()

    def _burst(self) -> None:
        """A few people of a group talk for a moment."""
        random, group = self._random, self._changes.any_group()
        speakers = [self._people.one(group.members) for _ in range(random.randint(1, 4))]
        # Where hundreds listen, people do not chat: there it is one announcement, mostly.
        length = _BURST * min(1.0, _CHATTING / len(group.members))
        for _ in range(1 + int(random.expovariate(1 / length))):
            speaker = random.choice(speakers)
            if speaker is not None and self._notes.requests < self._options.requests:
                self._notes.send(group, speaker)

    def _read(self) -> None:
        random, group = self._random, self._changes.any_group()
        user = self._people.one(group.members)
        if user is None or group.is_room:
            return
        choices: tuple[tuple[str, dict[str, Any] | None], ...] = (
            ("list_messages", {}),
            ("list_messages", {"after_seq": random.randrange(20), "limit": 50}),
            ("list_members", {"limit": 30}),
            ("list_joined_groups", None),
            ("list_devices", None),
        )
        method, params = random.choice(choices)
        about = group if params is not None else None
        self._notes.add(Kind.READ, user, about, method, params=dict(params or {}))

    def _mistake(self) -> None:
        group = self._changes.any_group()
        found = mistake(self._random, group, self._people)
        if found is not None:
            self._notes.add(
                found.kind,
                found.user,
                group if found.group >= 0 else None,
                found.method,
                params=found.params,
                targets=found.targets,
                expects=found.expects,
                code=found.code,
            )


def _user(random: Random, options: Options) -> PlannedUser:
    return PlannedUser(
        weight=min(_MOST_ACTIVE, random.paretovariate(_ACTIVITY)),
        devices=random.randint(1, max(1, options.devices)),
        has_slow_device=False,
    )
