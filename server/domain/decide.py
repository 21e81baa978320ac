"""The way into the rules: what a command needs to see, and what it does."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from protocol.commands import (
    ChangingCommand,
    CreateGroup,
    DisbandGroup,
    InviteMembers,
    JoinGroup,
    QuitGroup,
    RemoveMembers,
    SendMessage,
)
from server.domain import lifecycle, membership, messages
from server.domain.model import Actor, Decision, Slice
from server.domain.rules import Rulebook


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """What a decision looks at: the group, the membership of users, how many groups they are in."""

    group_id: str | None
    member_ids: Sequence[str] = ()
    counted_user_ids: Sequence[str] = ()
    groups_today: bool = False


Decide = Callable[[Rulebook, Slice, Any, Actor, int], Decision]


class _Case(msgspec.Struct, frozen=True):
    """How one command is decided."""

    needs: Callable[[Any, Actor], Needs]
    decide: Decide


def needs_of(command: ChangingCommand, actor: Actor) -> Needs:
    """Which rows ``decide`` will look at for this command."""
    return _CASES[type(command)].needs(command, actor)


def decide(
    rulebook: Rulebook, state: Slice, command: ChangingCommand, actor: Actor, now_ms: int
) -> Decision:
    """What happens when ``actor`` gives ``command``, with the group as ``state`` shows it.

    Args:
        rulebook: the tables and limits in force.
        state: the rows that ``needs_of`` named, as of one moment; not changed.
        command: a decoded request of the right shape; its values are checked here.
        actor: who acts, authenticated; need not be a member.
        now_ms: Unix time in milliseconds.

    Returns:
        The result for the caller, the rows to write and the entries to tell, all to be
        committed together or not at all. No rows and no entries when nothing changes.

    Raises:
        Refused: the rules forbid it, or a value is out of its limit; nothing is to be changed.

    Source: ``groups.md``.
    """
    return _CASES[type(command)].decide(rulebook, state, command, actor, now_ms)


def _of_create(command: CreateGroup, actor: Actor) -> Needs:
    users = [actor.user_id, *(member.user_id for member in command.members)]
    return Needs(group_id=command.group_id, counted_user_ids=users, groups_today=True)


def _of_actor(command: DisbandGroup | QuitGroup | SendMessage, actor: Actor) -> Needs:
    return Needs(group_id=command.group_id, member_ids=[actor.user_id])


def _of_joiner(command: JoinGroup, actor: Actor) -> Needs:
    user_ids = [actor.user_id]
    return Needs(group_id=command.group_id, member_ids=user_ids, counted_user_ids=user_ids)


def _of_invited(command: InviteMembers, actor: Actor) -> Needs:
    return Needs(
        group_id=command.group_id,
        member_ids=[actor.user_id, *command.user_ids],
        counted_user_ids=command.user_ids,
    )


def _of_removed(command: RemoveMembers, actor: Actor) -> Needs:
    return Needs(group_id=command.group_id, member_ids=[actor.user_id, *command.user_ids])


_CASES: Final[Mapping[type[ChangingCommand], _Case]] = {
    CreateGroup: _Case(_of_create, lifecycle.create_group),
    DisbandGroup: _Case(_of_actor, lifecycle.disband_group),
    InviteMembers: _Case(_of_invited, membership.invite_members),
    JoinGroup: _Case(_of_joiner, membership.join_group),
    QuitGroup: _Case(_of_actor, membership.quit_group),
    RemoveMembers: _Case(_of_removed, membership.remove_members),
    SendMessage: _Case(_of_actor, messages.send_message),
}
"""Every changing command; a test holds the table of methods against it."""
