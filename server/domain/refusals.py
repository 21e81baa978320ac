"""Refusals as they travel inside a result, and the checks that several operations share."""

from protocol.errors import ERRORS, ErrorCode, Refused
from protocol.results import ErrorBody, MemberResult, MemberResultKind
from protocol.vocabulary import GroupType
from server.domain.model import Group, Slice


def error_body(refused: Refused) -> ErrorBody:
    """``refused`` as the wire shows it."""
    return ErrorBody(
        code=refused.number,
        name=refused.code.name,
        message=refused.message,
        retryable=ERRORS[refused.code].retryable,
        detail=refused.detail,
    )


def failed(user_id: str, refused: Refused) -> MemberResult:
    """One user's row of a batch: refused, with the reason."""
    return MemberResult(user_id=user_id, result=MemberResultKind.FAILED, error=error_body(refused))


def not_imported(group_type: GroupType) -> Refused:
    """Groups of a type that stores nothing are not taken over, nor what was in them."""
    return Refused(
        ErrorCode.NO_PERMISSION,
        f"nothing is imported into a group of type {group_type}",
        rule="import",
        have=str(group_type),
        need="a type that is stored",
    )


def living_group(state: Slice, group_id: str) -> Group:
    """The group of the slice.

    Raises:
        Refused: GROUP_NOT_FOUND when there is none or it was disbanded.
    """
    group = state.group
    if group is None or group.closed_ms:
        raise Refused(ErrorCode.GROUP_NOT_FOUND, group_id=group_id)
    return group
