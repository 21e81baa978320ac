"""What the operator takes over from elsewhere, and what the operator does to a log afterwards."""

from typing import Final

import msgspec

from protocol.commands import SendMessage
from protocol.errors import ErrorCode, Refused
from protocol.events import MessageData, Read
from protocol.identifiers import is_user_id
from protocol.results import MemberResult, MemberResultKind, MemberResults, Nothing
from protocol.vocabulary import EventKind, Message, Notice, Role
from server.domain import announcements, arrivals, messages
from server.domain.admission import admit
from server.domain.jobs import (
    DeleteMessagesOf,
    ImportedMember,
    ImportedMessages,
    ImportMembers,
    ImportMessages,
    SetUnread,
)
from server.domain.model import (
    Actor,
    Decision,
    Group,
    Member,
    PlaceAt,
    Redaction,
    Slice,
    unread_of,
)
from server.domain.refusals import failed, living_group, not_imported
from server.domain.rules import Operation, Rulebook, standing_of

LOOKED_AT: Final = 1_000
"""How many of the newest entries are looked at for a sender's messages."""


def import_members(
    rulebook: Rulebook, state: Slice, command: ImportMembers, actor: Actor, now_ms: int
) -> Decision:
    """Those who can be members are, since when they were elsewhere and with what they had read."""
    group = living_group(state, command.group_id)
    if not rulebook.traits[group.type].stores_members:
        raise not_imported(group.type)
    added: dict[str, Member] = {}
    places: list[PlaceAt] = []
    results: list[MemberResult] = []
    for wanted in command.members:
        if state.members.get(wanted.user_id) is not None or wanted.user_id in added:
            results.append(
                MemberResult(user_id=wanted.user_id, result=MemberResultKind.ALREADY_MEMBER)
            )
            continue
        refused = _refused(rulebook, group, wanted, actor, now_ms) or admit(
            rulebook, wanted.user_id, state, group=group, coming=len(added)
        )
        if refused is not None:
            results.append(failed(wanted.user_id, refused))
            continue
        joined_ms = now_ms if wanted.join_time_ms is None else wanted.join_time_ms
        member = arrivals.new_member(rulebook, group, state, wanted.user_id, now_ms)
        added[wanted.user_id] = msgspec.structs.replace(
            member, role=wanted.role, join_time_ms=joined_ms
        )
        places.append(_placed(group, wanted.user_id, state, wanted.unread))
        results.append(MemberResult(user_id=wanted.user_id, result=MemberResultKind.ADDED))
    result = MemberResults(members=results)
    if not added:
        return Decision(result=result)
    after = arrivals.grown(group, len(added))
    return Decision(
        result=result,
        puts=arrivals.rows_of_added(after, list(added.values())),
        places=places,
        entries=[announcements.told_to_operator(after, tuple(added), actor.user_id, now_ms)],
    )


def import_messages(
    rulebook: Rulebook, state: Slice, command: ImportMessages, actor: Actor, now_ms: int
) -> Decision:
    """The messages are in the log, with the times that they had; all of them or none.

    The connected members get them as they get every entry.
    """
    group = living_group(state, command.group_id)
    if not rulebook.traits[group.type].stores_messages:
        raise not_imported(group.type)
    latest_ms = _whole_seconds(_latest_ms(state))
    entries = []
    for place, said in enumerate(command.messages):
        _check_message(rulebook, group, command, place)
        if not latest_ms <= said.time_ms <= now_ms:
            raise Refused(
                ErrorCode.BAD_REQUEST,
                "messages come in the order of their times, after the group's last one",
                field=f"messages[{place}].time_ms",
                have=said.time_ms,
                need=latest_ms,
            )
        latest_ms = said.time_ms
        message_id = f"{state.fresh_token}{place}"
        data = MessageData(body=said.body)
        entries.append(
            announcements.message(
                group, said.from_id, message_id, said.time_ms, data, is_stored=True
            )
        )
    return Decision(result=ImportedMessages(), entries=entries)


def set_unread(
    rulebook: Rulebook, state: Slice, command: SetUnread, actor: Actor, now_ms: int
) -> Decision:
    """The member has so many unread; nothing where the type counts none."""
    group = living_group(state, command.group_id)
    if not rulebook.traits[group.type].counts_unread:
        return Decision(result=Nothing())
    if state.members.get(command.user_id) is None:
        raise Refused(
            ErrorCode.USER_NOT_FOUND, "the user is not in the group", user_id=command.user_id[:64]
        )
    place = _placed(group, command.user_id, state, command.unread)
    head = state.read_state
    unread = unread_of(head.head_seq, head.head_quiet, place.seq, place.quiet)
    told = announcements.notice_to(
        command.user_id,
        Notice.READ,
        group.group_id,
        actor.user_id,
        now_ms,
        Read(read_seq=place.seq, unread=unread),
    )
    return Decision(
        result=Nothing(),
        places=[place],
        entries=[told],
    )


def delete_messages_of(
    _rulebook: Rulebook, state: Slice, command: DeleteMessagesOf, _actor: Actor, _now_ms: int
) -> Decision:
    """The messages of that sender among the last LOOKED_AT entries have lost their content."""
    group = living_group(state, command.group_id)
    redactions = []
    for seq, entry in state.last_entries:
        is_message = entry.kind is EventKind.MESSAGE and entry.event == Message.MESSAGE
        if not is_message or entry.from_id != command.from_id:
            continue
        data: MessageData = msgspec.convert(entry.data, MessageData)
        if not data.recalled:
            redactions.append(Redaction(group.group_id, seq, messages.recalled_data(data)))
    return Decision(result=Nothing(), redactions=redactions)


def _placed(group: Group, user_id: str, state: Slice, unread: int) -> PlaceAt:
    """So many before the end of the log, as far as so many count; the quiet ones are behind it."""
    head = state.read_state
    back = min(unread, head.head_seq - head.head_quiet)
    return PlaceAt(group.group_id, user_id, head.head_seq - back, head.head_quiet)


def _refused(
    rulebook: Rulebook, group: Group, wanted: ImportedMember, actor: Actor, now_ms: int
) -> Refused | None:
    if wanted.role is Role.OWNER:
        return Refused(ErrorCode.BAD_REQUEST, "members are imported as admin or member")
    if wanted.role is Role.ADMIN:
        try:
            rulebook.require(Operation.APPOINT_ADMINS, group.type, standing_of(actor, None))
        except Refused as refused:
            return refused
    joined_ms = wanted.join_time_ms
    created_ms = _whole_seconds(group.create_time_ms)
    if joined_ms is not None and not created_ms <= joined_ms <= now_ms:
        return Refused(
            ErrorCode.BAD_REQUEST, "the time of joining is between the group's creation and now"
        )
    return None


def _whole_seconds(time_ms: int) -> int:
    """The beginning of the second: what is imported has its times in whole seconds."""
    return time_ms // 1000 * 1000


def _latest_ms(state: Slice) -> int:
    """When the last message of the log was said, as far as the slice shows it."""
    return max(
        (entry.time_ms for _seq, entry in state.last_entries if entry.kind is EventKind.MESSAGE),
        default=0,
    )


def _check_message(rulebook: Rulebook, group: Group, command: ImportMessages, place: int) -> None:
    said = command.messages[place]
    most = rulebook.limit("USER_ID_BYTES") or 0
    if not is_user_id(said.from_id, max_bytes=most):
        raise Refused(ErrorCode.INVALID_USER_ID, user_id=said.from_id[:64])
    messages.check_message(rulebook, SendMessage(group_id=group.group_id, body=said.body))
