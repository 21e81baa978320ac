"""Writes a plan: a seeded conversation with realistic sizes, rates and comings and goings."""

import heapq
from collections.abc import Callable
from random import Random
from typing import Any, Final

import msgspec

from protocol.errors import ErrorCode
from protocol.vocabulary import GroupType
from scripts.loadgen.bodies import body
from scripts.loadgen.mistakes import mistake
from scripts.loadgen.people import Group, People, heavy_tailed_size
from scripts.loadgen.plan import Act, Expects, Kind, Plan, PlannedGroup, PlannedUser

_TYPES: Final = (
    GroupType.COMMUNITY,
    GroupType.WORK,
    GroupType.PUBLIC,
    GroupType.MEETING,
    GroupType.AVCHATROOM,
    GroupType.WORK,
    GroupType.PUBLIC,
    GroupType.WORK,
    GroupType.MEETING,
    GroupType.COMMUNITY,
)
"""In turn; half are small teams, as they are everywhere."""

_INITIAL: Final = 100
_ADMINS: Final = 2
_ADMIN: Final = 2
"""The rank of an admin."""
_FIRST: Final = 0.8
"""This share of the groups is there before the first message."""

# Chances before each burst of messages.
_COMINGS_AND_GOINGS: Final = 0.10
_READ: Final = 0.06
_MISTAKE: Final = 0.05
_BURST: Final = 4
_ONLINE_ONLY: Final = 0.01
_REPEATED: Final = 0.02
_MENTION: Final = 0.03
_RACE: Final = 0.5


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What shapes a plan; ``devices`` is the most that a user has."""

    seed: int = 1
    users: int = 200
    groups: int = 50
    messages: int = 10_000
    devices: int = 2
    churn: int = 200
    slow: int = 10
    kills: int = 0


def write_plan(options: Options) -> Plan:
    """The plan of these options: the same every time."""
    return _Writer(options).write()


class _Writer:
    """Keeps the state that the acts written so far lead to."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._random = random = Random(options.seed)
        self._acts: list[Act] = []
        self._marks = 0
        self._stored = 0
        self._returns: list[tuple[int, int, int]] = []
        users = [_user(random, options) for _ in range(options.users)]
        slow = random.sample(range(options.users), min(options.slow, options.users))
        for index in slow:
            users[index] = msgspec.structs.replace(
                users[index], devices=max(2, users[index].devices), has_slow_device=True
            )
        self._people = People(users, random)
        self._planned: list[PlannedGroup] = []
        self._groups: list[Group] = []
        self._changes: tuple[Callable[[Group], None], ...] = (
            self._join,
            self._join,
            self._invite,
            self._invite,
            self._kick,
            self._quit,
            self._mute,
            self._disband,
        )

    def write(self) -> Plan:
        options = self._options
        for _ in range(max(1, int(options.groups * _FIRST))):
            self._found()
        drops = _spread(self._random, options.churn, options.messages)
        kills = _spread(self._random, options.kills, options.messages)
        founded = len(self._planned)
        rest = _spread(self._random, options.groups - founded, options.messages)
        while self._stored < options.messages:
            for due, action in ((drops, self._drop), (kills, self._kill), (rest, self._found)):
                while due and due[0] <= self._stored:
                    heapq.heappop(due)
                    action()
            self._return_the_due()
            self._between()
            self._burst()
        return Plan(users=list(self._people.users), groups=self._planned, acts=self._acts)

    # Groups.

    def _found(self) -> None:
        """A new group with its first members."""
        random, index = self._random, len(self._planned)
        planned = PlannedGroup(type=_TYPES[index % len(_TYPES)], chosen_id=random.random() < 0.5)
        owner = self._people.one(range(len(self._people.users)))
        if owner is None:
            return
        users = len(self._people.users)
        # The first is a big one, whatever the dice say.
        size = max(2, int(users * 0.6)) if index == 0 else heavy_tailed_size(random, users)
        group = Group(index, planned, owner, size, size**0.7 * random.lognormvariate(0, 0.7))
        self._planned.append(planned)
        self._groups.append(group)
        group.is_open = True
        others = self._people.outsiders(group, size - 1)
        initial = [] if group.is_room else others[:_INITIAL]
        if not group.is_room and group.type is not GroupType.WORK:
            group.admins.update(initial[:_ADMINS])
        group.members.extend(initial)
        self._add(
            Kind.CREATE,
            owner,
            group,
            "create_group",
            targets=tuple(initial),
            params=self._profile(group, initial),
        )
        for user in others[len(initial) :]:
            self._bring_in(group, user)

    def _profile(self, group: Group, initial: list[int]) -> dict[str, Any]:
        params: dict[str, Any] = {"type": group.type.value, "name": f"Group {group.index}"}
        if group.type is GroupType.PUBLIC:
            params["apply_join_option"] = "FreeAccess"
            if self._random.random() < 0.5:
                params["invite_join_option"] = "FreeAccess"
                group.members_invite = True
        if initial:
            roles = {True: "admin", False: "member"}
            params["members"] = [
                {"user_id": user, "role": roles[user in group.admins]} for user in initial
            ]
        return params

    def _bring_in(self, group: Group, user: int) -> None:
        """One more member in the way that the type has."""
        actor = self._people.one(group.members)
        if group.members_invite and actor is not None:
            group.members.append(user)
            self._add(
                Kind.INVITE,
                actor,
                group,
                "invite_members",
                targets=(user,),
                params={"user_ids": [user], "message": "come in"},
            )
        elif group.anyone_joins and self._people.active(user):
            group.members.append(user)
            self._add(Kind.JOIN, user, group, "join_group")

    # Comings and goings.

    def _between(self) -> None:
        random = self._random
        if random.random() < _COMINGS_AND_GOINGS:
            random.choice(self._changes)(self._any_group())
        if random.random() < _READ:
            self._read()
        if random.random() < _MISTAKE:
            self._mistake()

    def _join(self, group: Group) -> None:
        for user in self._people.outsiders(group, 1):
            if group.anyone_joins and self._people.active(user):
                group.members.append(user)
                self._add(Kind.JOIN, user, group, "join_group")

    def _invite(self, group: Group) -> None:
        actor = self._people.one(group.members)
        if not group.members_invite or actor is None:
            return
        users = self._people.outsiders(group, self._random.randint(1, 4))
        # One who is in already is answered already_member, and nobody is told.
        extra = [self._random.choice(group.members)] if self._random.random() < 0.2 else []
        if users:
            group.members.extend(users)
            named = [*users, *extra]
            self._add(
                Kind.INVITE,
                actor,
                group,
                "invite_members",
                targets=tuple(named),
                params={"user_ids": named},
            )

    def _kick(self, group: Group) -> None:
        least = 3 if group.type is GroupType.WORK else 2
        actor = self._people.one([user for user in group.members if group.rank(user) >= least])
        if group.is_room or actor is None:
            return
        lower = [user for user in group.members if group.rank(user) < group.rank(actor)]
        if len(lower) < 2:
            return
        target = self._random.choice(lower)
        is_race = self._random.random() < _RACE and bool(self._people.active(target))
        if is_race:
            self._send(group, target, Expects.EITHER)
        group.leave(target)
        self._add(
            Kind.KICK,
            actor,
            group,
            "remove_members",
            targets=(target,),
            params={"user_ids": [target], "reason": "enough"},
        )
        if is_race:
            self._send(group, target, Expects.EITHER)

    def _quit(self, group: Group) -> None:
        may_all = group.type is GroupType.WORK
        user = self._people.one([user for user in group.members if may_all or user != group.owner])
        if user is not None and len(group.members) > 2:
            group.leave(user)
            self._add(Kind.QUIT, user, group, "quit_group")

    def _mute(self, group: Group) -> None:
        """Somebody is silenced, tries to speak, and is let speak again."""
        random, people = self._random, self._people
        actor = people.one([user for user in group.members if group.rank(user) >= _ADMIN])
        if group.is_room or group.type is GroupType.WORK or actor is None:
            return
        lower = [user for user in group.members if group.rank(user) < group.rank(actor)]
        target = random.choice(lower) if lower else None
        if target is None or not people.active(target):
            return

        def update(mute_s: int) -> None:
            self._add(
                Kind.MUTE,
                actor,
                group,
                "update_member",
                targets=(target,),
                params={"user_id": target, "mute_s": mute_s},
            )

        update(random.randint(3_600, 86_400))
        self._add(
            Kind.WRONG,
            target,
            group,
            "send_message",
            params={"body": body(random)},
            expects=Expects.REFUSED,
            code=ErrorCode.MUTED,
        )
        update(0)

    def _disband(self, group: Group) -> None:
        """Rarely, and another group is founded instead."""
        owner = group.owner
        is_possible = group.type is not GroupType.WORK and owner is not None
        if self._random.random() < 0.25 and is_possible and owner is not None and group.index:
            if not self._people.active(owner):
                return
            group.is_open = False
            self._add(Kind.DISBAND, owner, group, "disband_group", targets=tuple(group.members))
            self._found()

    # Connections.

    def _drop(self) -> None:
        """A device goes away, to come back after some messages."""
        random = self._random
        user = self._people.one(range(len(self._people.users)))
        device = None if user is None else self._people.device(user)
        if user is None or device is None:
            return
        self._people.drop(user, device)
        away = 1 + int(random.expovariate(1 / max(1, self._options.messages * 0.02)))
        heapq.heappush(self._returns, (self._stored + away, user, device))
        self._acts.append(
            Act(kind=Kind.DROP, user=user, device=device, is_polite=random.random() < 0.3)
        )
        if self._people.is_away(user):
            self._leave_rooms(user)

    def _return_the_due(self) -> None:
        while self._returns and self._returns[0][0] <= self._stored:
            _, user, device = heapq.heappop(self._returns)
            self._people.come_back(user, device)
            self._acts.append(Act(kind=Kind.RETURN, user=user, device=device))

    def _kill(self) -> None:
        """The server dies and is started again; everybody comes back to it."""
        self._acts.append(Act(kind=Kind.KILL))
        self._people.all_come_back()
        self._returns.clear()
        for user in range(len(self._people.users)):
            self._leave_rooms(user)

    def _leave_rooms(self, user: int) -> None:
        """A dropped connection leaves what stores no membership, unless it is the owner's."""
        for group in self._groups:
            if group.is_room and user in group.members and user != group.owner:
                group.leave(user)

    # Talking and reading.

    def _any_group(self) -> Group:
        living = [group for group in self._groups if group.is_open]
        return self._random.choices(living, [group.weight for group in living])[0]

    def _burst(self) -> None:
        """A few people of a group talk for a moment."""
        random, group = self._random, self._any_group()
        speakers = [self._people.one(group.members) for _ in range(random.randint(1, 4))]
        for _ in range(1 + int(random.expovariate(1 / _BURST))):
            speaker = random.choice(speakers)
            if speaker is not None and self._stored < self._options.messages:
                self._send(group, speaker, Expects.DONE)

    def _send(self, group: Group, user: int, expects: Expects) -> None:
        random = self._random
        self._marks += 1
        params: dict[str, Any] = {"body": body(random), "custom_data": str(self._marks)}
        if random.random() < _MENTION:
            params["at_user_ids"] = [random.choice(group.members)]
        is_stored = not group.is_room
        if is_stored and expects is Expects.DONE and random.random() < _ONLINE_ONLY:
            params["online_only"] = True
            is_stored = False
        self._stored += is_stored and expects is Expects.DONE
        self._add(
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

    def _read(self) -> None:
        random, group = self._random, self._any_group()
        user = self._people.one(group.members)
        if user is None or group.is_room:
            return
        method, params = random.choice(
            (
                ("list_messages", {}),
                ("list_messages", {"after_seq": random.randrange(20), "limit": 50}),
                ("list_members", {"limit": 30}),
                ("list_joined_groups", None),
                ("list_devices", None),
            )
        )
        about = group if params is not None else None
        self._add(Kind.READ, user, about, method, params=dict(params or {}))

    def _mistake(self) -> None:
        group = self._any_group()
        found = mistake(self._random, group, self._people)
        if found is not None:
            device = self._people.device(found.user)
            assert device is not None  # who makes a mistake is connected
            self._acts.append(msgspec.structs.replace(found, device=device))

    def _add(
        self,
        kind: Kind,
        user: int,
        group: Group | None,
        method: str,
        **more: Any,  # noqa: ANN401 - fields of Act, which mypy checks where they are read
    ) -> None:
        device = self._people.device(user)
        assert device is not None  # actors are chosen among those who can act
        index = -1 if group is None else group.index
        self._acts.append(
            Act(kind=kind, user=user, device=device, group=index, method=method, **more)
        )


def _user(random: Random, options: Options) -> PlannedUser:
    return PlannedUser(
        weight=random.paretovariate(1.3),
        devices=random.randint(1, max(1, options.devices)),
        has_slow_device=False,
    )


def _spread(random: Random, count: int, messages: int) -> list[int]:
    """``count`` places among the messages, in order."""
    return sorted(random.randrange(max(1, messages)) for _ in range(max(0, count)))
