"""The way into the rules: what a command needs to see, and what it does."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from protocol.commands import (
    AddCounters,
    ChangingCommand,
    CreateGroup,
    DeleteAttributes,
    DisbandGroup,
    HandleApplications,
    InviteMembers,
    JoinGroup,
    MarkRead,
    QuitGroup,
    ReadApplications,
    RecallMessage,
    RemoveMembers,
    SendMessage,
    SetAttributes,
    TransferGroup,
    UpdateGroup,
    UpdateMember,
)
from server.domain import (
    admission,
    applications,
    creation,
    imports,
    invitations,
    lifecycle,
    members,
    membership,
    messages,
    operations,
    profile,
)
from server.domain.jobs import (
    AddMembers,
    AdjustMember,
    BanUsers,
    DeleteCounters,
    DeleteMessagesOf,
    ExpelMembers,
    ForgetUsers,
    FoundGroup,
    ImportMembers,
    ImportMessages,
    MuteMembers,
    RecallMessages,
    RecognizeUser,
    RecognizeUsers,
    RecycleGroup,
    ReplaceAttributes,
    RevokeTokens,
    SendControlled,
    SendNotice,
    SetCounters,
    SetUnread,
)
from server.domain.model import Actor, Decision, Slice
from server.domain.rules import Rulebook


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """What a decision looks at, so that it can be read beforehand; see ``Slice`` for the meaning.

    ``owner`` adds the group's owner to ``member_ids``. ``remembered_ids`` are looked up in every
    type of group, or, with ``remembers_participants``, only where membership is not stored.
    ``read_seq`` is up to where the user of ``read_state_of`` wants to have read.
    """

    group_id: str | None = None
    member_ids: Sequence[str] = ()
    remembered_ids: Sequence[str] = ()
    remembers_participants: bool = False
    owner: bool = False
    counted_user_ids: Sequence[str] = ()
    revoked_ids: Sequence[str] = ()
    groups_today: bool = False
    attributes: bool = False
    counters: bool = False
    read_state_of: str | None = None
    read_seq: int | None = None
    entry_seq: int | None = None
    entry_seqs: Sequence[int] = ()
    last_entries: int = 0
    handlers: bool = False
    seen_by: str | None = None
    application_ids: Sequence[str] = ()

    @property
    def is_wide(self) -> bool:
        """Whether reading it takes more than rows by their keys: such a command begins a batch."""
        reads_log = self.entry_seq is not None or self.entry_seqs or self.last_entries > 0
        return bool(self.handlers or reads_log or self.application_ids)


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
        MoreNeeded: the handlers' lists have to be seen too; decide again with ``widened`` needs.

    Source: ``groups.md``.
    """
    return _CASES[type(command)].decide(rulebook, state, command, actor, now_ms)


def widened(needs: Needs) -> Needs:
    """What a command needs that turned out to need the handlers' lists (``MoreNeeded``)."""
    return msgspec.structs.replace(needs, handlers=True)


def _of_create(command: CreateGroup, actor: Actor) -> Needs:
    users = [actor.user_id, *(member.user_id for member in command.members)]
    return Needs(group_id=command.group_id, counted_user_ids=users, groups_today=True)


def _of_founder(command: FoundGroup, _actor: Actor) -> Needs:
    owners = [command.owner_id] if command.owner_id else []
    users = [*owners, *(member.user_id for member in command.members)]
    return Needs(group_id=command.group_id, counted_user_ids=users, groups_today=True)


def _of_actor(command: DisbandGroup | UpdateGroup, actor: Actor) -> Needs:
    return Needs(group_id=command.group_id, member_ids=[actor.user_id])


def _of_nobody(command: RecycleGroup, _actor: Actor) -> Needs:
    return Needs(group_id=command.group_id)


def _of_newcomer(_command: RecognizeUser, actor: Actor) -> Needs:
    return Needs(counted_user_ids=[actor.user_id])


def _of_newcomers(command: RecognizeUsers, _actor: Actor) -> Needs:
    return Needs(counted_user_ids=command.user_ids)


def _of_revoked(command: RevokeTokens, _actor: Actor) -> Needs:
    return Needs(revoked_ids=command.user_ids)


def _of_forgotten(command: ForgetUsers, _actor: Actor) -> Needs:
    return Needs(revoked_ids=command.user_ids, counted_user_ids=command.user_ids)


def _of_transfer(command: TransferGroup, actor: Actor) -> Needs:
    return Needs(
        group_id=command.group_id,
        member_ids=[actor.user_id, command.new_owner_id],
        owner=True,
    )


def _of_quitter(command: QuitGroup, actor: Actor) -> Needs:
    successors = [command.successor_id] if command.successor_id is not None else []
    return Needs(group_id=command.group_id, member_ids=[actor.user_id, *successors])


def _of_speaker(command: SendMessage, actor: Actor) -> Needs:
    users = [actor.user_id]
    return Needs(
        group_id=command.group_id,
        member_ids=users,
        remembered_ids=users,
        remembers_participants=True,
    )


def _of_recall(command: RecallMessage, actor: Actor) -> Needs:
    return Needs(group_id=command.group_id, member_ids=[actor.user_id], entry_seq=command.seq)


def _of_recalls(command: RecallMessages, actor: Actor) -> Needs:
    return Needs(
        group_id=command.group_id, member_ids=[actor.user_id], entry_seqs=list(command.seqs)
    )


def _of_reader(command: MarkRead, actor: Actor) -> Needs:
    return Needs(
        group_id=command.group_id,
        member_ids=[actor.user_id],
        read_state_of=actor.user_id,
        read_seq=command.seq,
    )


def _of_attributes(
    command: SetAttributes | DeleteAttributes | ReplaceAttributes, actor: Actor
) -> Needs:
    return Needs(group_id=command.group_id, member_ids=[actor.user_id], attributes=True)


def _of_counters(command: AddCounters | SetCounters | DeleteCounters, actor: Actor) -> Needs:
    return Needs(group_id=command.group_id, member_ids=[actor.user_id], counters=True)


def _of_member(command: UpdateMember, actor: Actor) -> Needs:
    return Needs(
        group_id=command.group_id,
        member_ids=[actor.user_id, command.user_id],
        remembered_ids=[command.user_id],
        remembers_participants=True,
        read_state_of=command.user_id,
    )


def _of_muted(command: MuteMembers, actor: Actor) -> Needs:
    return Needs(
        group_id=command.group_id,
        member_ids=[actor.user_id, *command.user_ids],
        remembered_ids=command.user_ids,
        remembers_participants=True,
    )


def _of_imported(command: ImportMembers, actor: Actor) -> Needs:
    users = [member.user_id for member in command.members]
    return Needs(
        group_id=command.group_id,
        member_ids=users,
        remembered_ids=users,
        counted_user_ids=users,
        read_state_of=actor.user_id,
    )


def _of_log(command: ImportMessages | DeleteMessagesOf, _actor: Actor) -> Needs:
    return Needs(group_id=command.group_id, last_entries=imports.LOOKED_AT)


def _of_unread(command: SetUnread, _actor: Actor) -> Needs:
    return Needs(
        group_id=command.group_id, member_ids=[command.user_id], read_state_of=command.user_id
    )


def _of_banned(command: BanUsers, _actor: Actor) -> Needs:
    return Needs(
        group_id=command.group_id, member_ids=command.user_ids, remembered_ids=command.user_ids
    )


def _of_told(command: SendNotice, actor: Actor) -> Needs:
    return Needs(group_id=command.group_id, member_ids=[actor.user_id, *command.user_ids])


def _of_joiner(command: JoinGroup, actor: Actor) -> Needs:
    users = [actor.user_id]
    return Needs(
        group_id=command.group_id,
        member_ids=users,
        remembered_ids=users,
        counted_user_ids=users,
    )


def _of_invited(command: InviteMembers, actor: Actor) -> Needs:
    return Needs(
        group_id=command.group_id,
        member_ids=[actor.user_id, *command.user_ids],
        remembered_ids=command.user_ids,
        counted_user_ids=command.user_ids,
    )


def _of_removed(command: RemoveMembers, actor: Actor) -> Needs:
    return Needs(group_id=command.group_id, member_ids=[actor.user_id, *command.user_ids])


def _of_list_reader(_command: ReadApplications, actor: Actor) -> Needs:
    return Needs(seen_by=actor.user_id)


def _of_handler(command: HandleApplications, actor: Actor) -> Needs:
    # The groups are named by the applications; the actor is looked for in each of them.
    return Needs(member_ids=[actor.user_id], application_ids=command.application_ids)


_CASES: Final[Mapping[type[ChangingCommand], _Case]] = {
    CreateGroup: _Case(_of_create, creation.create_group),
    DisbandGroup: _Case(_of_actor, lifecycle.disband_group),
    TransferGroup: _Case(_of_transfer, lifecycle.transfer_group),
    RecognizeUser: _Case(_of_newcomer, admission.recognize_user),
    RecycleGroup: _Case(_of_nobody, lifecycle.recycle_group),
    UpdateGroup: _Case(_of_actor, profile.update_group),
    SetAttributes: _Case(_of_attributes, profile.set_attributes),
    DeleteAttributes: _Case(_of_attributes, profile.delete_attributes),
    AddCounters: _Case(_of_counters, profile.add_counters),
    UpdateMember: _Case(_of_member, members.update_member),
    AdjustMember: _Case(_of_member, members.adjust_member),
    InviteMembers: _Case(_of_invited, invitations.invite_members),
    JoinGroup: _Case(_of_joiner, membership.join_group),
    QuitGroup: _Case(_of_quitter, membership.quit_group),
    RemoveMembers: _Case(_of_removed, membership.remove_members),
    ReadApplications: _Case(_of_list_reader, applications.read_applications),
    HandleApplications: _Case(_of_handler, applications.handle_applications),
    SendMessage: _Case(_of_speaker, messages.send_message),
    SendControlled: _Case(_of_speaker, messages.send_message),
    RecallMessage: _Case(_of_recall, messages.recall_message),
    RecallMessages: _Case(_of_recalls, messages.recall_messages),
    FoundGroup: _Case(_of_founder, creation.found_group),
    AddMembers: _Case(_of_invited, invitations.add_members),
    ExpelMembers: _Case(_of_removed, membership.expel_members),
    MuteMembers: _Case(_of_muted, operations.mute_members),
    SendNotice: _Case(_of_told, operations.send_notice),
    ReplaceAttributes: _Case(_of_attributes, operations.replace_attributes),
    SetCounters: _Case(_of_counters, operations.set_counters),
    DeleteCounters: _Case(_of_counters, operations.delete_counters),
    ImportMembers: _Case(_of_imported, imports.import_members),
    ImportMessages: _Case(_of_log, imports.import_messages),
    SetUnread: _Case(_of_unread, imports.set_unread),
    DeleteMessagesOf: _Case(_of_log, imports.delete_messages_of),
    BanUsers: _Case(_of_banned, operations.ban_users),
    RecognizeUsers: _Case(_of_newcomers, admission.recognize_users),
    RevokeTokens: _Case(_of_revoked, admission.revoke_tokens),
    ForgetUsers: _Case(_of_forgotten, admission.forget_users),
    MarkRead: _Case(_of_reader, messages.mark_read),
}
"""Every changing command; a test holds the table of methods against it."""
