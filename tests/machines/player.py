"""Random users: what they ask for next, plausible more often than not.

One player for all machines: it draws from a ``Chooser``, which Hypothesis or a seeded generator
is behind, and knows the groups as their members' clients do.
"""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

import hypothesis.strategies as st
import msgspec

from protocol.methods import METHODS
from tests.machines.client_state import State

T = TypeVar("T")
Params = dict[str, Any]

ADMIN: Final = "administrator"
USERS: Final = ("u0", "u1", "u2", "u3", "u4", "u5")
TYPES: Final = ("Work", "Public", "Meeting", "AVChatRoom", "Community")
GROUP_FIELDS: Final = {
    "topic": {"read": "member", "write": "admin"},
    "open": {"read": "anyone", "write": "member"},
}
MEMBER_FIELDS: Final = {
    "title": {"read": "member", "write": "admin"},
    "mood": {"read": "anyone", "write": "self"},
}
MOST_GROUPS: Final = 7
"""How many groups live at a time, so that much happens in each."""

_BAD_USERS: Final = ("stranger", "", "x" * 33, "na\u00efve", "line\nbreak")
_BAD_TEXTS: Final = ("", "x" * 5000, "bell\a", "right\u202eleft")
_MANY: Final = 2**53 - 1


class Chooser(Protocol):
    """Where chance comes from."""

    def number(self, low: int, high: int) -> int:
        """A number from ``low`` to ``high``."""

    def pick(self, items: Sequence[T]) -> T:
        """One of ``items``."""


class Dice:
    """A seeded generator as a ``Chooser``."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def number(self, low: int, high: int) -> int:
        return self._random.randint(low, high)

    def pick(self, items: Sequence[T]) -> T:
        return self._random.choice(items)


class Drawn:
    """Hypothesis as a ``Chooser``."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data

    def number(self, low: int, high: int) -> int:
        return self._data.draw(st.integers(low, high))

    def pick(self, items: Sequence[T]) -> T:
        return items[self.number(0, len(items) - 1)]


class Act(msgspec.Struct, frozen=True):
    """A request that somebody makes."""

    user_id: str
    method: str
    params: Params


class KnownGroup(msgspec.Struct):
    """A group, as the clients of its members know it together."""

    group_id: str
    type: str
    owner_id: str
    version: int
    last_seq: int
    roles: dict[str, str]
    attributes: list[str]


class Known:
    """All that the players know.

    Attributes:
        ended: groups that were there once.
    """

    def __init__(self) -> None:
        self.groups: dict[str, KnownGroup] = {}
        self.ended: list[str] = []
        self.applications: dict[str, tuple[str, list[str]]] = {}
        """ID -> the group, and who decides."""

    def learn(self, states: Iterable[State]) -> None:
        """Take what the users know now in the place of what was known before."""
        before, self.groups, self.applications = self.groups, {}, {}
        for state in states:
            for group_id, room in state.rooms.items():
                group = self.groups.get(group_id) or KnownGroup(
                    group_id,
                    room.type,
                    room.owner_id,
                    room.version,
                    0,
                    {},
                    sorted(room.attributes or {}),
                )
                self.groups[group_id] = group
                group.last_seq = max(group.last_seq, room.last_seq or 0)
                group.roles |= {user: seat.role for user, seat in (room.members or {}).items()}
            for name, one in state.applications.items():
                deciders = self.applications.setdefault(name, (one.group_id, []))[1]
                deciders.append(state.user_id)
        self.ended += [group_id for group_id in before if group_id not in self.groups]

    def chatrooms(self) -> list[str]:
        """The AVChatRooms: who takes part cannot list them."""
        return [group.group_id for group in self.groups.values() if group.type == "AVChatRoom"]

    def type_of(self, group_id: str) -> str | None:
        """The type of a living group."""
        group = self.groups.get(group_id)
        return None if group is None else group.type


class Player:
    """Thinks of what is done next."""

    def __init__(self, known: Known, chooser: Chooser) -> None:
        self._known = known
        self._chooser = chooser

    def act(self) -> Act:
        """The next request."""
        methods = [method for method, (weight, _) in _MOVES.items() for _ in range(weight)]
        if not self._known.groups:
            methods = ["create_group"]
        method = self._chooser.pick(methods)
        return self.asking(method)

    def asking(self, method: str) -> Act:
        """The next request, which is for ``method``."""
        return self._meddled(_MOVES[method][1](self, method))

    # Chance.

    def chance(self, percent: int) -> bool:
        return self._chooser.number(1, 100) > 100 - percent

    def pick(self, items: Sequence[T]) -> T:
        return self._chooser.pick(items)

    def some(self, items: Sequence[T], most: int) -> list[T]:
        return [self.pick(items) for _ in range(self._chooser.number(1, most))]

    def number(self, low: int, high: int) -> int:
        return self._chooser.number(low, high)

    # What may be named.

    def group(self) -> KnownGroup:
        return self.pick(list(self._known.groups.values()))

    def user(self) -> str:
        return self.pick(_BAD_USERS) if self.chance(4) else self.pick((*USERS, *USERS, ADMIN))

    def member(self, group: KnownGroup) -> str:
        return self.user() if self.chance(15) or not group.roles else self.pick(list(group.roles))

    def ruler(self, group: KnownGroup) -> str:
        """The owner more often than an admin, and an admin more often than anybody else."""
        luck = self.number(1, 10)
        admins = [user for user, role in group.roles.items() if role == "admin"]
        if luck <= 5 and group.owner_id:
            return group.owner_id
        if luck <= 7 and admins:
            return self.pick(admins)
        return ADMIN if luck == 8 else self.actor(group)

    def actor(self, group: KnownGroup) -> str:
        """Somebody who can be connected: a member more often than not."""
        there = [user for user in group.roles if user in USERS]
        return self.pick(there) if there and self.chance(75) else self.pick((*USERS, ADMIN))

    def text(self, words: str) -> str:
        return self.pick(_BAD_TEXTS) if self.chance(4) else f"{words} {self.number(0, 9)}"

    def _meddled(self, act: Act) -> Act:
        """Now and then a group that is none, and the operator in somebody's name."""
        params = dict(act.params)
        if "group_id" in params and act.method != "create_group" and self.chance(3):
            params["group_id"] = self.pick((*self._known.ended, "", "nowhere"))
        if METHODS[act.method].changes and self.chance(30 if act.user_id == ADMIN else 1):
            params["as_user_id"] = self.pick(USERS)
        return Act(act.user_id, act.method, params)

    # Moves.

    def create(self, method: str) -> Act:
        group_type = self.pick(TYPES)
        params: Params = {"type": group_type, "name": self.text("group")}
        if len(self._known.groups) >= MOST_GROUPS:
            params["name"] = ""  # refused: enough is enough
        if self.chance(25):
            prefix = "@TGS#_" if group_type == "Community" else ""
            taken = [*self._known.groups, *self._known.ended, "@TGS#mine", ""]
            chosen = f"{prefix}room-{self.number(0, 99)}"
            params["group_id"] = self.pick(taken) if self.chance(20) else chosen
        if self.chance(20):
            params["apply_join_option"] = self.pick(_APPLY)
        if self.chance(20):
            params["invite_join_option"] = self.pick(_INVITE)
        if self.chance(15):
            params["max_member_count"] = self.pick((1, 2, 3, 4, 5, 100, 10_000))
        if self.chance(15):
            params["custom"] = self.custom(GROUP_FIELDS, may_delete=False)
        if self.chance(60 if group_type != "AVChatRoom" else 5):
            params["members"] = [self._initial(group_type) for _ in range(self.number(1, 4))]
        return Act(self.pick((*USERS, *USERS, ADMIN)), method, params)

    def _initial(self, group_type: str) -> Params:
        initial: Params = {"user_id": self.user()}
        if self.chance(25 if group_type != "Work" else 5):
            initial["role"] = self.pick(("admin", "admin", "member", "owner"))
        if self.chance(15):
            initial["custom"] = self.custom(MEMBER_FIELDS, may_delete=False)
        return initial

    def custom(self, fields: Mapping[str, object], *, may_delete: bool = True) -> Params:
        keys = ["undeclared"] if self.chance(4) else self.some(list(fields), 2)
        return {key: None if may_delete and self.chance(25) else self.text(key) for key in keys}

    def disband(self, method: str) -> Act:
        group = self.group()
        return Act(self.ruler(group), method, {"group_id": group.group_id})

    def transfer(self, method: str) -> Act:
        group = self.group()
        params = {"group_id": group.group_id, "new_owner_id": self.member(group)}
        return Act(self.ruler(group), method, params)

    def update_group(self, method: str) -> Act:
        group = self.group()
        params: Params = {"group_id": group.group_id}
        if self.chance(10):
            params["if_version"] = max(1, group.version - self.pick((0, 0, 1)))
        values: Mapping[str, Callable[[], Any]] = {
            "name": lambda: self.text("name"),
            "introduction": lambda: self.text("introduction"),
            "notification": lambda: self.text("notification"),
            "face_url": lambda: self.text("face"),
            "apply_join_option": lambda: self.pick(_APPLY),
            "invite_join_option": lambda: self.pick(_INVITE),
            "mute_all": lambda: self.pick((True, False, False)),
            "max_member_count": lambda: self.pick((1, 2, 3, 4, 5, 5, 100, 10_000)),
            "custom": lambda: self.custom(GROUP_FIELDS),
        }
        for name in [] if self.chance(4) else self.some(list(values), 3):
            params[name] = values[name]()
        return Act(self.ruler(group), method, params)

    def update_member(self, method: str) -> Act:
        group = self.group()
        values: Mapping[str, Callable[[], Any]] = {
            "role": lambda: self.pick(("admin", "admin", "member", "owner")),
            "name_card": lambda: self.text("card"),
            "mute_s": lambda: self.pick((0, 1, 60, 3600, 2**32 - 1, 2**32)),
            "custom": lambda: self.custom(MEMBER_FIELDS),
            "receive_option": lambda: self.pick(_RECEIVE),
        }
        target = self.member(group)
        names = [] if self.chance(4) else self.some(list(values), 2)
        is_own = self.chance(90 if "receive_option" in names else 15)
        actor = target if is_own and target in USERS else self.ruler(group)
        params = {"group_id": group.group_id, "user_id": target}
        return Act(actor, method, params | {name: values[name]() for name in names})

    def invite(self, method: str) -> Act:
        group = self.group()
        params: Params = {"group_id": group.group_id, "user_ids": self.users()}
        if self.chance(20):
            params["message"] = self.text("come")
        actor = self.pick((ADMIN, self.ruler(group), self.actor(group), self.actor(group)))
        return Act(actor, method, params)

    def users(self) -> list[str]:
        return [] if self.chance(2) else [self.user() for _ in range(self.number(1, 3))]

    def remove(self, method: str) -> Act:
        group = self.group()
        user_ids = [self.member(group) for _ in range(self.pick((1, 1, 2, 3)))]
        params: Params = {"group_id": group.group_id, "user_ids": user_ids}
        if self.chance(20):
            params["reason"] = self.text("go")
        return Act(self.ruler(group), method, params)

    def join(self, method: str) -> Act:
        group = self.group()
        outside = [user for user in USERS if user not in group.roles]
        user_id = self.pick(outside) if outside and self.chance(90) else self.pick((*USERS, ADMIN))
        params: Params = {"group_id": group.group_id}
        if self.chance(20):
            params["message"] = self.text("let me in")
        return Act(user_id, method, params)

    def quit(self, method: str) -> Act:
        group = self.group()
        params: Params = {"group_id": group.group_id}
        if self.chance(25):
            params["successor_id"] = self.member(group)
            return Act(group.owner_id or self.actor(group), method, params)
        return Act(self.actor(group), method, params)

    def handle(self, method: str) -> Act:
        known = self._known.applications
        names = self.some(list(known), 3) if known else ["nothing"]
        if self.chance(4):
            names.append("no-such-application")
        deciders = known[names[0]][1] if names[0] in known else list(USERS)
        params: Params = {"application_ids": names, "accept": self.chance(70)}
        if self.chance(20):
            params["message"] = self.text("so be it")
        return Act(self.pick(deciders) if self.chance(85) else self.pick(_ALL), method, params)

    def read_applications(self, method: str) -> Act:
        times = (0, 1_750_000_000_000, 1_750_000_100_000, _MANY)
        return Act(self.pick(_ALL), method, {"up_to_ms": self.pick(times)})

    def send(self, method: str) -> Act:
        group = self.group()
        body: list[Params] = [{"type": "text", "content": {"text": self.text("hello")}}]
        if self.chance(4):
            body = self.pick(([], body * 17, [{"type": "custom", "content": {"data": "-"}}] * 2))
        params: Params = {"group_id": group.group_id, "body": body}
        if self.chance(10):
            params["online_only"] = True
        if self.chance(10):
            params["at_user_ids"] = self.users()
        return Act(self.actor(group), method, params)

    def recall(self, method: str) -> Act:
        group = self.group()
        seq = max(1, group.last_seq - self.pick((0, 0, 0, 1, 2, 5, -1)))
        params = {"group_id": group.group_id, "seq": seq}
        return Act(self.pick((self.ruler(group), self.actor(group))), method, params)

    def mark_read(self, method: str) -> Act:
        group = self.group()
        seq = max(0, group.last_seq - self.pick((0, 0, 1, 2, 5, -3)))
        return Act(self.actor(group), method, {"group_id": group.group_id, "seq": seq})

    def set_attributes(self, method: str) -> Act:
        group = self.group()
        keys = self.some(("a", "b", "c", "d", "x" * 33) if self.chance(20) else ("a", "b"), 2)
        params: Params = {"group_id": group.group_id}
        params["attributes"] = {key: self.pick(("1", "2", "x" * 4001)) for key in keys}
        if self.chance(10):
            params["if_version"] = max(1, group.version - self.pick((0, 1)))
        return Act(self.ruler(group), method, params)

    def delete_attributes(self, method: str) -> Act:
        group = self.group()
        keys = group.attributes if group.attributes and self.chance(90) else ["a", "nothing"]
        params: Params = {"group_id": group.group_id, "keys": self.some(keys, 2)}
        return Act(self.ruler(group), method, params)

    def add_counters(self, method: str) -> Act:
        group = self.group()
        keys = self.some(("hits", "votes", "c", "d", "") if self.chance(20) else ("hits",), 2)
        deltas = {key: self.pick((1, -1, 0, 10, _MANY)) for key in keys}
        return Act(self.actor(group), method, {"group_id": group.group_id, "deltas": deltas})


_ALL: Final = (*USERS, ADMIN)
_APPLY: Final = ("FreeAccess", "NeedPermission", "DisableApply")
_INVITE: Final = ("FreeAccess", "NeedPermission", "DisableInvite")
_RECEIVE: Final = ("AcceptAndNotify", "AcceptNotNotify", "Discard", "AcceptNotNotifyExceptAt")

_MOVES: Final[Mapping[str, tuple[int, Callable[[Player, str], Act]]]] = {
    "create_group": (6, Player.create),
    "disband_group": (1, Player.disband),
    "transfer_group": (3, Player.transfer),
    "update_group": (8, Player.update_group),
    "update_member": (12, Player.update_member),
    "invite_members": (8, Player.invite),
    "remove_members": (5, Player.remove),
    "join_group": (12, Player.join),
    "quit_group": (6, Player.quit),
    "handle_applications": (8, Player.handle),
    "read_applications": (2, Player.read_applications),
    "send_message": (10, Player.send),
    "recall_message": (4, Player.recall),
    "mark_read": (5, Player.mark_read),
    "set_attributes": (3, Player.set_attributes),
    "delete_attributes": (2, Player.delete_attributes),
    "add_counters": (3, Player.add_counters),
}
"""Every changing method -> how often, and how it is asked for."""

CHANGING: Final = tuple(_MOVES)
assert set(CHANGING) == {name for name, method in METHODS.items() if method.changes}
