"""What members say: send, recall, and how far they have read."""

import msgspec

from protocol.commands import MarkRead, RecallMessage, SendMessage
from protocol.errors import ErrorCode, Refused
from protocol.events import MessageData, Read
from protocol.identifiers import is_user_id
from protocol.messages import CustomElement
from protocol.results import Nothing, SendMessageResult, UnreadResult
from protocol.vocabulary import EventKind, Message, Notice
from server.domain import announcements
from server.domain.jobs import RecallMessages, RecallResults, SendControlled
from server.domain.model import (
    Actor,
    Decision,
    Entry,
    Group,
    Member,
    ReadUpTo,
    Redaction,
    Slice,
    Spoke,
    unread_of,
)
from server.domain.refusals import living_group
from server.domain.rules import (
    Operation,
    Rulebook,
    Standing,
    standing_of,
    standing_of_member,
)
from server.domain.text import check_count, check_length, check_paragraph


def send_message(
    rulebook: Rulebook, state: Slice, command: SendMessage, actor: Actor, now_ms: int
) -> Decision:
    """The message goes to the group's log, or to those connected where it is not stored.

    Its ID is ``state.fresh_token``. The sender has read up to it. Who gets it is told what it does
    not count as.
    """
    group = living_group(state, command.group_id)
    member = state.members.get(actor.user_id)
    standing = standing_of(actor, member)
    rulebook.require(Operation.SEND_MESSAGE, group.type, standing)
    check_message(rulebook, command)
    _require_voice(group, member, standing, now_ms)
    is_stored = rulebook.traits[group.type].stores_messages and not command.online_only
    data = MessageData(
        body=command.body,
        priority=command.priority,
        at_user_ids=command.at_user_ids,
        custom_data=command.custom_data,
        online_only=command.online_only,
        no_unread=isinstance(command, SendControlled) and command.no_unread,
        no_last_message=isinstance(command, SendControlled) and command.no_last_message,
    )
    entry = announcements.message(
        group, actor.user_id, state.fresh_token, now_ms, data, is_stored=is_stored
    )
    is_counted = is_stored and member is not None
    return Decision(
        result=SendMessageResult(message_id=state.fresh_token, time_ms=now_ms),
        spoke=Spoke(group.group_id, actor.user_id) if is_counted else None,
        entries=[entry],
    )


def recall_message(
    rulebook: Rulebook, state: Slice, command: RecallMessage, actor: Actor, now_ms: int
) -> Decision:
    """The message keeps its number and loses its content; the members are told."""
    group = living_group(state, command.group_id)
    member = state.members.get(actor.user_id)
    standing = standing_of(actor, member)
    rulebook.require(Operation.SEND_MESSAGE, group.type, standing)
    check_paragraph(rulebook, "reason", command.reason, "REASON_BYTES")
    entry = state.entry
    if entry is None:
        raise Refused(ErrorCode.MESSAGE_NOT_FOUND, field="seq", have=command.seq)
    if entry.kind is not EventKind.MESSAGE or entry.event != Message.MESSAGE:
        raise Refused(ErrorCode.NOT_RECALLABLE, field="seq", have=entry.event)
    data: MessageData = msgspec.convert(entry.data, MessageData)
    if data.recalled:
        raise Refused(ErrorCode.NOT_RECALLABLE, field="seq", have="recalled")
    _require_may_recall(rulebook, group, entry, actor, standing, now_ms)
    redacted = recalled_data(data)
    told = announcements.message_recalled(
        group, entry.from_id or "", command.seq, command.reason, actor.user_id, now_ms
    )
    return Decision(
        result=Nothing(),
        redactions=[Redaction(group.group_id, command.seq, redacted)],
        entries=[told],
    )


def recall_messages(
    rulebook: Rulebook, state: Slice, command: RecallMessages, actor: Actor, now_ms: int
) -> Decision:
    """Each of the messages is taken back as by ``recall_message``, or the answer says why not."""
    group = living_group(state, command.group_id)
    standing = standing_of(actor, state.members.get(actor.user_id))
    rulebook.require(Operation.SEND_MESSAGE, group.type, standing)
    check_paragraph(rulebook, "reason", command.reason, "REASON_BYTES")
    codes: list[int] = []
    redactions: dict[int, Redaction] = {}
    told: list[Entry] = []
    for seq in command.seqs:
        one = RecallMessage(group_id=group.group_id, seq=seq, reason=command.reason)
        seen = msgspec.structs.replace(state, entry=state.entries.get(seq))
        try:
            if seq in redactions:
                raise Refused(ErrorCode.NOT_RECALLABLE, field="seq", have="recalled")
            decision = recall_message(rulebook, seen, one, actor, now_ms)
        except Refused as refused:
            codes.append(refused.number)
            continue
        codes.append(0)
        redactions[seq] = decision.redactions[0]
        told += decision.entries
    result = RecallResults(codes=codes)
    return Decision(result=result, redactions=list(redactions.values()), entries=told)


def recalled_data(data: MessageData) -> MessageData:
    """What is left of a message that was taken back: what it counted as goes on."""
    return MessageData(
        body=[],
        priority=data.priority,
        recalled=True,
        no_unread=data.no_unread,
        no_last_message=data.no_last_message,
    )


def mark_read(
    rulebook: Rulebook, state: Slice, command: MarkRead, actor: Actor, now_ms: int
) -> Decision:
    """The actor has read up to ``seq``, at most the log's end; the own devices are told."""
    group = living_group(state, command.group_id)
    member = state.members.get(actor.user_id)
    # An operator who is no member has no position to move.
    rulebook.require(Operation.MARK_READ, group.type, standing_of_member(member))
    place = state.read_state
    seq = max(place.read_seq, min(command.seq, place.head_seq))
    quiet = max(place.read_quiet, place.head_quiet - state.quiet_above)
    counts = rulebook.traits[group.type].counts_unread
    unread = unread_of(place.head_seq, place.head_quiet, seq, quiet) if counts else 0
    result = UnreadResult(unread=unread)
    if seq == place.read_seq:
        return Decision(result=result)
    notice = announcements.notice_to(
        actor.user_id,
        Notice.READ,
        group.group_id,
        actor.user_id,
        now_ms,
        Read(read_seq=seq, unread=unread),
    )
    return Decision(
        result=result,
        reads=ReadUpTo(group.group_id, actor.user_id, seq, quiet),
        entries=[notice],
    )


def _require_may_recall(
    rulebook: Rulebook, group: Group, entry: Entry, actor: Actor, standing: Standing, now_ms: int
) -> None:
    """One's own for a while; anybody's for those whom the table names."""
    if entry.from_id != actor.user_id or actor.is_app_admin:
        rulebook.require(Operation.RECALL_ANY, group.type, standing)
        return
    most_ms = rulebook.limit("RECALL_MS")
    may_any = rulebook.rights[Operation.RECALL_ANY][group.type].allows(standing)
    age_ms = now_ms - entry.time_ms
    if most_ms is not None and age_ms > most_ms and not may_any:
        raise Refused(ErrorCode.RECALL_TOO_LATE, rule="recall_ms", have=age_ms, need=most_ms)


def check_message(rulebook: Rulebook, command: SendMessage) -> None:
    """Return if the message is within its limits.

    Raises:
        Refused: BAD_REQUEST, MESSAGE_TOO_LARGE, TOO_MANY_MENTIONS or INVALID_USER_ID.
    """
    check_count(rulebook, "body", len(command.body), "BODY_ELEMENTS", at_least=1)
    if sum(isinstance(element, CustomElement) for element in command.body) > 1:
        raise Refused(ErrorCode.BAD_REQUEST, "body has more than one custom element", field="body")
    most = rulebook.limit("BODY_BYTES")
    length = len(msgspec.json.encode(command.body))
    if most is not None and length > most:
        raise Refused(
            ErrorCode.MESSAGE_TOO_LARGE,
            f"body is {length} bytes of JSON; at most {most} are allowed",
            field="body",
            rule="body_bytes",
            have=length,
            need=most,
        )
    check_count(
        rulebook,
        "at_user_ids",
        len(command.at_user_ids),
        "AT_USERS",
        code=ErrorCode.TOO_MANY_MENTIONS,
    )
    most = rulebook.limit("USER_ID_BYTES") or 0
    for user_id in command.at_user_ids:
        if not is_user_id(user_id, max_bytes=most):
            raise Refused(ErrorCode.INVALID_USER_ID, field="at_user_ids", user_id=user_id[:64])
    check_length(rulebook, "custom_data", command.custom_data, "CUSTOM_DATA_BYTES")


def _require_voice(group: Group, member: Member | None, standing: Standing, now_ms: int) -> None:
    if group.mute_all and standing < Standing.ADMIN:
        raise Refused(
            ErrorCode.MUTED,
            "everyone in the group is muted",
            rule="mute_all",
            have=standing.name.lower(),
            need="admin",
        )
    is_operator = standing is Standing.APP_ADMIN
    if member is not None and member.mute_until_ms > now_ms and not is_operator:
        raise Refused(
            ErrorCode.MUTED,
            "the member is muted for a time",
            rule="mute_until_ms",
            have=now_ms,
            need=member.mute_until_ms,
        )
