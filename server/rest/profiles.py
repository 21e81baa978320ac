"""Commands that look groups up: their profiles with members, and the groups of a user."""

from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType

from protocol.commands import GetGroups
from protocol.dialect import ROLE_WORDS
from protocol.results import GroupProfile
from protocol.vocabulary import GroupType, Role
from server.rest.codes import CallCode, CallRefused
from server.rest.member_info import Member, member_of
from server.rest.registry import Call
from server.rest.shapes import (
    Account,
    Answer,
    AppData,
    Body,
    Flag,
    GroupId,
    Natural,
    Request,
    Switch,
    app_data,
    filtered,
    seconds,
    switched,
    until_seconds,
)
from server.rest.words import type_of, type_word
from server.service.ports import JoinedRow


class Profile(Body, frozen=True, kw_only=True):
    """A group's fields, as far as the filter asks for them. Times in Unix seconds."""

    group_id: GroupId
    type: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    introduction: str | UnsetType = UNSET
    notification: str | UnsetType = UNSET
    face_url: str | UnsetType = UNSET
    owner__account: str | UnsetType = UNSET
    create_time: int | UnsetType = UNSET
    info_seq: int | UnsetType = UNSET
    last_info_time: int | UnsetType = UNSET
    last_msg_time: int | UnsetType = UNSET
    next_msg_seq: int | UnsetType = UNSET
    member_num: int | UnsetType = UNSET
    max_member_num: int | UnsetType = UNSET
    apply_join_option: str | UnsetType = UNSET
    invite_join_option: str | UnsetType = UNSET
    mute_all_member: Switch | UnsetType = UNSET
    shut_up_all_member: Switch | UnsetType = UNSET


_WITHOUT_FILTER = frozenset({"ShutUpAllMember"})
"""Older names that are answered only to who asks for them."""


def profile_fields(profile: dict[str, Any], names: list[str] | None) -> dict[str, Any]:
    """Those of our values, by field, that a filter of wire names lets through."""
    fields = {
        "type": type_word(profile["type"]),
        "name": profile["name"],
        "introduction": profile["introduction"],
        "notification": profile["notification"],
        "face_url": profile["face_url"],
        "owner__account": profile["owner_id"],
        "create_time": seconds(profile["create_time_ms"]),
        "info_seq": profile["version"],
        "last_info_time": seconds(profile["last_info_time_ms"]),
        "last_msg_time": seconds(profile["last_message_time_ms"]),
        "next_msg_seq": profile["next_seq"],
        "member_num": profile["member_count"],
        "max_member_num": profile["max_member_count"],
        "apply_join_option": str(profile["apply_join_option"]),
        "invite_join_option": str(profile["invite_join_option"]),
        "mute_all_member": switched(profile["mute_all"]),
        "shut_up_all_member": switched(profile["mute_all"]),
    }
    return filtered(fields, names, _WITHOUT_FILTER)


class GroupFilter(Body, frozen=True, kw_only=True):
    """Which fields are answered; all of a kind whose filter is not given."""

    group_base_info_filter: list[str] | None = None
    member_info_filter: list[str] | None = None
    app_defined_data_filter__group: list[str] | None = None
    app_defined_data_filter__group_member: list[str] | None = None


class GetGroupInfo(Request, frozen=True, kw_only=True):
    """Profiles of groups, each with its own ErrorCode; with members if MemberInfoFilter is given."""

    group_id_list: Annotated[list[GroupId], Meta(min_length=1, max_length=50)]
    response_filter: GroupFilter = GroupFilter()


class GroupInfo(Profile, frozen=True, kw_only=True):
    """One group, or why it is not shown."""

    error_code: int = 0
    error_info: str = ""
    app_defined_data: AppData | UnsetType = UNSET
    member_list: list[Member] | UnsetType = UNSET


class GroupInfos(Answer, frozen=True, kw_only=True):
    """In the order of the request."""

    group_info: list[GroupInfo]


async def get_group_info(call: Call, request: GetGroupInfo) -> GroupInfos:
    """See ``GetGroupInfo``."""
    result = await call.operator.ask(GetGroups(group_ids=request.group_id_list), call.origin)
    if request.response_filter.member_info_filter is not None:
        _check_size(call, [found.group for found in result.groups if found.group is not None])
    infos = []
    for found in result.groups:
        if found.group is None:
            info = GroupInfo(
                group_id=found.group_id,
                error_code=found.error.code,
                error_info=found.error.message,
            )
        else:
            info = await _info(call, found.group, request.response_filter)
        infos.append(info)
    return GroupInfos(group_info=infos)


def _check_size(call: Call, groups: Sequence[GroupProfile]) -> None:
    """Refuse to look up more members than an answer could hold.

    Raises:
        CallRefused: ANSWER_TOO_LARGE.
    """
    shown = sum(min(group.member_count, _MOST_MEMBERS) for group in groups)
    if shown * _MEMBER_BYTES > call.operator.rulebook.limits["REST_ANSWER_BYTES"]:
        raise CallRefused.of(CallCode.ANSWER_TOO_LARGE)


async def _info(call: Call, profile: GroupProfile, chosen: GroupFilter) -> GroupInfo:
    members: list[Member] | UnsetType = UNSET
    if chosen.member_info_filter is not None:
        states = await call.operator.lists.members(profile.group_id, set(Role), 0, _MOST_MEMBERS)
        members = [
            member_of(
                call,
                state,
                chosen.member_info_filter,
                chosen.app_defined_data_filter__group_member,
            )
            for state in states
        ]
    values = {name: getattr(profile, name) for name in profile.__struct_fields__}
    return GroupInfo(
        group_id=profile.group_id,
        app_defined_data=app_data(profile.custom, chosen.app_defined_data_filter__group),
        member_list=members,
        **profile_fields(values, chosen.group_base_info_filter),
    )


_MOST_MEMBERS = 6_000
"""How many members get_group_info shows of a group; get_group_member_info has pages."""
_MEMBER_BYTES = len('{"Member_Account":"a","AppMemberDefinedData":[]},')
"""The least that one of them takes."""


class JoinedFilter(Body, frozen=True, kw_only=True):
    """Which fields are answered beside the ID; none of a kind whose filter is not given."""

    group_base_info_filter: list[str] | None = None
    self_info_filter: list[str] | None = None


class GetJoined(Request, frozen=True, kw_only=True):
    """The groups of a user in the order of joining; AVChatRooms only with WithHugeGroups.

    Those that the user owns, and after all others those in which the user takes part now.
    """

    member__account: Account
    with_huge_groups: Flag = 0
    with_no_active_groups: Flag = 0
    limit: Annotated[int, Meta(ge=1, le=5_000)] = 5_000
    offset: Natural = 0
    group_type: str | None = None
    response_filter: JoinedFilter = JoinedFilter()
    support_topic: Flag = 0


class SelfInfo(Body, frozen=True, kw_only=True):
    """The user's own membership, as far as the filter asks for it."""

    role: str | UnsetType = UNSET
    join_time: int | UnsetType = UNSET
    msg_flag: str | UnsetType = UNSET
    msg_seq: int | UnsetType = UNSET
    mute_until: int | UnsetType = UNSET
    shut_up_until: int | UnsetType = UNSET


class JoinedGroup(Profile, frozen=True, kw_only=True):
    """One of the user's groups."""

    self_info: SelfInfo | UnsetType = UNSET


class JoinedGroups(Answer, frozen=True, kw_only=True):
    """A page, and how many groups there are in all."""

    total_count: int
    group_id_list: list[JoinedGroup]


async def get_joined_group_list(call: Call, request: GetJoined) -> JoinedGroups:
    """See ``GetJoined``."""
    group_type = type_of(request.group_type, "GroupType") if request.group_type else None
    lists, user_id = call.operator.lists, request.member__account
    rows = list(await lists.joined(user_id, group_type))
    if request.with_huge_groups:
        rows += await lists.participations(user_id, group_type)
    else:
        rows = [row for row in rows if row.group.type is not GroupType.AVCHATROOM]
    page = rows[request.offset : request.offset + request.limit]
    return JoinedGroups(
        total_count=len(rows),
        group_id_list=[_joined(call, row, request.response_filter) for row in page],
    )


def _joined(call: Call, row: JoinedRow, chosen: JoinedFilter) -> JoinedGroup:
    values: dict[str, Any] = {
        name: getattr(row.group, name) for name in row.group.__struct_fields__
    }
    if not call.operator.rulebook.traits[row.group.type].stores_members:
        presence = call.operator.lists.presence
        values["member_count"] = presence.participant_count(row.group.group_id)
    values["next_seq"] = row.head.seq + 1
    values["last_message_time_ms"] = row.head.last_message_time_ms
    own: SelfInfo | UnsetType = UNSET
    if chosen.self_info_filter is not None:
        member = row.state.member
        until = until_seconds(member.mute_until_ms, call.operator.clock.now_ms())
        fields: dict[str, Any] = {
            "role": ROLE_WORDS[member.role],
            "join_time": seconds(member.join_time_ms),
            "msg_flag": str(member.receive_option),
            "msg_seq": row.state.read_seq,
            "mute_until": until,
            "shut_up_until": until,
        }
        own = SelfInfo(**filtered(fields, chosen.self_info_filter))
    return JoinedGroup(
        group_id=row.group.group_id,
        self_info=own,
        **profile_fields(values, chosen.group_base_info_filter or []),
    )
