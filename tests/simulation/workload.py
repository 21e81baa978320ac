"""What the users ask for, chosen so that most of it makes sense as the groups are by then."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

import msgspec

from protocol.results import ApplicationStatus
from server.domain.model import Application, Group, GroupKey
from server.storage.memory_tables import Tables


class Wish(msgspec.Struct):
    """A request that somebody makes."""

    user_id: str
    method: str
    params: dict[str, Any]


TYPES: Final = ("Work", "Public", "Meeting", "AVChatRoom", "Community")
PREFIX: Final = {
    "Work": "w",
    "Public": "p",
    "Meeting": "m",
    "AVChatRoom": "a",
    "Community": "@TGS#_c",
}
READS: Final = ("list_joined_groups", "list_messages", "get_members", "list_applications")


def is_chatroom(group_id: str) -> bool:
    """Whether it is one of the groups that store no membership."""
    return group_id.startswith(PREFIX["AVChatRoom"])


class Workload:
    """Chooses wishes; it looks at the tables to know who is where."""

    def __init__(self, random: Random, users: Sequence[str], words: int) -> None:
        self.random = random
        self.users = users
        self.owners: dict[str, str] = {}
        """Group -> who asked to create it."""
        self._words = words
        self._number = 0

    def next(self, tables: Tables) -> Wish:
        """A wish."""
        groups = [
            version.row
            for version in tables.rows.values()
            if isinstance(version.row, Group) and not version.row.closed_ms
        ]
        if not groups or (len(groups) < 4 and self.random.random() < 0.12):
            return self._create_group()
        group = self.random.choice(groups)
        members = sorted(tables.members.get(group.group_id, ()))
        [act] = self.random.choices(_ACTS, _WEIGHTS)
        return act(self, tables, group, members)

    def changed(self, wish: Wish) -> Wish:
        """The same for another group, which is as a rule not there."""
        group_id = str(wish.params.get("group_id", "")) + "x"
        self.owners.setdefault(group_id, wish.user_id)
        return Wish(wish.user_id, wish.method, {**wish.params, "group_id": group_id})

    def _anybody(self) -> str:
        return self.random.choice(self.users)

    def _one_of(self, members: Sequence[str]) -> str:
        """One of the members as a rule, and somebody else now and then."""
        return (
            self.random.choice(members)
            if members and self.random.random() < 0.95
            else self._anybody()
        )

    def _boss(self, group: Group, members: Sequence[str]) -> str:
        return group.owner_id or self._one_of(members)

    def _create_group(self) -> Wish:
        self._number += 1
        group_type = self.random.choice(TYPES)
        group_id = f"{PREFIX[group_type]}{self._number}"
        user_id = self._anybody()
        self.owners[group_id] = user_id
        params: dict[str, Any] = {"type": group_type, "group_id": group_id, "name": "-"}
        others = [other for other in self.users if other != user_id]
        if group_type != "AVChatRoom" and self.random.random() < 0.8:
            invited = self.random.sample(others, self.random.randint(0, len(others)))
            params["members"] = [{"user_id": other} for other in invited]
        if group_type == "Public" and self.random.random() < 0.5:
            params["apply_join_option"] = "FreeAccess"
        return Wish(user_id, "create_group", params)

    def _send(self, _tables: Tables, group: Group, members: Sequence[str]) -> Wish:
        self._number += 1
        long = self.random.random() < 0.2
        text = f"t{self._number} " + "x" * (self._words if long else self.random.randint(0, 20))
        params: dict[str, Any] = {
            "group_id": group.group_id,
            "body": [{"type": "text", "content": {"text": text}}],
        }
        if self.random.random() < 0.05:
            params["online_only"] = True
        sender = self._anybody() if is_chatroom(group.group_id) else self._one_of(members)
        return Wish(sender, "send_message", params)

    def _invite(self, _tables: Tables, group: Group, members: Sequence[str]) -> Wish:
        params = {"group_id": group.group_id, "user_ids": [self._anybody()]}
        return Wish(self._one_of(members), "invite_members", params)

    def _join(self, _tables: Tables, group: Group, members: Sequence[str]) -> Wish:
        outside = [user for user in self.users if user not in members] or list(self.users)
        return Wish(self.random.choice(outside), "join_group", {"group_id": group.group_id})

    def _handle(self, tables: Tables, group: Group, members: Sequence[str]) -> Wish:
        waiting = [
            version.row
            for version in tables.rows.values()
            if isinstance(version.row, Application)
            and version.row.status is ApplicationStatus.PENDING
        ]
        if not waiting:
            return self._join(tables, group, members)
        application = self.random.choice(waiting)
        row = tables.rows.get(GroupKey(application.group_id))
        boss = row.row.owner_id if row is not None and isinstance(row.row, Group) else ""
        accept = self.random.random() < 0.7
        params = {"application_ids": [application.application_id], "accept": accept}
        return Wish(boss or self._anybody(), "handle_applications", params)

    def _kick(self, _tables: Tables, group: Group, members: Sequence[str]) -> Wish:
        params = {"group_id": group.group_id, "user_ids": [self._one_of(members)]}
        return Wish(self._boss(group, members), "remove_members", params)

    def _quit(self, _tables: Tables, group: Group, members: Sequence[str]) -> Wish:
        return Wish(self._one_of(members), "quit_group", {"group_id": group.group_id})

    def _mute(self, _tables: Tables, group: Group, members: Sequence[str]) -> Wish:
        params = {
            "group_id": group.group_id,
            "user_id": self._one_of(members),
            "mute_s": self.random.choice([0, 2, 1000]),
        }
        return Wish(self._boss(group, members), "update_member", params)

    def _appoint(self, _tables: Tables, group: Group, members: Sequence[str]) -> Wish:
        role = self.random.choice(["admin", "member"])
        params = {"group_id": group.group_id, "user_id": self._one_of(members), "role": role}
        return Wish(self._boss(group, members), "update_member", params)

    def _choose(self, _tables: Tables, group: Group, members: Sequence[str]) -> Wish:
        user_id = self._one_of(members)
        option = self.random.choice(["Discard", "Discard", "AcceptAndNotify", "AcceptNotNotify"])
        params = {"group_id": group.group_id, "user_id": user_id, "receive_option": option}
        return Wish(user_id, "update_member", params)

    def _rename(self, _tables: Tables, group: Group, members: Sequence[str]) -> Wish:
        self._number += 1
        params: dict[str, Any] = {"group_id": group.group_id, "name": f"n{self._number}"}
        if self.random.random() < 0.2:
            params = {"group_id": group.group_id, "mute_all": self.random.random() < 0.3}
        return Wish(self._boss(group, members), "update_group", params)

    def _transfer(self, _tables: Tables, group: Group, members: Sequence[str]) -> Wish:
        params = {"group_id": group.group_id, "new_owner_id": self._one_of(members)}
        return Wish(self._boss(group, members), "transfer_group", params)

    def _disband(self, _tables: Tables, group: Group, members: Sequence[str]) -> Wish:
        return Wish(self._boss(group, members), "disband_group", {"group_id": group.group_id})

    def _recall(self, tables: Tables, group: Group, members: Sequence[str]) -> Wish:
        seq = self.random.randint(1, max(1, tables.head(group.group_id).seq))
        params = {"group_id": group.group_id, "seq": seq}
        return Wish(self._boss(group, members), "recall_message", params)

    def _mark_read(self, tables: Tables, group: Group, members: Sequence[str]) -> Wish:
        seq = self.random.randint(0, tables.head(group.group_id).seq)
        params = {"group_id": group.group_id, "seq": seq}
        return Wish(self._one_of(members), "mark_read", params)

    def _read(self, _tables: Tables, group: Group, members: Sequence[str]) -> Wish:
        method = self.random.choice(READS)
        params: dict[str, Any] = {}
        if method in ("list_messages", "get_members"):
            params["group_id"] = group.group_id
        if method == "get_members":
            params["user_ids"] = [self._anybody()]
        return Wish(self._one_of(members), method, params)


Act = Callable[[Workload, Tables, Group, Sequence[str]], Wish]

_TABLE: Final[Sequence[tuple[Act, float]]] = (
    (Workload._send, 11),
    (Workload._invite, 3),
    (Workload._join, 4),
    (Workload._handle, 2),
    (Workload._kick, 2),
    (Workload._quit, 1.5),
    (Workload._mute, 0.7),
    (Workload._appoint, 0.7),
    (Workload._choose, 2),
    (Workload._rename, 1),
    (Workload._transfer, 0.7),
    (Workload._disband, 0.7),
    (Workload._recall, 0.7),
    (Workload._mark_read, 1.5),
    (Workload._read, 1),
)
_ACTS: Final = [act for act, _ in _TABLE]
_WEIGHTS: Final = [weight for _, weight in _TABLE]
