"""What a client knows of its groups, and how it fetches that: pages of plain requests.

None means "not told; fetch it": see ``snapshot``. Results are maps, as they travel.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

Map = Mapping[str, Any]
Ask = Callable[[str, dict[str, Any]], Awaitable[Map | None]]
"""Asks a method as the user whose state it is; None when it is refused."""

BASICS: Final = ("type", "name", "face_url", "owner_id", "version", "member_count", "mute_all")
PROFILE: Final = (
    *("introduction", "notification", "apply_join_option", "invite_join_option"),
    *("max_member_count", "last_info_time_ms", "custom", "attributes"),
)
SEAT: Final = (
    *("role", "join_time_ms", "name_card", "mute_until_ms", "custom", "last_message_time_ms"),
)
UNCOUNTED: Final = ("Meeting", "AVChatRoom")
"""``groups.md`` section 2, row "unread counts"."""
QUIET: Final = ("Meeting", "AVChatRoom")
"""``groups.md`` section 2, row "default receive option": AcceptNotNotify."""


class Seat(msgspec.Struct):
    """A member. Of others, the read position and the receive option are nobody's business."""

    role: str
    join_time_ms: int | None
    name_card: str | None = ""
    mute_until_ms: int | None = 0
    custom: dict[str, str] | None = {}
    last_message_time_ms: int | None = 0


class Room(msgspec.Struct, kw_only=True):
    """A group that the user is in."""

    type: str
    name: str
    face_url: str
    owner_id: str
    version: int
    member_count: int
    mute_all: bool
    me: Seat
    receive_option: str
    introduction: str | None = None
    notification: str | None = None
    apply_join_option: str | None = None
    invite_join_option: str | None = None
    max_member_count: int | None = None
    last_info_time_ms: int | None = None
    custom: dict[str, str] | None = None
    attributes: dict[str, str] | None = None
    counters: dict[str, int] | None = None
    members: dict[str, Seat] | None = None
    last_seq: int | None = None
    read_seq: int | None = None
    unread: int | None = None
    last_message_time_ms: int | None = None

    def seats(self, user_id: str, me: str) -> Iterator[Seat]:
        """Every place where the user is noted."""
        if user_id == me:
            yield self.me
        if self.members is not None and user_id in self.members:
            yield self.members[user_id]


class Application(msgspec.Struct, kw_only=True):
    """Something that waits for the user, or did."""

    kind: str
    group_id: str
    user_id: str
    inviter_id: str
    message: str
    created_ms: int
    status: str = "pending"
    handler_id: str = ""
    handled_ms: int = 0
    handle_message: str = ""


class State(msgspec.Struct):
    """What a client knows. ``unlisted`` groups have applications that it has not fetched."""

    user_id: str
    rooms: dict[str, Room] = {}
    applications: dict[str, Application] = {}
    seen_ms: int = 0
    unlisted: set[str] = set()

    @property
    def unread_applications(self) -> int:
        waiting = [one for one in self.applications.values() if one.status == "pending"]
        return sum(one.created_ms > self.seen_ms for one in waiting)


async def fetch(ask: Ask, user_id: str, chatrooms: Iterable[str] = ()) -> State:
    """The user's state, read page by page; of ``chatrooms`` (AVChatRooms) those it takes part in."""
    state = State(user_id)
    async for row in _pages(ask, "list_joined_groups", "groups", limit=3):
        state.rooms[row["group_id"]] = _joined_room(row)
    taken_part = [group_id for group_id in chatrooms if group_id not in state.rooms]
    for group_id in (*state.rooms, *taken_part):
        await _fetch_room(ask, state, group_id)
    unread = 0
    async for row in _pages(ask, "list_applications", "applications", limit=2):
        shown = {name: row[name] for name in Application.__struct_fields__}
        state.applications[row["application_id"]] = Application(**shown)
        unread = row["_page"]["unread"]
    waiting = [one.created_ms for one in state.applications.values() if one.status == "pending"]
    # The newest ones are those that the user has not seen.
    state.seen_ms = max(sorted(waiting)[: len(waiting) - unread], default=0)
    assert state.unread_applications == unread, "unread are the newest"
    return state


async def _pages(
    ask: Ask, method: str, items: str, **params: object
) -> AsyncIterator[dict[str, Any]]:
    after: str | None = None
    while True:
        page = await ask(method, params | ({} if after is None else {"after": after}))
        if page is None:
            return
        for row in page.get(items, []):
            yield {**row, "_page": page}
        after = page.get("next")
        if after is None:
            return


def _seat(row: Map) -> Seat:
    return Seat(**{name: row[name] for name in SEAT})


def _joined_room(row: Map) -> Room:
    return Room(
        **{name: row[name] for name in BASICS},
        me=_seat(row["self"]),
        receive_option=row["self"]["receive_option"],
        read_seq=row["self"]["read_seq"],
        **{name: row[name] for name in ("last_seq", "unread", "last_message_time_ms")},
    )


async def _fetch_room(ask: Ask, state: State, group_id: str) -> None:
    members = [row async for row in _pages(ask, "list_members", "members", group_id=group_id)]
    own = next((row for row in members if row["user_id"] == state.user_id), None)
    room = state.rooms.get(group_id)
    if room is None and own is None:
        return
    found = await ask("get_groups", {"group_ids": [group_id]})
    assert found is not None
    profile = found["groups"][0]["group"]
    if room is None:
        room = state.rooms[group_id] = _joined_room(
            {**profile, "self": own, "last_seq": profile["next_seq"] - 1, "unread": 0}
        )
    for name in PROFILE:
        setattr(room, name, profile[name])
    room.members = {row["user_id"]: _seat(row) for row in members}
    counters = await ask("get_counters", {"group_id": group_id})
    assert counters is not None
    room.counters = dict(counters.get("counters", {}))
    for name in (*BASICS, "last_message_time_ms"):
        assert getattr(room, name) == profile[name], f"{name} of {group_id} in list and profile"
    assert profile["next_seq"] - 1 == room.last_seq
