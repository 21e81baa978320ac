"""What changes groups in a plan: founding and disbanding, coming and going, mutes, transfers."""

from collections.abc import Callable
from random import Random
from typing import Any, Final

from protocol.errors import ErrorCode
from protocol.vocabulary import GroupType
from scripts.loadgen.bodies import body
from scripts.loadgen.notebook import Notebook
from scripts.loadgen.people import Group, People, heavy_tailed_size
from scripts.loadgen.plan import Expects, Kind, PlannedGroup

_TYPES: Final = (
    GroupType.COMMUNITY,
    GroupType.AVCHATROOM,
    GroupType.WORK,
    GroupType.PUBLIC,
    GroupType.MEETING,
    GroupType.WORK,
    GroupType.PUBLIC,
    GroupType.WORK,
    GroupType.MEETING,
    GroupType.COMMUNITY,
)
"""In turn; half are small teams, as they are everywhere. The first two hold everybody."""

_OF_ALL: Final = 2
_NEW: Final = 20
"""Members of a group that is founded while the load goes on: it would be all load otherwise."""
_INITIAL: Final = 100
_PER_INVITATION: Final = 100
_ADMINS: Final = 2
_ADMIN: Final = 2
"""The rank of an admin."""
_RACE: Final = 0.5
_HEAT: Final = 1.2
_MOST_HEAT: Final = 200.0
"""Times its members; in groups of hundreds that leaves what is usual."""
_SIZE_MATTERS: Final = 0.3
"""A group of a thousand is four times as busy as one of ten, not a hundred times."""
_DISBAND: Final = 0.25


class Changes:
    """Writes changes of groups into a notebook, and keeps the state that they lead to.

    Attributes:
        planned: every group that was ever founded; ``groups`` is the state of each.
    """

    def __init__(self, random: Random, people: People, notes: Notebook) -> None:
        self._random = random
        self._people = people
        self._notes = notes
        self.planned: list[PlannedGroup] = []
        self.groups: list[Group] = []
        self._kinds: tuple[Callable[[Group], None], ...] = (
            self._join,
            self._join,
            self._invite,
            self._invite,
            self._kick,
            self._quit,
            self._mute,
            self._transfer,
            self._disband,
        )

    def any_group(self) -> Group:
        """A group that exists, the more active ones more often."""
        living = [group for group in self.groups if group.is_open]
        return self._random.choices(living, [group.weight for group in living])[0]

    def change(self) -> None:
        """Have something happen to some group, if it is possible there."""
        self._random.choice(self._kinds)(self.any_group())

    def leave_rooms(self, user: int) -> None:
        """A dropped connection leaves what stores no membership, unless it is the owner's."""
        for group in self.groups:
            if group.is_room and user in group.members and user != group.owner:
                group.leave(user)

    # Beginnings.

    def found(self) -> None:
        """A new group with its first members."""
        random, people, index = self._random, self._people, len(self.planned)
        planned = PlannedGroup(type=_TYPES[index % len(_TYPES)], chosen_id=random.random() < 0.5)
        owner = people.one(range(len(people.users)))
        if owner is None:
            return
        users = len(people.users)
        size = users if index < _OF_ALL else heavy_tailed_size(random, users)
        if self._notes.is_load:
            size = min(size, _NEW)
        # A few groups are hot. They are small: nobody could follow a hot one of hundreds.
        heat = min(max(1.0, _MOST_HEAT / size), random.lognormvariate(0, _HEAT))
        group = Group(index, planned, owner, size, size**_SIZE_MATTERS * heat)
        self.planned.append(planned)
        self.groups.append(group)
        group.is_open = True
        others = people.outsiders(group, size - 1)
        initial = [] if group.is_room else others[:_INITIAL]
        if not group.is_room and group.type is not GroupType.WORK:
            group.admins.update(initial[:_ADMINS])
        group.enter(*initial)
        self._notes.add(
            Kind.CREATE,
            owner,
            group,
            "create_group",
            targets=tuple(initial),
            params=self._profile(group, initial),
        )
        self._bring_in(group, others[len(initial) :])

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

    def _bring_in(self, group: Group, users: list[int]) -> None:
        """More members in the way that the type has."""
        for start in range(0, len(users), _PER_INVITATION):
            some = users[start : start + _PER_INVITATION]
            actor = self._people.one(group.members)
            if group.members_invite and actor is not None:
                group.enter(*some)
                self._notes.add(
                    Kind.INVITE,
                    actor,
                    group,
                    "invite_members",
                    targets=tuple(some),
                    params={"user_ids": some, "message": "come in"},
                )
                continue
            for user in some:
                self._let_join(group, user)

    # Comings and goings.

    def _let_join(self, group: Group, user: int) -> None:
        if group.anyone_joins and self._people.active(user):
            group.enter(user)
            self._notes.add(Kind.JOIN, user, group, "join_group")

    def _join(self, group: Group) -> None:
        for user in self._people.outsiders(group, 1):
            self._let_join(group, user)

    def _invite(self, group: Group) -> None:
        actor = self._people.one(group.members)
        if not group.members_invite or actor is None:
            return
        users = self._people.outsiders(group, self._random.randint(1, 4))
        # One who is in already is answered already_member, and nobody is told.
        extra = [self._random.choice(group.members)] if self._random.random() < 0.2 else []
        if users:
            group.enter(*users)
            named = [*users, *extra]
            self._notes.add(
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
            self._notes.send(group, target, Expects.EITHER)
        group.leave(target)
        self._notes.add(
            Kind.KICK,
            actor,
            group,
            "remove_members",
            targets=(target,),
            params={"user_ids": [target], "reason": "enough"},
        )
        if is_race:
            self._notes.send(group, target, Expects.EITHER)

    def _quit(self, group: Group) -> None:
        may_all = group.type is GroupType.WORK
        user = self._people.one([user for user in group.members if may_all or user != group.owner])
        if user is not None and len(group.members) > 2:
            group.leave(user)
            self._notes.add(Kind.QUIT, user, group, "quit_group")

    # Ranks, voices, ends.

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
            self._notes.add(
                Kind.MUTE,
                actor,
                group,
                "update_member",
                targets=(target,),
                params={"user_id": target, "mute_s": mute_s},
            )

        update(random.randint(3_600, 86_400))
        self._notes.add(
            Kind.WRONG,
            target,
            group,
            "send_message",
            params={"body": body(random)},
            expects=Expects.REFUSED,
            code=ErrorCode.MUTED,
        )
        update(0)

    def _transfer(self, group: Group) -> None:
        """The owner hands the group to another member, and is an ordinary member then."""
        owner = group.owner
        heirs = [user for user in group.members if user != owner]
        if group.is_room or owner is None or not heirs or not self._people.active(owner):
            return
        heir = self._random.choice(heirs)
        group.hand_to(heir)
        self._notes.add(
            Kind.TRANSFER,
            owner,
            group,
            "transfer_group",
            targets=(heir,),
            params={"new_owner_id": heir},
        )

    def _disband(self, group: Group) -> None:
        """Rarely, and another group is founded instead. Those of everybody stay."""
        owner = group.owner
        if self._random.random() >= _DISBAND or group.index < _OF_ALL:
            return
        if group.type is GroupType.WORK or owner is None or not self._people.active(owner):
            return
        group.is_open = False
        self._notes.add(Kind.DISBAND, owner, group, "disband_group", targets=tuple(group.members))
        self.found()
