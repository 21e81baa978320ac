"""Send, recall, read positions (``groups.md`` sections 1 and 3)."""

from collections.abc import Sequence

import msgspec
import pytest

from protocol import commands, messages
from protocol.errors import ErrorCode
from protocol.events import MessageData
from protocol.messages import Element, text_body
from protocol.results import Nothing, SendMessageResult, UnreadResult
from protocol.vocabulary import EventKind, GroupType, MessagePriority
from server.domain.jobs import SendControlled
from server.domain.model import Decision, Entry, ReadState, ReadUpTo, Redaction, Slice, Spoke
from tests.domain.building import (
    ADAM,
    NOW_MS,
    OLGA,
    ROOT,
    SAM,
    STORED_TYPES,
    TYPES,
    done,
    group,
    member,
    refused,
    rules,
    state,
    tea,
)

ELEMENTS: list[Element] = [
    messages.TextElement(content=messages.TextContent(text="hello")),
    messages.CustomElement(content=messages.CustomContent(data="d", desc="e", ext="f", sound="g")),
    messages.FaceElement(content=messages.FaceContent(index=7, data="smile")),
    messages.LocationElement(
        content=messages.LocationContent(desc="here", latitude=-89.5, longitude=179.25)
    ),
    messages.ImageElement(
        content=messages.ImageContent(
            uuid="u",
            format=1,
            images=[messages.ImageVariant(type=1, size=2, width=3, height=4, url="http://i")],
        )
    ),
    messages.SoundElement(content=messages.SoundContent(url="u", uuid="v", size=1, seconds=2)),
    messages.FileElement(content=messages.FileContent(url="u", uuid="v", size=1, name="n")),
    messages.VideoElement(
        content=messages.VideoContent(
            url="u",
            uuid="v",
            size=1,
            seconds=2,
            format="mp4",
            thumb_url="t",
            thumb_uuid="w",
            thumb_size=3,
            thumb_width=4,
            thumb_height=5,
            thumb_format="jpg",
        )
    ),
    messages.RelayElement(
        content=messages.RelayContent(
            title="t", abstracts=["a"], compatible_text="c", messages=[{"from": "ann", "n": 1}]
        )
    ),
]


def send(body: Sequence[Element] | str = "hello", **fields: object) -> commands.SendMessage:
    elements = text_body(body) if isinstance(body, str) else list(body)
    command = commands.SendMessage(group_id="g", body=elements)
    return msgspec.structs.replace(command, **fields)


def body_of(size: int, element: str = "x") -> list[Element]:
    """A body whose JSON has so many bytes."""
    empty = len(msgspec.json.encode(text_body("")))
    count, rest = divmod(size - empty, len(element.encode()))
    body = text_body(element * count + "x" * rest)
    assert len(msgspec.json.encode(body)) == size
    return body


def sent(decision: Decision) -> MessageData:
    (entry,) = decision.entries
    assert isinstance(entry.data, MessageData)
    return entry.data


def told_by(user_id: str, age_ms: int = 0, **fields: object) -> Slice:
    """A message of the log, as the store has it: maps and strings."""
    data = msgspec.to_builtins(MessageData(body=text_body("oops"), at_user_ids=["sam"]))
    entry = Entry(
        kind=EventKind.MESSAGE,
        event="message",
        group_id="g",
        time_ms=NOW_MS - age_ms,
        from_id=user_id,
        data=data,
    )
    return tea(seen={"entry": msgspec.structs.replace(entry, **fields)})


RECALL = commands.RecallMessage(group_id="g", seq=3, reason="typo")


@pytest.mark.parametrize("group_type", TYPES)
@pytest.mark.parametrize("element", ELEMENTS, ids=lambda element: type(element).__name__)
def test_every_element_is_told_as_it_was_sent(group_type: GroupType, element: Element) -> None:
    decision = done(tea(group_type, seen={"fresh_token": "m1"}), send([element]), "mia")
    assert sent(decision).body == [element]
    assert decision.result == SendMessageResult(message_id="m1", time_ms=NOW_MS)
    assert dict(decision.puts) == {}, "a message is no change of the group"


def test_what_goes_with_a_message() -> None:
    command = send(
        priority=MessagePriority.LOWEST,
        at_user_ids=["sam", "zoe"],
        custom_data="c",
        online_only=True,
    )
    assert sent(done(tea(), command, "mia")) == MessageData(
        body=text_body("hello"),
        priority=MessagePriority.LOWEST,
        at_user_ids=["sam", "zoe"],
        custom_data="c",
        online_only=True,
    )
    assert sent(done(tea(), send(), "mia")).priority is MessagePriority.NORMAL
    for priority in MessagePriority:
        assert sent(done(tea(), send(priority=priority), "mia")).priority is priority


def test_a_stored_message_of_a_member_is_the_members_last() -> None:
    assert done(tea(), send(), "mia").spoke == Spoke("g", "mia")
    assert done(tea(), send(), ROOT).spoke is None, "the operator is no member"
    assert done(tea(), send(online_only=True), "mia").spoke is None
    assert done(tea(GroupType.AVCHATROOM), send(), "mia").spoke is None


def test_a_body_has_1_to_16_elements_and_one_custom_element() -> None:
    one = ELEMENTS[0]
    done(tea(), send([one] * 16), "mia")
    for count in (0, 17):
        refusal = refused(tea(), send([one] * count), "mia")
        assert (refusal.code, refusal.detail["field"]) == (ErrorCode.BAD_REQUEST, "body")
        assert refusal.detail["have"] == count
    done(tea(), send([ELEMENTS[1], one]), "mia")
    assert refused(tea(), send([ELEMENTS[1], one, ELEMENTS[1]]), "mia").code == 10004


@pytest.mark.parametrize("element", ["x", "ü", "\U0001f375"])
def test_a_body_has_12_kib_at_most(element: str) -> None:
    done(tea(), send(body_of(12_288, element)), "mia")
    refusal = refused(tea(), send(body_of(12_289, element)), "mia")
    assert refusal.code is ErrorCode.MESSAGE_TOO_LARGE
    assert (refusal.detail["have"], refusal.detail["need"]) == (12_289, 12_288)


def test_30_users_are_mentioned_at_most() -> None:
    users = [f"u{number}" for number in range(31)]
    done(tea(), send(at_user_ids=users[:30]), "mia")
    refusal = refused(tea(), send(at_user_ids=users), "mia")
    assert refusal.code is ErrorCode.TOO_MANY_MENTIONS
    assert (refusal.detail["have"], refusal.detail["need"]) == (31, 30)


@pytest.mark.parametrize("wrong", ["", "x" * 33, "ünit", "a\nb"])
def test_who_is_mentioned_is_named_by_a_user_id(wrong: str) -> None:
    refusal = refused(tea(), send(at_user_ids=["sam", wrong]), "mia")
    assert refusal.code in {ErrorCode.INVALID_USER_ID, ErrorCode.BAD_REQUEST}


def test_custom_data_has_8_kib_at_most() -> None:
    done(tea(), send(custom_data="ü" * 4096), "mia")
    assert refused(tea(), send(custom_data="ü" * 4096 + "x"), "mia").code == 10004


@pytest.mark.parametrize("group_type", TYPES)
def test_who_is_muted_does_not_speak_until_the_time(group_type: GroupType) -> None:
    def with_mute(until_ms: int) -> Slice:
        return state(group(group_type), OLGA, ADAM, SAM, member("mia", mute_until_ms=until_ms))

    refusal = refused(with_mute(NOW_MS + 1), send(), "mia")
    assert refusal.code is ErrorCode.MUTED
    assert refusal.detail == {"rule": "mute_until_ms", "have": NOW_MS, "need": NOW_MS + 1}
    for until_ms in (NOW_MS, NOW_MS - 1, 0):
        done(with_mute(until_ms), send(), "mia")
    done(with_mute(NOW_MS + 1), send(), "mia", now_ms=NOW_MS + 1)


@pytest.mark.parametrize("group_type", TYPES)
def test_while_all_are_muted_those_above_members_speak(group_type: GroupType) -> None:
    of = tea(group_type, mute_all=True)
    refusal = refused(of, send(), "mia")
    assert refusal.code is ErrorCode.MUTED
    assert refusal.detail == {"rule": "mute_all", "have": "member", "need": "admin"}
    for who in ("olga", "adam", ROOT):
        done(of, send(), who)
    assert refused(of, send(online_only=True), "mia").code is ErrorCode.MUTED


@pytest.mark.parametrize("group_type", STORED_TYPES)
def test_a_recalled_message_keeps_its_number_and_loses_its_content(group_type: GroupType) -> None:
    of = msgspec.structs.replace(told_by("mia"), group=group(group_type))
    decision = done(of, RECALL, "mia")
    empty = MessageData(body=[], recalled=True)
    assert list(decision.redactions) == [Redaction("g", 3, empty)]
    assert (decision.result, dict(decision.puts)) == (Nothing(), {})


def test_ones_own_message_is_recalled_within_two_minutes() -> None:
    done(told_by("mia", 120_000), RECALL, "mia")
    refusal = refused(told_by("mia", 120_001), RECALL, "mia")
    assert refusal.code is ErrorCode.RECALL_TOO_LATE
    assert refusal.detail == {"rule": "recall_ms", "have": 120_001, "need": 120_000}
    done(told_by("mia", 10**9), RECALL, "mia", rules(limits={"RECALL_MS": 0}))
    assert refused(told_by("mia", 11), RECALL, "mia", rules(limits={"RECALL_MS": 10})).code == 10031


def test_admins_and_the_owner_recall_any_at_any_time() -> None:
    for who in ("adam", "olga", ROOT):
        for author in ("mia", "olga", "adam", "left"):
            done(told_by(author, 10**9), RECALL, who)
    for author in ("sam", "olga"):
        assert refused(told_by(author), RECALL, "mia").detail["rule"] == "recall_any"
    assert refused(told_by("zoe"), RECALL, "zoe").code is ErrorCode.NO_PERMISSION


def test_only_messages_that_are_there_are_recalled_and_once() -> None:
    assert refused(tea(), RECALL, "olga").code is ErrorCode.MESSAGE_NOT_FOUND
    for fields in (
        {"kind": EventKind.TIP, "event": "member_joined"},
        {"kind": EventKind.NOTICE, "event": "group_disbanded"},
        {"event": "message_recalled"},
        {"data": {"body": [], "recalled": True}},
    ):
        refusal = refused(told_by("mia", 0, **fields), RECALL, "mia")
        assert refusal.code is ErrorCode.NOT_RECALLABLE


@pytest.mark.parametrize("group_type", STORED_TYPES)
def test_a_read_position_goes_forward_and_not_past_the_end(group_type: GroupType) -> None:
    counts = group_type is not GroupType.MEETING
    of = tea(group_type, seen={"read_state": ReadState(head_seq=9, read_seq=4)})
    for seq, read in ((5, 5), (9, 9), (10, 9), (2**53 - 1, 9)):
        decision = done(of, commands.MarkRead(group_id="g", seq=seq), "mia")
        assert decision.reads == ReadUpTo("g", "mia", read)
        assert decision.result == UnreadResult(unread=9 - read if counts else 0)
    for seq in (0, 3, 4):
        decision = done(of, commands.MarkRead(group_id="g", seq=seq), "mia")
        assert decision == Decision(result=UnreadResult(unread=5 if counts else 0))


def test_what_is_quiet_is_not_counted() -> None:
    """Of nine entries four are quiet, two of them after the sixth."""
    place = ReadState(head_seq=9, head_quiet=4, read_seq=2, read_quiet=1)
    for seq, above, unread, quiet in ((6, 2, 1, 2), (9, 0, 0, 4), (99, 0, 0, 4)):
        of = tea(seen={"read_state": place, "quiet_above": above})
        decision = done(of, commands.MarkRead(group_id="g", seq=seq), "mia")
        assert decision.result == UnreadResult(unread=unread)
        assert decision.reads == ReadUpTo("g", "mia", min(seq, 9), quiet)
    of = tea(seen={"read_state": place, "quiet_above": 4})
    nothing = done(of, commands.MarkRead(group_id="g", seq=1), "mia")
    assert nothing == Decision(result=UnreadResult(unread=4))


@pytest.mark.parametrize("no_unread", [True, False])
@pytest.mark.parametrize("no_last_message", [True, False])
def test_what_a_message_does_not_count_as(no_unread: bool, no_last_message: bool) -> None:
    command = SendControlled(
        group_id="g",
        body=text_body("psst"),
        no_unread=no_unread,
        no_last_message=no_last_message,
    )
    decision = done(tea(), command, ROOT)
    (entry,) = decision.entries
    assert (entry.is_quiet, entry.is_passing) == (no_unread, no_last_message)
    data = sent(decision)
    assert (data.no_unread, data.no_last_message) == (no_unread, no_last_message)
    plain = sent(done(tea(), send("psst"), ROOT))
    assert (plain.no_unread, plain.no_last_message) == (False, False)
    told = told_by("mia", data=msgspec.to_builtins(data))
    (redaction,) = done(told, RECALL, ROOT).redactions
    assert (redaction.data.no_unread, redaction.data.no_last_message) == (
        no_unread,
        no_last_message,
    )


def test_who_is_not_in_the_group_has_no_read_position() -> None:
    for who in ("zoe", ROOT):
        refusal = refused(tea(), commands.MarkRead(group_id="g", seq=1), who)
        assert refusal.code is ErrorCode.NO_PERMISSION
