"""What the operator's own service may want of a command beside its refusal or another content."""

import msgspec

from protocol.commands import ChangingCommand, InviteMembers
from protocol.errors import ErrorCode, Refused
from protocol.results import MemberResult, MemberResults
from server.domain.decide import decide
from server.domain.model import Actor, Decision, Slice
from server.domain.refusals import failed
from server.domain.rules import Rulebook


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """``is_dropped``: answer as if it were done, and do nothing.

    ``is_repeat``: it repeats a request about which the operator was asked; what he has made of
    that is not known here, so nothing but its answer will do. ``refused_user_ids`` are not to be
    brought in; the others are.
    """

    is_dropped: bool = False
    is_repeat: bool = False
    refused_user_ids: frozenset[str] = frozenset()


def decide_as_wished(
    wish: Wish,
    rulebook: Rulebook,
    state: Slice,
    command: ChangingCommand,
    actor: Actor,
    now_ms: int,
) -> Decision:
    """Like ``decide``, with what the operator wants of it.

    What is dropped must be allowed all the same. The answer to a dropped message has no number,
    like that to one which is not stored: the next number belongs to another message.

    Raises:
        Refused: as ``decide``; UNAVAILABLE for a repeat, which has an answer or is asked about.
        MoreNeeded: as ``decide``.
    """
    if wish.is_repeat:
        raise Refused(ErrorCode.UNAVAILABLE, "what this repeats was not done; ask again")
    if wish.is_dropped:
        return Decision(result=decide(rulebook, state, command, actor, now_ms).result)
    if not wish.refused_user_ids or not isinstance(command, InviteMembers):
        return decide(rulebook, state, command, actor, now_ms)
    welcome = [one for one in command.user_ids if one not in wish.refused_user_ids]
    if not welcome:
        return Decision(result=_with_refused(command, wish, []))
    rest = msgspec.structs.replace(command, user_ids=welcome)
    decision = decide(rulebook, state, rest, actor, now_ms)
    assert isinstance(decision.result, MemberResults)  # the result of every invitation
    result = _with_refused(command, wish, decision.result.members)
    return msgspec.structs.replace(decision, result=result)


def _with_refused(command: InviteMembers, wish: Wish, others: list[MemberResult]) -> MemberResults:
    """One row per user of the command, in its order."""
    rows = iter(others)
    return MemberResults(
        members=[
            failed(user_id, Refused(ErrorCode.CALLBACK_REFUSED))
            if user_id in wish.refused_user_ids
            else next(rows)
            for user_id in command.user_ids
        ]
    )
