"""Events in words."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from protocol.client import Event


class Names:
    """Group and user IDs as a reader of the demo knows them."""

    def __init__(self, users: Mapping[str, str]) -> None:
        self._users = users
        self._groups: dict[str, str] = {}

    def add_group(self, group_id: str, name: str) -> None:
        """From now on the group is called so."""
        self._groups[group_id] = f'"{name}"'

    def group(self, group_id: str) -> str:
        """The group's name in quotes, or its ID."""
        return self._groups.get(group_id, group_id)

    def users(self, user_ids: list[str]) -> str:
        """The users' names."""
        return ", ".join(self._users.get(user_id, user_id) for user_id in user_ids)


def place_of(event: Event) -> str:
    """Where the event stands: in the group's log, in the user's inbox, or nowhere."""
    if event.seq is not None:
        return f"log {event.seq}"
    if event.inbox_seq is not None:
        return f"inbox {event.inbox_seq}"
    return "not stored"


def words_of(event: Event, names: Names) -> str:
    """The event's name and what it says."""
    tell = _WORDS.get(event.event)
    if "group" in event.data:
        names.add_group(event.group_id, event.data["group"]["name"])
    group = names.group(event.group_id)
    text = "" if tell is None else tell(event, names)
    return f"{event.event} {group} {text}".rstrip()


def _by(event: Event, names: Names) -> str:
    return f"by {names.users([event.actor_id])}" if event.actor_id else ""


def _who(event: Event, names: Names) -> str:
    data: dict[str, Any] = event.data
    members = "member" if data["member_count"] == 1 else "members"
    return f"{names.users(data['user_ids'])}; {data['member_count']} {members}"


def _said(event: Event, names: Names) -> str:
    texts = [part["content"].get("text", f"({part['type']})") for part in event.data["body"]]
    return f"{names.users([event.from_id or ''])}: {' '.join(texts)}"


_WORDS: Final[Mapping[str, Callable[[Event, Names], str]]] = {
    "message": _said,
    "invited": _by,
    "kicked": _by,
    "group_disbanded": _by,
    "member_joined": _who,
    "member_invited": _who,
    "member_quit": _who,
    "member_kicked": _who,
}
