"""Values that a group's options may have for its type (``groups.md`` sections 1 and 2)."""

from protocol.errors import ErrorCode, Refused
from protocol.vocabulary import ApplyJoinOption, GroupType, InviteJoinOption
from server.domain.rules import Rulebook, Traits


def check_apply_option(
    group_type: GroupType, traits: Traits, wanted: ApplyJoinOption | None
) -> None:
    """Return if the type lets the option be ``wanted``.

    Raises:
        Refused: NO_PERMISSION, it is fixed.
    """
    if wanted is not None and traits.apply_is_fixed and wanted is not traits.apply_join_option:
        raise _fixed(group_type, "apply_join_option", wanted, traits.apply_join_option)


def check_invite_option(
    group_type: GroupType, traits: Traits, wanted: InviteJoinOption | None
) -> None:
    """Return if the type lets the option be ``wanted``.

    Raises:
        Refused: NO_PERMISSION, it is fixed.
    """
    if wanted is not None and traits.invite_is_fixed and wanted is not traits.invite_join_option:
        raise _fixed(group_type, "invite_join_option", wanted, traits.invite_join_option)


def member_limit(rulebook: Rulebook, traits: Traits) -> int | None:
    """How many members a group of the type may have, None for any number."""
    return rulebook.limit(traits.member_limit) if traits.member_limit is not None else None


def check_member_limit(
    rulebook: Rulebook, group_type: GroupType, traits: Traits, wanted: int | None
) -> None:
    """Return if a group of the type may have ``wanted`` members.

    Raises:
        Refused: BAD_REQUEST with the limit.
    """
    most = member_limit(rulebook, traits)
    if wanted is not None and most is not None and wanted > most:
        raise Refused(
            ErrorCode.BAD_REQUEST,
            f"max_member_count is {wanted}; a group of type {group_type} takes at most {most}",
            field="max_member_count",
            rule=str(traits.member_limit).lower(),
            have=wanted,
            need=most,
        )


def _fixed(group_type: GroupType, field: str, have: str, need: str) -> Refused:
    return Refused(
        ErrorCode.NO_PERMISSION,
        f"{field} of a group of type {group_type} is always {need}",
        rule=field,
        field=field,
        have=have,
        need=need,
    )
