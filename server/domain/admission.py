"""Who can be added to a group at all, whoever adds them."""

from protocol import identifiers
from protocol.errors import ErrorCode, Refused
from protocol.results import Nothing
from server.domain.jobs import RecognizeUser
from server.domain.model import Actor, Decision, Group, KnownUser, KnownUserKey, Slice
from server.domain.rules import Rulebook


def admit(
    rulebook: Rulebook, user_id: str, state: Slice, *, group: Group | None, coming: int = 0
) -> Refused | None:
    """Why ``user_id`` cannot be in one more group, or None.

    ``group`` is the one that the user comes into, with ``coming`` others before; None for one
    that the user founds.
    """
    if not identifiers.is_user_id(user_id, max_bytes=rulebook.limit("USER_ID_BYTES") or 0):
        return Refused(ErrorCode.INVALID_USER_ID, user_id=user_id[:64])
    if state.known_users is not None and user_id not in state.known_users:
        return Refused(
            ErrorCode.USER_NOT_FOUND,
            rule="require_known_users",
            have="unknown",
            need="known",
            user_id=user_id,
        )
    if group is not None and _is_full(rulebook, group, state, coming):
        return Refused(
            ErrorCode.GROUP_FULL,
            rule="max_member_count",
            have=group.max_member_count,
            need=group.max_member_count + 1,
        )
    most = rulebook.limit("GROUPS_PER_USER")
    have = state.group_counts.get(user_id, 0)
    if most is not None and have >= most:
        return Refused(
            ErrorCode.TOO_MANY_GROUPS,
            f"the user is in {have} groups already",
            rule="groups_per_user",
            have=have,
            need=most,
        )
    return None


def recognize_user(
    _rulebook: Rulebook, state: Slice, _command: RecognizeUser, actor: Actor, now_ms: int
) -> Decision:
    """The actor is known from now on."""
    if state.known_users is None or actor.user_id in state.known_users:
        return Decision(result=Nothing())
    known = KnownUser(user_id=actor.user_id, since_ms=now_ms)
    return Decision(result=Nothing(), puts={KnownUserKey(actor.user_id): known})


def _is_full(rulebook: Rulebook, group: Group, state: Slice, coming: int) -> bool:
    """Whether the group takes nobody after ``coming`` others; 0 members at most means any number."""
    stores_members = rulebook.traits[group.type].stores_members
    count = group.member_count if stores_members else state.participant_count
    return bool(group.max_member_count) and count + coming >= group.max_member_count
