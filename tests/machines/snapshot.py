"""The law "snapshot + events = snapshot": what a client knows, fetched once and told ever after.

A client of the protocol fetches its state (``client_state``), is told events (``reduced``), and
must then know what it would learn by fetching again (``differences``). Written from
``protocol.md``, ``groups.md`` and the shapes in ``protocol.events``; the server has no part in it.
Events are maps, as they travel.

None means "not told; fetch it": a group that was entered just now is known by its basics only;
custom fields are unknown once one's own role has changed, since who may read them goes by role;
so are the applications of a group whose owner or admin one has just become.
"""

import copy
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from tests.machines.client_state import (
    BASICS,
    QUIET,
    SEAT,
    UNCOUNTED,
    Application,
    Map,
    Room,
    Seat,
    State,
)


def reduced(state: State, events: Iterable[Map]) -> State:
    """What the client knows once it has been told ``events``, in their order."""
    after = copy.deepcopy(state)
    for event in events:
        _RULES[event["kind"], event["event"]](after, event)
    return after


Rule = Callable[[State, Map], None]


def _in_room(rule: Callable[[State, Room, Map], None]) -> Rule:
    """A rule for events of a group that the user is in; a group's log is for members only."""

    def apply(state: State, event: Map) -> None:
        room = state.rooms.get(event["group_id"])
        assert room is not None or event["kind"] == "notice", f"{state.user_id} is told {event}"
        if room is not None:
            _count(state, room, event)
            rule(state, room, event)

    return apply


def _count(state: State, room: Room, event: Map) -> None:
    """A numbered entry of the log is unread, unless it is one's own message or says otherwise."""
    seq = event.get("seq")
    if seq is None:
        return
    if room.last_seq is None:
        is_first = state.user_id in event["data"].get("user_ids", ())
        room.read_seq = seq if is_first else None  # nobody reads of their own arrival
    room.last_seq = seq
    if event["event"] == "message":
        if not event["data"].get("no_last_message"):
            room.last_message_time_ms = event["time_ms"]
        for seat in room.seats(event["from_id"], state.user_id):
            seat.last_message_time_ms = event["time_ms"]
        if event["from_id"] == state.user_id:
            room.read_seq = seq
    if room.type not in UNCOUNTED:
        room.unread = _unread(room, seq, is_quiet=event["data"].get("no_unread", False))


def _unread(room: Room, seq: int, *, is_quiet: bool) -> int | None:
    if room.read_seq is None:
        return None
    return 0 if seq == room.read_seq else (room.unread or 0) + (not is_quiet)


def _enter(state: State, event: Map) -> None:
    data = event["data"]
    if data.get("group") is None:
        return
    is_owner = event["event"] == "group_created"
    role = "owner" if is_owner else data.get("role", "member")
    room = Room(
        **{name: data["group"][name] for name in BASICS},
        me=Seat(role, event["time_ms"], custom=None if event["event"] == "invited" else {}),
        receive_option="AcceptAndNotify",
    )
    if room.type in QUIET:
        room.receive_option = "AcceptNotNotify"
    if room.type in UNCOUNTED:
        room.unread = 0
    if is_owner:
        room.last_seq = room.read_seq = room.unread = room.last_message_time_ms = 0
        room.attributes, room.counters = {}, {}
    state.rooms[event["group_id"]] = room


def _leave(state: State, event: Map) -> None:
    group_id = event["group_id"]
    state.rooms.pop(group_id, None)
    _forget_applications(state, group_id)


def _forget_applications(state: State, group_id: str) -> None:
    """They are for the owner and the admins, but an invitation is the invitee's own."""
    state.unlisted.discard(group_id)
    for name, one in list(state.applications.items()):
        if one.group_id == group_id and one.kind != "invite_needs_invitee":
            del state.applications[name]


def _come(_state: State, room: Room, event: Map) -> None:
    _note_members(room, event["data"])
    for user_id in event["data"]["user_ids"]:
        if room.members is not None:
            room.members[user_id] = Seat("member", event["time_ms"])


def _go(state: State, room: Room, event: Map) -> None:
    for user_id in event["data"]["user_ids"]:
        if room.members is not None:
            room.members.pop(user_id, None)
    _note_members(room, event["data"])
    if "owner_id" in event["data"]:
        _set_owner(state, event["group_id"], room, event["data"]["owner_id"])
        room.last_info_time_ms = event["time_ms"]


def _note_members(room: Room, data: Map) -> None:
    room.member_count, room.version = data["member_count"], data["version"]


def _set_role(state: State, group_id: str, room: Room, user_id: str, role: str) -> None:
    was = room.me.role
    for seat in room.seats(user_id, state.user_id):
        seat.role = role
    if user_id != state.user_id or role == was:
        return
    if role == "member":
        _forget_applications(state, group_id)
    elif was == "member":
        state.unlisted.add(group_id)
    room.custom = room.me.custom = None
    for seat in (room.members or {}).values():
        seat.custom = None


def _set_owner(state: State, group_id: str, room: Room, owner_id: str) -> None:
    if room.owner_id and room.owner_id != owner_id:
        _set_role(state, group_id, room, room.owner_id, "member")
    room.owner_id = owner_id
    if owner_id:
        _set_role(state, group_id, room, owner_id, "owner")


def _owner(state: State, room: Room, event: Map) -> None:
    room.version = event["data"]["version"]
    _set_owner(state, event["group_id"], room, event["data"]["new_owner_id"])


def _role(state: State, room: Room, event: Map) -> None:
    data = event["data"]
    room.version = data["version"]
    _set_role(state, event["group_id"], room, data["user_id"], data["role"])


def _profile(state: State, room: Room, event: Map) -> None:
    data = dict(event["data"])
    if "version" in data:
        room.last_info_time_ms = event["time_ms"]
    if "owner_id" in data:
        _set_owner(state, event["group_id"], room, data.pop("owner_id"))
    for name, value in data.items():
        if name in ("custom", "attributes", "counters"):
            setattr(room, name, _merged(getattr(room, name), value))
        else:
            setattr(room, name, value)


def _merged(values: dict[str, Any] | None, changes: Map) -> dict[str, Any] | None:
    if values is None:
        return None
    return {key: value for key, value in {**values, **changes}.items() if value is not None}


def _member(state: State, room: Room, event: Map) -> None:
    data = event["data"]
    room.version = data["version"]
    for seat in room.seats(data["user_id"], state.user_id):
        seat.custom = _merged(seat.custom, data.get("custom", {}))
        for name in ("name_card", "mute_until_ms"):
            setattr(seat, name, data.get(name, getattr(seat, name)))
    if "role" in data:
        _set_role(state, event["group_id"], room, data["user_id"], data["role"])


def _read(_state: State, room: Room, event: Map) -> None:
    room.read_seq, room.unread = event["data"]["read_seq"], event["data"]["unread"]


def _option(_state: State, room: Room, event: Map) -> None:
    room.receive_option = event["data"]["receive_option"]


def _asked(state: State, event: Map) -> None:
    data = event["data"]
    state.applications[data["application_id"]] = Application(
        kind=data["kind"],
        group_id=event["group_id"],
        user_id=data["user_id"],
        inviter_id=data.get("inviter_id", ""),
        message=data.get("message", ""),
        created_ms=event["time_ms"],
    )


def _handled(state: State, event: Map) -> None:
    data = event["data"]
    one = state.applications.get(data["application_id"])
    if one is None:
        return
    if data["status"] == "dropped":
        del state.applications[data["application_id"]]
        return
    one.status, one.handled_ms = data["status"], event["time_ms"]
    one.handler_id, one.handle_message = data.get("handler_id", ""), data.get("message", "")


def _applications_read(state: State, event: Map) -> None:
    state.seen_ms = max(state.seen_ms, event["data"]["up_to_ms"])


def _nothing(_state: State, _event: Map) -> None:
    """News for a person; nothing that a client keeps."""


_RULES: Final[Mapping[tuple[str, str], Rule]] = {
    **{("notice", n): _enter for n in ("group_created", "invited", "joined", "join_approved")},
    **{("notice", n): _leave for n in ("kicked", "quit", "group_disbanded", "group_recycled")},
    **{("notice", n): _asked for n in ("join_requested", "invite_requested")},
    **{("notice", n): _nothing for n in ("join_rejected", "invite_accepted", "invite_rejected")},
    ("notice", "application_handled"): _handled,
    ("notice", "applications_read"): _applications_read,
    ("notice", "owner_changed"): _in_room(_owner),
    ("notice", "read"): _in_room(_read),
    ("notice", "receive_option_changed"): _in_room(_option),
    **{("notice", n): _in_room(_role) for n in ("admin_granted", "admin_revoked")},
    **{("tip", n): _in_room(_role) for n in ("admin_set", "admin_cancelled")},
    **{(kind, "group_profile_changed"): _in_room(_profile) for kind in ("notice", "tip")},
    **{(kind, "member_profile_changed"): _in_room(_member) for kind in ("notice", "tip")},
    # As notices they are the actor's own copies where the type has no such tip.
    **{
        (kind, n): _in_room(_come)
        for kind in ("notice", "tip")
        for n in ("member_joined", "member_invited")
    },
    **{("tip", n): _in_room(_go) for n in ("member_quit", "member_kicked")},
    ("notice", "member_kicked"): _in_room(_go),
    **{("message", n): _in_room(lambda *_: None) for n in ("message", "message_recalled")},
}
KNOWN_EVENTS: Final = frozenset(_RULES)


# Comparing.


def facts(state: State) -> dict[str, object]:
    """The state as path -> value; a path whose value is None stands for all that is under it."""
    found: dict[str, object] = {"unread_applications": state.unread_applications}
    if state.unlisted:
        found["unread_applications"] = None
    for group_id, room in state.rooms.items():
        at = f"rooms/{group_id}"
        found[at] = "in"
        for name in Room.__struct_fields__:
            if name == "me":
                found |= _seat_facts(f"{at}/me", room.me)
            elif name != "members":
                found[f"{at}/{name}"] = getattr(room, name)
        found[f"{at}/members"] = None if room.members is None else sorted(room.members)
        for user_id, seat in (room.members or {}).items():
            found |= _seat_facts(f"{at}/members/{user_id}", seat)
    for group_id in state.unlisted:
        found[f"applications/{group_id}"] = None
    for name, one in state.applications.items():
        if one.group_id not in state.unlisted:
            found[f"applications/{one.group_id}/{name}"] = one
    return found


def _seat_facts(at: str, seat: Seat) -> dict[str, object]:
    return {f"{at}/{name}": getattr(seat, name) for name in SEAT}


def differences(told: State, fetched: State, exempt: Iterable[str] = ()) -> list[str]:
    """What the client should know by what it was told and does not, but for ``exempt`` paths.

    An exempt path is a pattern of ``fnmatch``, and stands for all that is under it too.
    """
    left, right = facts(told), facts(fetched)
    unknown = [path for path, value in left.items() if value is None]
    patterns = tuple(exempt)
    found = []
    for path in sorted(left.keys() | right.keys()):
        if left.get(path, "-") == right.get(path, "-"):
            continue
        if any(path == at or path.startswith(at + "/") for at in unknown):
            continue
        if any(fnmatchcase(path, p) or fnmatchcase(path, p + "/*") for p in patterns):
            continue
        found.append(f"{path}: told {left.get(path, '-')!r}, fetched {right.get(path, '-')!r}")
    return found
