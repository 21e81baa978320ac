"""What members say: send."""

import msgspec

from protocol.commands import SendMessage
from protocol.errors import ErrorCode, Refused
from protocol.events import MessageData
from protocol.messages import CustomElement
from protocol.results import SendMessageResult
from server.domain import announcements
from server.domain.model import Actor, Decision, Group, Member, Slice, Spoke
from server.domain.refusals import living_group
from server.domain.rules import Operation, Rulebook, Standing, standing_of
from server.domain.text import check_count, check_length


def send_message(
    rulebook: Rulebook, state: Slice, command: SendMessage, actor: Actor, now_ms: int
) -> Decision:
    """The message goes to the group's log, or to those connected where it is not stored.

    Its ID is ``state.fresh_token``. The sender has read up to it.
    """
    group = living_group(state, command.group_id)
    member = state.members.get(actor.user_id)
    standing = standing_of(actor, member)
    rulebook.require(Operation.SEND_MESSAGE, group.type, standing)
    _check_message(rulebook, command)
    _require_voice(group, member, standing, now_ms)
    is_stored = rulebook.traits[group.type].stores_messages and not command.online_only
    data = MessageData(
        body=command.body,
        priority=command.priority,
        at_user_ids=command.at_user_ids,
        custom_data=command.custom_data,
        online_only=command.online_only,
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


def _check_message(rulebook: Rulebook, command: SendMessage) -> None:
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
    check_count(rulebook, "at_user_ids", len(command.at_user_ids), "AT_USERS")
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
