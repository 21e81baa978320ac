"""What ``groups.md`` does not promise to announce, so that a client may not know it.

Every row names its line. Nothing else is exempt: above all not the acting user, whose own devices
hear of every change (section 2, last paragraph), and not the one whom a change is about.
"""

from collections.abc import Mapping
from typing import Any, Final

from tests.machines.client_state import State

MEMBERSHIP: Final = (
    *("join_group", "invite_members", "remove_members", "quit_group", "handle_applications"),
)
CONNECTION: Final = "connection"
"""Stands for a method where a device comes or goes."""
OPTIONS: Final = ("apply_join_option", "invite_join_option", "mute_all")


def of_command(
    method: str, params: Mapping[str, Any], types: Mapping[str, str], *, is_actor: bool
) -> set[str]:
    """Paths that a user may not hear of when this command is done; ``types`` of the groups."""
    exempt: set[str] = set()
    for group_id, group_type in types.items():
        at = f"rooms/{group_id}"
        if not is_actor and method == "update_group" and any(o in params for o in OPTIONS):
            # Section 2, "tips on mute-all and join options": no, in no type.
            exempt |= {f"{at}/{name}" for name in (*OPTIONS, "version", "last_info_time_ms")}
        if not is_actor and group_type == "Meeting" and method in MEMBERSHIP:
            # Section 2, "tips on join, invite, kick, quit": Meeting no.
            exempt |= {f"{at}/members", f"{at}/member_count", f"{at}/version"}
        if not is_actor and group_type in ("Meeting", "AVChatRoom") and method == "update_member":
            # Section 2, "tips on mute, admin set or cancelled": Meeting and AVChatRoom no.
            exempt |= {f"{at}/version", f"{at}/members/*/mute_until_ms", f"{at}/members/*/role"}
        if group_type == "AVChatRoom" and method == CONNECTION:
            # Section 1, "list members": an online count, in which the owner comes and goes unsaid.
            exempt.add(f"{at}/member_count")
        if group_type == "AVChatRoom":
            # Section 1, "list members": of an AVChatRoom the newest only, and no profiles.
            exempt |= {f"{at}/members/*/mute_until_ms"}
    if method == "disband_group":
        # Section 5, "disbanded": everyone who was a member; an invitee is none yet.
        exempt |= {f"applications/{group_id}" for group_id in types} | {"unread_applications"}
    return exempt


def of_discards(*states: State) -> set[str]:
    """Section 4: ``Discard`` stops messages from being pushed, so what follows from them is not known."""
    names = ("last_seq", "unread", "read_seq", "last_message_time_ms")
    rooms = {
        group_id
        for state in states
        for group_id, room in state.rooms.items()
        if room.receive_option == "Discard"
    }
    own = {f"rooms/{group_id}/{name}" for group_id in rooms for name in names}
    times = {
        f"rooms/{group_id}/{who}/last_message_time_ms"
        for group_id in rooms
        for who in ("me", "members/*")
    }
    return own | times


def of_absence(*states: State) -> set[str]:
    """What is pushed and not stored passes by those who are not connected.

    Section 2: of an AVChatRoom everything; one also leaves it by disconnecting. The values of
    counters are told to those who are connected (section 2 does not list them at all).
    """
    rooms = {
        group_id
        for state in states
        for group_id, room in state.rooms.items()
        if room.type == "AVChatRoom"
    }
    return {f"rooms/{group_id}" for group_id in rooms} | {"rooms/*/counters"}
