"""The law "snapshot + events = snapshot", one operation after the other, in every type of group.

Everybody is there: the owner with two devices, an admin, a member, somebody outside, the operator,
and a member who is away meanwhile and resumes. ``Stage`` holds each of them to the law after every
command; what is exempt, and by which line of ``groups.md``, is in ``exemptions``.
"""

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from protocol.methods import METHODS
from tests.machines.player import ADMIN, TYPES, Act
from tests.machines.stage import Stage

OWNER, DEPUTY, MEMBER, OUTSIDER, AWAY, GUEST = "u0", "u1", "u2", "u3", "u4", "u5"

Step = tuple[str, str, dict[str, Any]]
"""Who, method, params; the group is added where the method names one."""

ALL: Final = frozenset(TYPES)
STORED: Final = ALL - {"AVChatRoom"}
WITH_ADMINS: Final = STORED - {"Work"}
JOINABLE: Final = ALL - {"Work"}

_TEXT: Final = {"body": [{"type": "text", "content": {"text": "hello"}}]}
_SAY: Final[Step] = (MEMBER, "send_message", _TEXT)
_MUTE: Final[Step] = (OWNER, "update_member", {"user_id": MEMBER, "mute_s": 60})
_ASK_FIRST: Final[Step] = (OWNER, "update_group", {"apply_join_option": "NeedPermission"})
_ASK: Final[Step] = (OUTSIDER, "join_group", {"message": "let me in"})
_LET_INVITE: Final[Step] = (OWNER, "update_group", {"invite_join_option": "FreeAccess"})
_ASK_TO_INVITE: Final[Step] = (OWNER, "update_group", {"invite_join_option": "NeedPermission"})
_OPEN: Final[Step] = (OWNER, "update_group", {"apply_join_option": "FreeAccess"})
_INVITE: Final[Step] = (MEMBER, "invite_members", {"user_ids": [OUTSIDER, GUEST]})
_PROMOTE: Final[Step] = (OWNER, "update_member", {"user_id": MEMBER, "role": "admin"})
_HANDLE: Final = "handle_applications"
_ATTRIBUTES: Final[Step] = (OWNER, "set_attributes", {"attributes": {"a": "1", "b": "2"}})


def _option(name: str) -> Step:
    return (MEMBER, "update_member", {"user_id": MEMBER, "receive_option": name})


def _profile(**changes: object) -> list[Step]:
    return [(OWNER, "update_group", changes)]


def _decide(user_id: str, *, accept: bool) -> Step:
    return (user_id, _HANDLE, {"application_ids": [], "accept": accept})


CASES: Final[dict[str, tuple[frozenset[str], list[Step]]]] = {
    "create": (ALL, []),
    "disband": (ALL - {"Work"}, [(OWNER, "disband_group", {})]),
    "disband by the operator": (ALL, [(ADMIN, "disband_group", {})]),
    "disband with applications": (JOINABLE, [_ASK_FIRST, _ASK, (OWNER, "disband_group", {})]),
    "transfer": (STORED, [(OWNER, "transfer_group", {"new_owner_id": MEMBER})]),
    "transfer by the operator": (STORED, [(ADMIN, "transfer_group", {"new_owner_id": MEMBER})]),
    "transfer to who is away": (STORED, [(OWNER, "transfer_group", {"new_owner_id": AWAY})]),
    "transfer to an admin": (WITH_ADMINS, [(OWNER, "transfer_group", {"new_owner_id": DEPUTY})]),
    "name": (ALL, _profile(name="new")),
    "introduction": (ALL, _profile(introduction="new")),
    "notification": (ALL, _profile(notification="new")),
    "face": (ALL, _profile(face_url="new")),
    "apply option": (JOINABLE, _profile(apply_join_option="DisableApply")),
    "invite option": (STORED, _profile(invite_join_option="NeedPermission")),
    "mute all": (ALL, _profile(mute_all=True)),
    "most members": (ALL, _profile(max_member_count=5)),
    "group field": (ALL, [*_profile(custom={"topic": "-"}), *_profile(custom={"topic": None})]),
    "several at once": (ALL, _profile(name="new", mute_all=True, custom={"open": "-"})),
    "nothing": (ALL, _profile()),
    "appoint": (WITH_ADMINS, [_PROMOTE]),
    "appoint with applications": (WITH_ADMINS, [_ASK_FIRST, _ASK, _PROMOTE]),
    "dismiss": (
        WITH_ADMINS,
        [_ASK_FIRST, _ASK, (OWNER, "update_member", {"user_id": DEPUTY, "role": "member"})],
    ),
    "mute": (JOINABLE, [_MUTE]),
    "unmute": (JOINABLE, [_MUTE, (OWNER, "update_member", {"user_id": MEMBER, "mute_s": 0})]),
    "own name card": (STORED, [(MEMBER, "update_member", {"user_id": MEMBER, "name_card": "M"})]),
    "another's name card": (
        STORED,
        [(OWNER, "update_member", {"user_id": MEMBER, "name_card": "M"})],
    ),
    "member field": (
        STORED,
        [(OWNER, "update_member", {"user_id": MEMBER, "custom": {"title": "-"}})],
    ),
    "all of a member": (
        WITH_ADMINS,
        [
            (
                OWNER,
                "update_member",
                {"user_id": MEMBER, "role": "admin", "name_card": "M", "mute_s": 60},
            )
        ],
    ),
    "receive option": (ALL, [_option("AcceptNotNotifyExceptAt")]),
    "discard": (ALL, [_option("Discard"), (OWNER, "send_message", _TEXT), _SAY]),
    "discard no more": (
        ALL,
        [_option("Discard"), _option("AcceptAndNotify"), (OWNER, "send_message", _TEXT)],
    ),
    "discard, quit and join": (
        JOINABLE,
        [
            _OPEN,
            _option("Discard"),
            (MEMBER, "quit_group", {}),
            (MEMBER, "join_group", {}),
            (OWNER, "send_message", _TEXT),
        ],
    ),
    "invite": (STORED, [_LET_INVITE, _INVITE]),
    "invite by the operator": (STORED, [(ADMIN, "invite_members", {"user_ids": [OUTSIDER]})]),
    "invite by approval": (STORED, [_ASK_TO_INVITE, _INVITE, _decide(OWNER, accept=True)]),
    "invite, not approved": (STORED, [_ASK_TO_INVITE, _INVITE, _decide(OWNER, accept=False)]),
    "join": (JOINABLE, [_OPEN, _ASK]),
    "join again": (JOINABLE, [_OPEN, _ASK, _SAY, (OUTSIDER, "quit_group", {}), _SAY, _ASK]),
    "apply": (JOINABLE, [_ASK_FIRST, _ASK]),
    "apply again": (JOINABLE, [_ASK_FIRST, _ASK, (OUTSIDER, "join_group", {})]),
    "apply until the list is full": (
        WITH_ADMINS,
        [
            _ASK_FIRST,
            (MEMBER, "quit_group", {}),
            (MEMBER, "join_group", {}),
            (OUTSIDER, "join_group", {}),
            (GUEST, "join_group", {}),
            (ADMIN, "join_group", {}),
        ],
    ),
    "approve": (JOINABLE, [_ASK_FIRST, _ASK, _decide(OWNER, accept=True)]),
    "approve by the operator": (JOINABLE, [_ASK_FIRST, _ASK, _decide(ADMIN, accept=True)]),
    "reject": (JOINABLE, [_ASK_FIRST, _ASK, _decide(OWNER, accept=False)]),
    "reject and approve": (
        JOINABLE,
        [_ASK_FIRST, _ASK, _decide(OWNER, accept=False), _ASK, _decide(OWNER, accept=True)],
    ),
    "read applications": (
        JOINABLE,
        [_ASK_FIRST, _ASK, (OWNER, "read_applications", {"up_to_ms": 2**53 - 1})],
    ),
    "apply after they were read": (
        JOINABLE,
        [_ASK_FIRST, (OWNER, "read_applications", {"up_to_ms": 2**53 - 1}), _ASK],
    ),
    "remove": (STORED, [(OWNER, "remove_members", {"user_ids": [MEMBER, OUTSIDER]})]),
    "remove who is away": (STORED, [(OWNER, "remove_members", {"user_ids": [AWAY]})]),
    "remove the owner": (STORED, [(ADMIN, "remove_members", {"user_ids": [OWNER]})]),
    "quit": (ALL, [(MEMBER, "quit_group", {})]),
    "quit as owner": (frozenset({"Work"}), [(OWNER, "quit_group", {})]),
    "quit with a successor": (STORED, [(OWNER, "quit_group", {"successor_id": MEMBER})]),
    "come back muted": (
        WITH_ADMINS,
        [_OPEN, _MUTE, (MEMBER, "quit_group", {}), (MEMBER, "join_group", {})],
    ),
    "send": (ALL, [_SAY, (OWNER, "send_message", _TEXT)]),
    "send to who is online": (ALL, [(MEMBER, "send_message", _TEXT | {"online_only": True})]),
    "send by the operator": (ALL, [(ADMIN, "send_message", _TEXT)]),
    "recall": (STORED, [_SAY, (MEMBER, "recall_message", {"seq": -1})]),
    "recall another's": (STORED, [_SAY, (OWNER, "recall_message", {"seq": -1})]),
    "read": (STORED, [_SAY, _SAY, (OWNER, "mark_read", {"seq": -1})]),
    "read half": (STORED, [_SAY, _SAY, _SAY, (OWNER, "mark_read", {"seq": -2})]),
    "set attributes": (ALL, [_ATTRIBUTES]),
    "delete attributes": (ALL, [_ATTRIBUTES, (OWNER, "delete_attributes", {"keys": ["a"]})]),
    "counters": (ALL, [(MEMBER, "add_counters", {"deltas": {"hits": 1, "votes": -2}})]),
}


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage(invitee_consent=False)
    await made.open()
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("group_type", "name"),
    [(kind, name) for name, (types, _) in CASES.items() for kind in TYPES if kind in types],
)
async def test_law(stage: Stage, group_type: str, name: str) -> None:
    group_id = await _begin(stage, group_type)
    for step in CASES[name][1]:
        await _do(stage, group_id, step)
    await stage.come(AWAY)
    await stage.read_history()


@pytest.mark.parametrize("group_type", TYPES)
async def test_law_of_what_does_not_count(stage: Stage, group_type: str) -> None:
    group_id = await _begin(stage, group_type)
    await _do(stage, group_id, _SAY)
    await stage.whisper(group_id, no_unread=True)
    await stage.whisper(group_id, no_last_message=True)
    await _do(stage, group_id, _SAY)
    if group_type in STORED:
        for back in (-4, -3, -2):
            await _do(stage, group_id, (OWNER, "mark_read", {"seq": back}))
    await stage.whisper(group_id, no_unread=True, no_last_message=True)
    await stage.come(AWAY)
    await stage.read_history()


@pytest.mark.parametrize("accept", [True, False])
@pytest.mark.parametrize("option", ["FreeAccess", "NeedPermission"])
async def test_law_with_consent(option: str, accept: bool) -> None:
    """An invitee decides too (``invitee_consent``), after an admin where one has to agree."""
    stage = Stage(invitee_consent=True)
    await stage.open()
    try:
        group_id = await _begin(stage, "Community")
        await _do(stage, group_id, (OWNER, "update_group", {"invite_join_option": option}))
        await _do(stage, group_id, (MEMBER, "invite_members", {"user_ids": [OUTSIDER]}))
        if option == "NeedPermission":
            await _do(stage, group_id, _decide(DEPUTY, accept=True))
        await _do(stage, group_id, _decide(OUTSIDER, accept=accept))
        await stage.come(AWAY)
        assert (OUTSIDER in stage.known.groups[group_id].roles) == accept
    finally:
        await stage.close()


def test_every_operation_has_a_case() -> None:
    steps = [step for _, case in CASES.values() for step in case]
    methods = {"create_group", *(method for _, method, _ in steps)}
    assert methods == {name for name, method in METHODS.items() if method.changes}


async def _begin(stage: Stage, group_type: str) -> str:
    group_id = "@TGS#_crew" if group_type == "Community" else "crew"
    for user_id in (OWNER, DEPUTY, MEMBER, OUTSIDER, AWAY, GUEST, ADMIN):
        await stage.come(user_id)
    await stage.come(OWNER, "d2")
    params: dict[str, Any] = {"type": group_type, "name": "crew", "group_id": group_id}
    members = [{"user_id": user_id} for user_id in (MEMBER, AWAY)]
    if group_type != "AVChatRoom":
        params["members"] = members
    if group_type in WITH_ADMINS:
        params["members"] = [{"user_id": DEPUTY, "role": "admin"}, *members]
    await _do(stage, group_id, (OWNER, "create_group", params))
    if group_type == "AVChatRoom":
        await _do(stage, group_id, (MEMBER, "join_group", {}))
        await _do(stage, group_id, (AWAY, "join_group", {}))
    await stage.go(AWAY, "d1")
    return group_id


async def _do(stage: Stage, group_id: str, step: Step) -> None:
    """The step is done; a number below 0 is one from the end of the group's log."""
    user_id, method, given = step
    params = dict(given)
    if "group_id" in METHODS[method].command.__struct_fields__:
        params["group_id"] = group_id
    if method == _HANDLE:
        params["application_ids"] = list(stage.known.applications)
    if params.get("seq", 0) < 0:
        params["seq"] += stage.known.groups[group_id].last_seq + 1
    (reply,) = await stage.play([Act(user_id, method, params)])
    assert reply.error is None, f"{step}: {reply.error}"
    if method == _HANDLE:
        results = reply.result["applications"]
        assert any(one["result"] != "failed" for one in results), results
