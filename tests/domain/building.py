"""Short ways to say what a decision looks at, and to see what came of it."""

# ruff: noqa: ANN401 - the fields are those of the struct that is made

import copy
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import pytest

from protocol.commands import (
    ChangingCommand,
    HandleApplications,
    InviteMembers,
    RemoveMembers,
)
from protocol.errors import Refused
from protocol.limits import default_limits
from protocol.results import ApplicationKind
from protocol.vocabulary import (
    ApplyJoinOption,
    GroupType,
    InviteJoinOption,
    Role,
)
from server.domain.decide import decide
from server.domain.model import (
    Actor,
    Application,
    Case,
    Decision,
    Group,
    Member,
    Slice,
)
from server.domain.rules import TRAITS, FieldLevel, FieldRule, Rulebook

NOW_MS: Final = 1_750_000_000_000
"""When everything happens, unless a test says otherwise."""

LONG_AGO_MS: Final = 1_600_000_000_000
ROOT: Final = Actor("root", is_app_admin=True)
"""An account of the operator that is in no group."""

TYPES: Final = tuple(GroupType)
STORED_TYPES: Final = tuple(kind for kind in TYPES if kind is not GroupType.AVCHATROOM)


def rules(
    *, limits: Mapping[str, int] | None = None, consent: bool = False, **fields: Any
) -> Rulebook:
    """The rules with some limits changed, or with ``invitee_consent`` on for every type."""
    traits = dict(TRAITS)
    if consent:
        for name, row in TRAITS.items():
            traits[name] = msgspec.structs.replace(row, invitee_consent=True)
    return Rulebook(limits={**default_limits(), **(limits or {})}, traits=traits, **fields)


def field(read: str = "member", write: str = "admin") -> FieldRule:
    """A declared custom field."""
    return FieldRule(read=FieldLevel(read), write=FieldLevel(write))


RULES: Final = rules()


def group(group_type: GroupType = GroupType.PUBLIC, **fields: Any) -> Group:
    """A group ``g`` of olga's at version 7 with room for all, open to all."""
    return Group(
        **{
            "group_id": "g",
            "type": group_type,
            "name": "Tea",
            "owner_id": "olga",
            "create_time_ms": LONG_AGO_MS,
            "last_info_time_ms": LONG_AGO_MS,
            "version": 7,
            "member_count": 1 if group_type is GroupType.AVCHATROOM else 4,
            "max_member_count": 0 if group_type is GroupType.AVCHATROOM else 200,
            "apply_join_option": ApplyJoinOption.FREE_ACCESS,
            "invite_join_option": InviteJoinOption.FREE_ACCESS,
            **fields,
        }
    )


def member(user_id: str, role: Role = Role.MEMBER, **fields: Any) -> Member:
    """A membership of ``g``, or of the group that is named."""
    return Member(
        **{
            "group_id": "g",
            "user_id": user_id,
            "role": role,
            "join_time_ms": LONG_AGO_MS,
            **fields,
        }
    )


OLGA: Final = member("olga", Role.OWNER)
ADAM: Final = member("adam", Role.ADMIN)
MIA: Final = member("mia")
SAM: Final = member("sam")


def state(of: Group | None = None, *members: Member, **fields: Any) -> Slice:
    """What a decision looks at; those who are not named are no members."""
    return Slice(group=of, members={one.user_id: one for one in members}, **fields)


def tea(group_type: GroupType = GroupType.PUBLIC, **fields: Any) -> Slice:
    """The group with olga, its owner, adam, an admin, and the members mia and sam."""
    seen = {"handlers": ["olga", "adam"], **fields.pop("seen", {})}
    return state(group(group_type, **fields), OLGA, ADAM, MIA, SAM, **seen)


def application(user_id: str = "zoe", **fields: Any) -> Application:
    """Zoe wants to join ``g``, since long ago."""
    kind = fields.get("kind", ApplicationKind.JOIN)
    return Application(
        **{
            "application_id": f"{kind}-{user_id}",
            "kind": kind,
            "group_id": "g",
            "user_id": user_id,
            "inviter_id": "" if kind is ApplicationKind.JOIN else "mia",
            "message": "please",
            "created_ms": LONG_AGO_MS,
            **fields,
        }
    )


def cases(*found: tuple[Application, Slice]) -> Slice:
    """What handling these applications looks at: for each one its group, and its user there."""
    return Slice(group=None, cases={one.application_id: _case(one, of) for one, of in found})


def _case(waiting: Application, of: Slice) -> Case:
    members = {waiting.user_id: None, **of.members}
    pending = {waiting.user_id: [], **of.pending}
    return Case(waiting, msgspec.structs.replace(of, members=members, pending=pending))


def invite(*user_ids: str) -> InviteMembers:
    """To bring these into ``g``."""
    return InviteMembers(group_id="g", user_ids=list(user_ids))


def remove(*user_ids: str) -> RemoveMembers:
    """To remove these from ``g``."""
    return RemoveMembers(group_id="g", user_ids=list(user_ids))


def actor_of(who: Actor | str) -> Actor:
    """A user who is no operator, by name."""
    return Actor(who) if isinstance(who, str) else who


def done(
    of: Slice,
    command: ChangingCommand,
    who: Actor | str,
    rulebook: Rulebook = RULES,
    now_ms: int = NOW_MS,
) -> Decision:
    """The decision; what it looked at is as it was."""
    before = copy.deepcopy(of)
    decision = decide(rulebook, of, command, actor_of(who), now_ms)
    assert of == before
    return decision


def refused(
    of: Slice,
    command: ChangingCommand,
    who: Actor | str,
    rulebook: Rulebook = RULES,
    now_ms: int = NOW_MS,
) -> Refused:
    """The refusal; what was looked at is as it was."""
    before = copy.deepcopy(of)
    with pytest.raises(Refused) as caught:
        decide(rulebook, of, command, actor_of(who), now_ms)
    assert of == before
    return caught.value


def asking(**fields: Any) -> Slice:
    """The group, whose admins are asked whom to let in."""
    return tea(
        **{
            "apply_join_option": ApplyJoinOption.NEED_PERMISSION,
            "invite_join_option": InviteJoinOption.NEED_PERMISSION,
            **fields,
        }
    )


def handled(
    of: Slice,
    who: Actor | str = "olga",
    *,
    accept: bool = True,
    rulebook: Rulebook = RULES,
) -> Decision:
    """All that ``of`` shows, handled in one call."""
    command = HandleApplications(application_ids=list(of.cases), accept=accept, message="well")
    return done(of, command, who, rulebook)
