"""Commands about groups as a whole: create, change, look up, end."""

from typing import Annotated, Literal

from msgspec import Meta, field
from msgspec.structs import replace

from protocol.commands import (
    DisbandGroup,
    GetOnlineCount,
    InitialMember,
    TransferGroup,
    UpdateGroup,
)
from protocol.vocabulary import ApplyJoinOption, InviteJoinOption
from server.domain.jobs import FoundGroup
from server.rest.codes import CallCode, CallRefused
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
    Positive,
    Request,
    Switch,
    changes_of,
    custom_of,
    is_on,
)
from server.rest.words import ROLES, type_of, type_word


class NewMember(Body, frozen=True, kw_only=True):
    """Who is in the group from its creation on."""

    member__account: Account
    role: Literal["Admin", "Member"] = "Member"
    app_member_defined_data: AppData = field(default_factory=list)


class _NewGroup(Request, frozen=True, kw_only=True):
    """What create_group and import_group have in common."""

    type: str
    name: str
    owner__account: Account | None = None
    group_id: GroupId | None = None
    introduction: str = ""
    notification: str = ""
    face_url: str = ""
    max_member_count: Positive | None = None
    apply_join_option: ApplyJoinOption | None = None
    invite_join_option: InviteJoinOption | None = None
    app_defined_data: AppData = field(default_factory=list)
    support_topic: Flag = 0


class CreateGroup(_NewGroup, frozen=True, kw_only=True):
    """Create a group; without Owner_Account it belongs to nobody."""

    member_list: Annotated[list[NewMember], Meta(max_length=100)] = field(default_factory=list)


class ImportGroup(_NewGroup, frozen=True, kw_only=True):
    """Create a group that was created elsewhere; nobody is told."""

    create_time: Natural | None = None


class GroupCreated(Answer, frozen=True, kw_only=True):
    """The new group's ID and type."""

    group_id: GroupId
    type: str


async def create_group(call: Call, request: CreateGroup) -> GroupCreated:
    """See ``CreateGroup``."""
    members = [
        InitialMember(
            user_id=member.member__account,
            role=ROLES[member.role],
            custom=custom_of(member.app_member_defined_data),
        )
        for member in request.member_list
    ]
    return await _create(call, request, members, None)


async def import_group(call: Call, request: ImportGroup) -> GroupCreated:
    """See ``ImportGroup``."""
    now_ms = call.operator.clock.now_ms()
    created_ms = now_ms if request.create_time is None else request.create_time * 1000
    return await _create(call, request, [], created_ms)


async def _create(
    call: Call, request: _NewGroup, members: list[InitialMember], imported_ms: int | None
) -> GroupCreated:
    group_type = type_of(request.type, "Type")
    traits = call.operator.rulebook.traits[group_type]
    if request.support_topic:
        raise CallRefused.of(CallCode.NOT_OFFERED, "SupportTopic: this server has no topics")
    command = FoundGroup(
        type=group_type,
        name=request.name,
        owner_id=request.owner__account or None,
        group_id=request.group_id or None,
        introduction=request.introduction,
        notification=request.notification,
        face_url=request.face_url,
        max_member_count=request.max_member_count,
        # "Valid only for groups that can be joined": an option that the type fixes is ignored.
        apply_join_option=None if traits.apply_is_fixed else request.apply_join_option,
        invite_join_option=None if traits.invite_is_fixed else request.invite_join_option,
        custom=custom_of(request.app_defined_data),
        members=members,
        created_ms=imported_ms,
        is_silent=imported_ms is not None,
    )
    is_import = imported_ms is not None
    origin = replace(call.origin, is_unasked=is_import, is_untold=is_import)
    # What is told of a new group is told in its owner's name; an import is the operator's affair.
    owner_id = None if is_import else command.owner_id
    result = await call.operator.change(command, origin, as_user_id=owner_id)
    return GroupCreated(group_id=result.group.group_id, type=type_word(group_type))


class DestroyGroup(GroupRequest, frozen=True, kw_only=True):
    """End a group for good; everyone who was a member is told."""


async def destroy_group(call: Call, request: DestroyGroup) -> Answer:
    """See ``DestroyGroup``."""
    await call.operator.change(DisbandGroup(group_id=request.group_id), call.origin)
    return Answer()


class ModifyGroup(GroupRequest, frozen=True, kw_only=True):
    """Change a group's profile and options; a custom field with an empty Value is deleted."""

    name: str | None = None
    introduction: str | None = None
    notification: str | None = None
    face_url: str | None = None
    max_member_num: Positive | None = None
    apply_join_option: ApplyJoinOption | None = None
    invite_join_option: InviteJoinOption | None = None
    mute_all_member: Switch | None = None
    shut_up_all_member: Switch | None = None
    app_defined_data: AppData | None = None


async def modify_group_base_info(call: Call, request: ModifyGroup) -> Answer:
    """See ``ModifyGroup``."""
    command = UpdateGroup(
        group_id=request.group_id,
        name=request.name,
        introduction=request.introduction,
        notification=request.notification,
        face_url=request.face_url,
        max_member_count=request.max_member_num,
        apply_join_option=request.apply_join_option,
        invite_join_option=request.invite_join_option,
        mute_all=is_on(request.mute_all_member, request.shut_up_all_member),
        custom=changes_of(request.app_defined_data),
    )
    await call.operator.change(command, call.origin)
    return Answer()


class ChangeOwner(GroupRequest, frozen=True, kw_only=True):
    """Make a member the owner, also of a group that has none."""

    new_owner__account: Account


async def change_group_owner(call: Call, request: ChangeOwner) -> Answer:
    """See ``ChangeOwner``."""
    command = TransferGroup(group_id=request.group_id, new_owner_id=request.new_owner__account)
    await call.operator.change(command, call.origin)
    return Answer()


class ListGroups(Request, frozen=True, kw_only=True):
    """All groups of the app by ID, page by page: Next of one page begins the next, 0 ends."""

    limit: Annotated[int, Meta(ge=1, le=10_000)] = 10_000
    next: Natural = 0
    group_type: str | None = None


class ListedGroup(Body, frozen=True, kw_only=True):
    """A group of the app."""

    group_id: GroupId


class GroupList(Answer, frozen=True, kw_only=True):
    """A page, and how many groups there are."""

    total_count: int
    group_id_list: list[ListedGroup]
    next: int


async def get_appid_group_list(call: Call, request: ListGroups) -> GroupList:
    """See ``ListGroups``."""
    group_type = type_of(request.group_type, "GroupType") if request.group_type else None
    found, total = await call.operator.lists.group_ids(group_type, request.next, request.limit)
    after = request.next + len(found)
    return GroupList(
        total_count=total,
        group_id_list=[ListedGroup(group_id=group_id) for group_id in found],
        next=after if found and after < total else 0,
    )


class OnlineCount(GroupRequest, frozen=True, kw_only=True):
    """How many are connected: of an AVChatRoom those who take part, else the members."""


class OnlineCounted(Answer, frozen=True, kw_only=True):
    """The number now."""

    online_member_num: int


async def get_online_member_num(call: Call, request: OnlineCount) -> OnlineCounted:
    """See ``OnlineCount``."""
    result = await call.operator.ask(GetOnlineCount(group_id=request.group_id), call.origin)
    return OnlineCounted(online_member_num=result.online_count)
