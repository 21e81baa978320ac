"""Who can be added to a group at all, whoever adds them."""

from protocol import identifiers
from protocol.errors import ErrorCode, Refused
from protocol.results import Nothing
from server.domain.jobs import RecognizeUser
from server.domain.model import Actor, Decision, Group, KnownUser, KnownUserKey, Slice
from server.domain.rules import Rulebook


def admit(
    rulebook: Rulebook, user_id: str, state: Slice, *, seats: int | None = None
) -> Refused | None:
    """Why ``user_id`` cannot be in one more group, or None.

    ``seats`` is how many more members the group takes, None for any number.
    """
    if not identifiers.is_user_id(user_id, max_bytes=rulebook.limit("USER_ID_BYTES") or 0):
        return Refused(ErrorCode.INVALID_USER_ID, user_id=user_id[:64])
    if state.known_users is not None and user_id not in state.known_users:
        return Refused(ErrorCode.USER_NOT_FOUND, rule="require_known_users", user_id=user_id)
    if seats is not None and seats <= 0:
        return Refused(ErrorCode.GROUP_FULL, rule="max_member_count")
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


def seats_left(group: Group, member_count: int) -> int | None:
    """How many more members ``group`` takes when it has ``member_count``; None for any number."""
    if group.max_member_count == 0:
        return None
    return group.max_member_count - member_count
