"""Who can be added to a group at all, whoever adds them."""

from collections.abc import Sequence

from protocol import identifiers
from protocol.errors import ErrorCode, Refused
from protocol.results import Nothing
from server.domain.jobs import ForgetUsers, RecognizeUser, RecognizeUsers, RevokeTokens
from server.domain.model import (
    Actor,
    Decision,
    Group,
    KnownUser,
    KnownUserKey,
    Revocation,
    RevocationKey,
    Row,
    RowKey,
    Slice,
)
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


def recognize_users(
    rulebook: Rulebook, state: Slice, command: RecognizeUsers, _actor: Actor, now_ms: int
) -> Decision:
    """All of the users are known from now on."""
    check_users(rulebook, command.user_ids)
    if state.known_users is None:
        return Decision(result=Nothing())
    new = [user_id for user_id in command.user_ids if user_id not in state.known_users]
    puts: dict[RowKey, Row | None] = {
        KnownUserKey(user): KnownUser(user_id=user, since_ms=now_ms) for user in new
    }
    return Decision(result=Nothing(), puts=puts)


def revoke_tokens(
    rulebook: Rulebook, state: Slice, command: RevokeTokens, _actor: Actor, _now_ms: int
) -> Decision:
    """What was issued for the users up to then is refused; what was revoked stays so."""
    check_users(rulebook, command.user_ids)
    return Decision(result=Nothing(), puts=_revoked(state, command))


def forget_users(
    rulebook: Rulebook, state: Slice, command: ForgetUsers, _actor: Actor, _now_ms: int
) -> Decision:
    """The users are known no longer and have no token that is good; memberships stay."""
    check_users(rulebook, command.user_ids)
    puts: dict[RowKey, Row | None] = _revoked(state, command)
    for user_id in command.user_ids:
        if state.known_users is not None and user_id in state.known_users:
            puts[KnownUserKey(user_id)] = None
    return Decision(result=Nothing(), puts=puts)


def _revoked(state: Slice, command: RevokeTokens) -> dict[RowKey, Row | None]:
    puts: dict[RowKey, Row | None] = {}
    for user_id in command.user_ids:
        before = state.revocations.get(user_id)
        if before is None or before.up_to_s < command.up_to_s:
            puts[RevocationKey(user_id)] = Revocation(user_id=user_id, up_to_s=command.up_to_s)
    return puts


def check_users(rulebook: Rulebook, user_ids: Sequence[str]) -> None:
    """Return if all of these are user IDs.

    Raises:
        Refused: INVALID_USER_ID, the first that is none.
    """
    most = rulebook.limit("USER_ID_BYTES") or 0
    for user_id in user_ids:
        if not identifiers.is_user_id(user_id, max_bytes=most):
            raise Refused(ErrorCode.INVALID_USER_ID, user_id=user_id[:64])


def _is_full(rulebook: Rulebook, group: Group, state: Slice, coming: int) -> bool:
    """Whether the group takes nobody after ``coming`` others; 0 members at most means any number."""
    stores_members = rulebook.traits[group.type].stores_members
    count = group.member_count if stores_members else state.participant_count
    return bool(group.max_member_count) and count + coming >= group.max_member_count
