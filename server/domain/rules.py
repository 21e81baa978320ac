"""The rules of groups as one piece of data (``groups.md`` sections 1 and 2).

What a type, a role and an operation allow is looked up here and nowhere else; the README's table
is printed from here. The operator's configuration replaces cells, never code.
"""

import enum
from collections.abc import Mapping
from typing import Final

import msgspec

from protocol.errors import ErrorCode, Refused
from protocol.limits import default_limits
from protocol.vocabulary import (
    ApplyJoinOption,
    GroupType,
    InviteJoinOption,
    ReceiveOption,
    Role,
)
from server.domain.model import Actor, Member


class Standing(enum.IntEnum):
    """How somebody stands to a group; a higher number is stronger."""

    NONE = 0
    MEMBER = 1
    ADMIN = 2
    OWNER = 3
    APP_ADMIN = 4


class Right(enum.Enum):
    """Who may do an operation: everyone with at least this standing, or nobody at all."""

    ANYONE = Standing.NONE
    MEMBER = Standing.MEMBER
    ADMIN = Standing.ADMIN
    OWNER = Standing.OWNER
    APP_ADMIN = Standing.APP_ADMIN
    NOT_SUPPORTED = "not supported"

    def allows(self, standing: Standing) -> bool:
        """Whether ``standing`` is enough."""
        return isinstance(self.value, Standing) and standing >= self.value


class Operation(enum.StrEnum):
    """What can be done with a group; the rows of the table."""

    EDIT_BASIC_PROFILE = "edit_basic_profile"
    EDIT_OTHER_PROFILE = "edit_other_profile"
    DISBAND = "disband"
    TRANSFER = "transfer"
    SEE_PROFILE = "see_profile"
    JOIN = "join"
    APPOINT_ADMINS = "appoint_admins"
    REMOVE_MEMBER = "remove_member"
    MUTE_MEMBER = "mute_member"
    MUTE_ALL = "mute_all"
    EDIT_OTHER_MEMBER = "edit_other_member"
    EDIT_OWN_MEMBER = "edit_own_member"
    SET_RECEIVE_OPTION = "set_receive_option"
    SET_ATTRIBUTES = "set_attributes"
    ADD_COUNTERS = "add_counters"
    LIST_MEMBERS = "list_members"
    READ_HISTORY = "read_history"
    QUIT_AS_OWNER = "quit_as_owner"
    SEND_MESSAGE = "send_message"
    RECALL_ANY = "recall_any"
    MARK_READ = "mark_read"


def _row(
    work: Right, public: Right, meeting: Right, avchatroom: Right, community: Right
) -> Mapping[GroupType, Right]:
    return {
        GroupType.WORK: work,
        GroupType.PUBLIC: public,
        GroupType.MEETING: meeting,
        GroupType.AVCHATROOM: avchatroom,
        GroupType.COMMUNITY: community,
    }


_ANY, _MEM, _ADM, _OWN = Right.ANYONE, Right.MEMBER, Right.ADMIN, Right.OWNER
_APP, _NOT = Right.APP_ADMIN, Right.NOT_SUPPORTED

RIGHTS: Final[Mapping[Operation, Mapping[GroupType, Right]]] = {
    #                                     Work  Public Meeting AVChat Community
    Operation.EDIT_BASIC_PROFILE: _row(_MEM, _ADM, _ADM, _OWN, _ADM),
    Operation.EDIT_OTHER_PROFILE: _row(_OWN, _ADM, _ADM, _OWN, _ADM),
    Operation.DISBAND: _row(_APP, _OWN, _OWN, _OWN, _OWN),
    Operation.TRANSFER: _row(_OWN, _OWN, _OWN, _NOT, _OWN),
    Operation.SEE_PROFILE: _row(_MEM, _ANY, _ANY, _ANY, _ANY),
    Operation.JOIN: _row(_NOT, _ANY, _ANY, _ANY, _ANY),
    Operation.APPOINT_ADMINS: _row(_NOT, _OWN, _OWN, _NOT, _OWN),
    Operation.REMOVE_MEMBER: _row(_OWN, _ADM, _ADM, _NOT, _ADM),
    Operation.MUTE_MEMBER: _row(_NOT, _ADM, _ADM, _OWN, _ADM),
    Operation.MUTE_ALL: _row(_OWN, _ADM, _ADM, _OWN, _ADM),
    Operation.EDIT_OTHER_MEMBER: _row(_OWN, _ADM, _ADM, _NOT, _ADM),
    Operation.EDIT_OWN_MEMBER: _row(_MEM, _MEM, _MEM, _NOT, _MEM),
    Operation.SET_RECEIVE_OPTION: _row(_MEM, _MEM, _MEM, _MEM, _MEM),
    Operation.SET_ATTRIBUTES: _row(_OWN, _ADM, _ADM, _OWN, _ADM),
    Operation.ADD_COUNTERS: _row(_MEM, _MEM, _MEM, _MEM, _MEM),
    Operation.LIST_MEMBERS: _row(_MEM, _MEM, _MEM, _MEM, _MEM),
    Operation.READ_HISTORY: _row(_MEM, _MEM, _MEM, _NOT, _MEM),
    Operation.QUIT_AS_OWNER: _row(_OWN, _NOT, _NOT, _NOT, _NOT),
    Operation.SEND_MESSAGE: _row(_MEM, _MEM, _MEM, _MEM, _MEM),
    Operation.MARK_READ: _row(_MEM, _MEM, _MEM, _NOT, _MEM),
    Operation.RECALL_ANY: _row(_ADM, _ADM, _ADM, _ADM, _ADM),
}
"""Operation -> type -> who may. An app_admin may what an owner may, in every group."""

ONLY_LOWER_RANK: Final = frozenset(
    {Operation.REMOVE_MEMBER, Operation.MUTE_MEMBER, Operation.EDIT_OTHER_MEMBER}
)
"""Operations on another member that also ask for a standing above that member's."""


class TipPolicy(enum.StrEnum):
    """What becomes of a kind of tip: into the log, to those connected only, or nowhere."""

    STORED = "stored"
    PUSHED = "pushed"
    OFF = "off"


class Traits(msgspec.Struct, frozen=True, kw_only=True):
    """What a type keeps and how its groups begin (``groups.md`` sections 1 and 2)."""

    apply_join_option: ApplyJoinOption
    apply_is_fixed: bool
    invite_join_option: InviteJoinOption
    invite_is_fixed: bool
    takes_initial_members: bool
    stores_members: bool
    stores_messages: bool
    shows_earlier_history: bool
    counts_unread: bool
    counts_for_the_day: bool
    membership_tips: TipPolicy
    profile_tips: TipPolicy
    role_and_mute_tips: TipPolicy
    option_tips: TipPolicy
    receive_option: ReceiveOption
    member_limit: str | None
    """The name of the limit of its members, None for no limit."""
    invitee_consent: bool = False
    """Whether an invited user must agree before becoming a member."""


_STORED_TYPE: Final = Traits(
    apply_join_option=ApplyJoinOption.NEED_PERMISSION,
    apply_is_fixed=False,
    invite_join_option=InviteJoinOption.DISABLE_INVITE,
    invite_is_fixed=False,
    takes_initial_members=True,
    stores_members=True,
    stores_messages=True,
    shows_earlier_history=False,
    counts_unread=True,
    counts_for_the_day=True,
    membership_tips=TipPolicy.STORED,
    profile_tips=TipPolicy.STORED,
    role_and_mute_tips=TipPolicy.STORED,
    option_tips=TipPolicy.OFF,
    receive_option=ReceiveOption.ACCEPT_AND_NOTIFY,
    member_limit="MEMBERS_PUBLIC",
)

TRAITS: Final[Mapping[GroupType, Traits]] = {
    GroupType.WORK: msgspec.structs.replace(
        _STORED_TYPE,
        apply_join_option=ApplyJoinOption.DISABLE_APPLY,
        apply_is_fixed=True,
        invite_join_option=InviteJoinOption.FREE_ACCESS,
        member_limit="MEMBERS_WORK",
    ),
    GroupType.PUBLIC: _STORED_TYPE,
    GroupType.MEETING: msgspec.structs.replace(
        _STORED_TYPE,
        apply_join_option=ApplyJoinOption.FREE_ACCESS,
        shows_earlier_history=True,
        counts_unread=False,
        membership_tips=TipPolicy.OFF,
        role_and_mute_tips=TipPolicy.OFF,
        receive_option=ReceiveOption.ACCEPT_NOT_NOTIFY,
        member_limit="MEMBERS_MEETING",
    ),
    GroupType.AVCHATROOM: msgspec.structs.replace(
        _STORED_TYPE,
        apply_join_option=ApplyJoinOption.FREE_ACCESS,
        invite_is_fixed=True,
        takes_initial_members=False,
        stores_members=False,
        stores_messages=False,
        counts_unread=False,
        membership_tips=TipPolicy.PUSHED,
        profile_tips=TipPolicy.PUSHED,
        role_and_mute_tips=TipPolicy.OFF,
        receive_option=ReceiveOption.ACCEPT_NOT_NOTIFY,
        member_limit=None,
    ),
    GroupType.COMMUNITY: msgspec.structs.replace(
        _STORED_TYPE,
        apply_join_option=ApplyJoinOption.FREE_ACCESS,
        invite_join_option=InviteJoinOption.FREE_ACCESS,
        counts_for_the_day=False,
        member_limit="MEMBERS_COMMUNITY",
    ),
}
"""Type -> what it keeps."""


class FieldLevel(enum.StrEnum):
    """Who may read or write a custom field; ``self`` is for fields of members only."""

    APP_ADMIN = "app_admin"
    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"
    ANYONE = "anyone"
    SELF = "self"

    def allows(self, standing: Standing, *, is_self: bool = False) -> bool:
        """Whether somebody of ``standing`` may; ``self`` means the member, and the admins."""
        if self is FieldLevel.SELF:
            return is_self or standing >= Standing.ADMIN
        return standing >= _LEVEL_STANDINGS[self]


_LEVEL_STANDINGS: Final[Mapping[FieldLevel, Standing]] = {
    FieldLevel.APP_ADMIN: Standing.APP_ADMIN,
    FieldLevel.OWNER: Standing.OWNER,
    FieldLevel.ADMIN: Standing.ADMIN,
    FieldLevel.MEMBER: Standing.MEMBER,
    FieldLevel.ANYONE: Standing.NONE,
}


class FieldRule(msgspec.Struct, frozen=True, kw_only=True):
    """A declared custom field: who may read it and who may write it."""

    read: FieldLevel = FieldLevel.MEMBER
    write: FieldLevel = FieldLevel.ADMIN


class Rulebook(msgspec.Struct, frozen=True, kw_only=True):
    """The tables as the operator has configured them, and the limits by name (0: none)."""

    rights: Mapping[Operation, Mapping[GroupType, Right]] = msgspec.field(
        default_factory=lambda: RIGHTS
    )
    traits: Mapping[GroupType, Traits] = msgspec.field(default_factory=lambda: TRAITS)
    limits: Mapping[str, int] = msgspec.field(default_factory=default_limits)
    group_fields: Mapping[str, FieldRule] = {}
    member_fields: Mapping[str, FieldRule] = {}
    requires_known_users: bool = False

    def require(self, operation: Operation, group_type: GroupType, standing: Standing) -> None:
        """Return if ``standing`` may do ``operation`` in a group of ``group_type``.

        Raises:
            Refused: NO_PERMISSION with the rule, what the caller has and what it needs.
        """
        right = self.rights[operation][group_type]
        if right.allows(standing):
            return
        if right is Right.NOT_SUPPORTED:
            message = f"{operation} is not supported in a group of type {group_type}"
        else:
            message = f"{operation} in a group of type {group_type} needs {_name(right)}"
        raise Refused(
            ErrorCode.NO_PERMISSION,
            message,
            rule=str(operation),
            have=standing.name.lower(),
            need=_name(right),
        )

    def require_over(self, operation: Operation, standing: Standing, target: Standing) -> None:
        """Return if ``operation`` does not ask for a higher rank, or ``standing`` is one.

        Raises:
            Refused: NO_PERMISSION.
        """
        if operation in ONLY_LOWER_RANK and standing <= target:
            need = Standing(target + 1) if target < Standing.APP_ADMIN else Standing.APP_ADMIN
            raise Refused(
                ErrorCode.NO_PERMISSION,
                f"{operation} works on members of lower rank only",
                rule=str(operation),
                have=standing.name.lower(),
                need=need.name.lower(),
            )

    def limit(self, name: str) -> int | None:
        """The limit's number, or None when the operator has set none."""
        return self.limits[name] or None


def standing_of(actor: Actor, member: Member | None) -> Standing:
    """How ``actor``, whose membership is ``member``, stands to the group."""
    if actor.is_app_admin:
        return Standing.APP_ADMIN
    return standing_of_member(member)


def standing_of_member(member: Member | None) -> Standing:
    """How a user with this membership stands, whatever else the user is."""
    return _STANDINGS[member.role] if member is not None else Standing.NONE


_STANDINGS: Final[Mapping[Role, Standing]] = {
    Role.MEMBER: Standing.MEMBER,
    Role.ADMIN: Standing.ADMIN,
    Role.OWNER: Standing.OWNER,
}


def _name(right: Right) -> str:
    return right.name.lower()
