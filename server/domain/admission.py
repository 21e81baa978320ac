"""Who can be added to a group at all, whoever adds them."""

from collections.abc import Mapping

from protocol import identifiers
from protocol.errors import ErrorCode, Refused
from server.domain.model import Group
from server.domain.rules import Rulebook


def admit(
    rulebook: Rulebook,
    user_id: str,
    group_counts: Mapping[str, int],
    *,
    seats: int | None = None,
) -> Refused | None:
    """Why ``user_id`` cannot be in one more group, or None.

    ``seats`` is how many more members the group takes, None for any number.
    """
    if not identifiers.is_user_id(user_id, max_bytes=rulebook.limit("USER_ID_BYTES") or 0):
        return Refused(ErrorCode.INVALID_USER_ID, user_id=user_id[:64])
    if seats is not None and seats <= 0:
        return Refused(ErrorCode.GROUP_FULL, rule="max_member_count")
    most = rulebook.limit("GROUPS_PER_USER")
    have = group_counts.get(user_id, 0)
    if most is not None and have >= most:
        return Refused(
            ErrorCode.TOO_MANY_GROUPS,
            f"the user is in {have} groups already",
            rule="groups_per_user",
            have=have,
            need=most,
        )
    return None


def seats_left(group: Group, member_count: int) -> int | None:
    """How many more members ``group`` takes when it has ``member_count``; None for any number."""
    if group.max_member_count == 0:
        return None
    return group.max_member_count - member_count
