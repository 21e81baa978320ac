"""Commands about members: bring in, remove, mute, change, look up."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from protocol.dialect import ROLE_WORDS, RoleWord
from protocol.results import MemberResultKind
from protocol.vocabulary import ReceiveOption
from server.domain.jobs import AddMembers, AdjustMember, ExpelMembers
from server.domain.model import Group
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
    GroupRequest,
    Natural,
    Uint32,
    changes_of,
    first_given,
)
from server.rest.words import ROLES, roles_of


class MemberName(Body, frozen=True, kw_only=True):
    """A user in a list."""

    member__account: Account


class AddGroupMember(GroupRequest, frozen=True, kw_only=True):
    """Bring users into a group; with Silence nobody is told but the operator."""

    member_list: Annotated[list[MemberName], Meta(min_length=1, max_length=300)]
    silence: Flag = 0


class AddResult(Body, frozen=True, kw_only=True):
    """What became of one user: 0 failed, 1 added, 2 a member already, 3 waits for consent."""

    member__account: Account
    result: Annotated[int, Meta(ge=0, le=3)]


class AddResults(Answer, frozen=True, kw_only=True):
    """In the order of the request."""

    member_list: list[AddResult]


RESULT_NUMBERS = {
    MemberResultKind.FAILED: 0,
    MemberResultKind.ADDED: 1,
    MemberResultKind.ALREADY_MEMBER: 2,
    MemberResultKind.PENDING: 3,
}


async def add_group_member(call: Call, request: AddGroupMember) -> AddResults:
    """See ``AddGroupMember``."""
    command = AddMembers(
        group_id=request.group_id,
        user_ids=[member.member__account for member in request.member_list],
        is_silent=bool(request.silence),
    )
    result = await call.operator.change(command, call.origin)
    return AddResults(
        member_list=[
            AddResult(member__account=row.user_id, result=RESULT_NUMBERS[row.result])
            for row in result.members
        ]
    )


class DeleteGroupMember(GroupRequest, frozen=True, kw_only=True):
    """Remove members; with Silence nobody is told but they and the operator."""

    member_to_del__account: Annotated[list[Account], Meta(min_length=1, max_length=100)]
    reason: str = ""
    silence: Flag = 0


async def delete_group_member(call: Call, request: DeleteGroupMember) -> Answer:
    """See ``DeleteGroupMember``; who is no member is no error."""
    command = ExpelMembers(
        group_id=request.group_id,
        user_ids=request.member_to_del__account,
        reason=request.reason,
        is_silent=bool(request.silence),
    )
    await call.operator.change(command, call.origin)
    return Answer()


class GetRoles(GroupRequest, frozen=True, kw_only=True):
    """The roles of users in a group."""

    user__account: Annotated[list[Account], Meta(min_length=1, max_length=500)]


class UserRole(Body, frozen=True, kw_only=True):
    """One user's role."""

    member__account: Account
    role: Literal["Owner", "Admin", "Member", "NotMember"]


class UserRoles(Answer, frozen=True, kw_only=True):
    """In the order of the request."""

    user_id_list: list[UserRole]


async def get_role_in_group(call: Call, request: GetRoles) -> UserRoles:
    """See ``GetRoles``."""
    await _stored(call, request.group_id)
    states = await call.operator.lists.member_states(request.group_id, request.user__account)
    return UserRoles(
        user_id_list=[
            UserRole(
                member__account=user_id,
                role=ROLE_WORDS[states[user_id].member.role] if user_id in states else "NotMember",
            )
            for user_id in request.user__account
        ]
    )


class GetMemberInfo(GroupRequest, frozen=True, kw_only=True):
    """A group's members by user ID, page by page: by Offset, or by Next, "" for the first page."""

    member_info_filter: list[str] | None = None
    member_role_filter: list[RoleWord] | None = None
    app_defined_data_filter__group_member: list[str] | None = None
    limit: Annotated[int, Meta(ge=1, le=6_000)] = 100
    offset: Natural = 0
    next: str | None = None


class MemberInfos(Answer, frozen=True, kw_only=True):
    """A page, and how many members the group has; Next is there when more come by Next."""

    member_num: int
    member_list: list[Member]
    next: str | UnsetType = UNSET


async def get_group_member_info(call: Call, request: GetMemberInfo) -> MemberInfos:
    """See ``GetMemberInfo``."""
    lists = call.operator.lists
    group = await _stored(call, request.group_id)
    roles = roles_of(request.member_role_filter)
    by_next = request.next is not None
    if by_next:
        states = await lists.members_after(group.group_id, roles, request.next or "", request.limit)
    else:
        # There is nothing to look for behind the last member.
        most = min(request.limit, max(0, group.member_count - request.offset))
        states = await lists.members(group.group_id, roles, request.offset, most)
    more = by_next and len(states) == request.limit
    return MemberInfos(
        member_num=group.member_count,
        member_list=[
            member_of(
                call,
                state,
                request.member_info_filter,
                request.app_defined_data_filter__group_member,
            )
            for state in states
        ],
        next=(states[-1].member.user_id if more else "") if by_next else UNSET,
    )


class GetSpecifiedMembers(GroupRequest, frozen=True, kw_only=True):
    """The profiles of those of the users who are members and have one of the roles."""

    member__list__account: Annotated[list[Account], Meta(min_length=1, max_length=50)]
    member_info_filter: list[str] | None = None
    member_role_filter: list[RoleWord] | None = None
    app_defined_data_filter__group_member: list[str] | None = None


class SpecifiedMembers(Answer, frozen=True, kw_only=True):
    """In the order of the request."""

    group_id: GroupId
    member_list: list[Member]


async def get_specified_group_member_info(
    call: Call, request: GetSpecifiedMembers
) -> SpecifiedMembers:
    """See ``GetSpecifiedMembers``."""
    group = await _stored(call, request.group_id)
    user_ids = list(dict.fromkeys(request.member__list__account))
    states = await call.operator.lists.member_states(group.group_id, user_ids)
    roles = roles_of(request.member_role_filter)
    return SpecifiedMembers(
        group_id=group.group_id,
        member_list=[
            member_of(
                call,
                states[user_id],
                request.member_info_filter,
                request.app_defined_data_filter__group_member,
            )
            for user_id in user_ids
            if user_id in states and states[user_id].member.role in roles
        ],
    )


async def _stored(call: Call, group_id: str) -> Group:
    """The living group, of a type that stores members.

    Raises:
        CallRefused: NOT_SUPPORTED_BY_TYPE.
        Refused: GROUP_NOT_FOUND.
    """
    group = await call.operator.lists.group(group_id)
    if not call.operator.rulebook.traits[group.type].stores_members:
        raise CallRefused.of(CallCode.NOT_SUPPORTED_BY_TYPE)
    return group


class ModifyMember(GroupRequest, frozen=True, kw_only=True):
    """Change a member; a custom field with an empty Value is deleted."""

    member__account: Account
    role: Literal["Admin", "Member"] | None = None
    msg_flag: ReceiveOption | None = None
    name_card: str | None = None
    app_member_defined_data: AppData | None = None
    mute_time: Uint32 | None = None
    shut_up_time: Uint32 | None = None


async def modify_group_member_info(call: Call, request: ModifyMember) -> Answer:
    """See ``ModifyMember``."""
    command = AdjustMember(
        group_id=request.group_id,
        user_id=request.member__account,
        role=None if request.role is None else ROLES[request.role],
        name_card=request.name_card,
        mute_s=first_given(request.mute_time, request.shut_up_time),
        custom=changes_of(request.app_member_defined_data),
        receive_option=request.msg_flag,
    )
    await call.operator.change(command, call.origin)
    return Answer()
