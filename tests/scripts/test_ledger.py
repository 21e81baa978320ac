"""The same event is one entry in whatever form it comes, and another content is noticed."""

from typing import Any

import msgspec
import pytest

from protocol.codec import JSON, MSGPACK, Codec
from scripts.loadgen.ledger import Ledger, News, Reply, canonical

BODY = [{"type": "location", "content": {"desc": "é", "latitude": 1.5, "longitude": -2.25}}]
MESSAGE: dict[str, Any] = {
    "kind": "message",
    "event": "message",
    "group_id": "g",
    "seq": 3,
    "from_id": "ann",
    "message_id": "m",
    "time_ms": 1,
    "data": {"body": BODY, "custom_data": "7"},
}
NOTICE: dict[str, Any] = {
    "kind": "notice",
    "event": "invited",
    "op": 7,
    "group_id": "g",
    "inbox_seq": 1,
    "actor_id": "ann",
    "time_ms": 1,
    "data": {},
}


def read(
    ledger: Ledger, codec: Codec, *events: dict[str, Any], user_id: str = "ann", cursor: str = "c"
) -> News:
    frame = codec.encode({"type": "events", "cursor": cursor, "events": list(events)})
    news = ledger.read(frame, codec, user_id)
    assert isinstance(news, News)
    return news


@pytest.fixture
def ledger() -> Ledger:
    return Ledger({7: (1.25, canonical(BODY))})


def test_both_codecs_live_and_from_the_log_are_one_entry(ledger: Ledger) -> None:
    shuffled = dict(reversed(MESSAGE.items()))
    seen = [
        read(ledger, JSON, MESSAGE).entries[0],
        read(ledger, JSON, MESSAGE).entries[0],
        read(ledger, MSGPACK, MESSAGE).entries[0],
        read(ledger, MSGPACK, shuffled, cursor="d").entries[0],
        ledger.note(MESSAGE, "bob"),
    ]

    assert {id(entry) for entry in seen} == {id(ledger.entries[0])}
    assert (seen[0].mark, seen[0].actor_id, seen[0].number, seen[0].due_s) == (7, "ann", 3, 1.25)
    assert ledger.find("g", 3) is seen[0]
    assert ledger.altered == []


def test_another_content_at_the_same_place_is_altered(ledger: Ledger) -> None:
    read(ledger, JSON, MESSAGE)
    read(ledger, JSON, MESSAGE | {"time_ms": 2})

    assert len(ledger.altered) == 1
    assert "g 3" in ledger.altered[0]


def test_another_body_than_was_sent_is_altered(ledger: Ledger) -> None:
    data = {"body": [{"type": "text", "content": {"text": "x"}}], "custom_data": "7"}
    read(ledger, JSON, MESSAGE | {"data": data})

    assert ledger.altered == ["message 7 has another body than was sent"]


@pytest.mark.parametrize("codec", [JSON, MSGPACK])
def test_inboxes_of_two_users_are_two_logs_though_they_look_the_same(
    ledger: Ledger, codec: Codec
) -> None:
    one = read(ledger, codec, NOTICE, user_id="bob").entries[0]
    other = read(ledger, codec, NOTICE, user_id="cid").entries[0]

    assert one is not other
    assert (one.log, other.log) == ("bob", "cid")


def test_unstored_events_are_told_apart_by_content(ledger: Ledger) -> None:
    chatter = {name: value for name, value in MESSAGE.items() if name != "seq"}
    one = read(ledger, JSON, chatter).entries[0]
    again = read(ledger, MSGPACK, chatter).entries[0]
    other = read(ledger, JSON, chatter | {"message_id": "n"}).entries[0]

    assert one is again
    assert one is not other
    assert (one.number, other.number) == (0, 0)


def test_other_frames_are_read_as_what_they_are(ledger: Ledger) -> None:
    reply = {"type": "reply", "id": "1", "cursor": "c", "result": {"seq": 3}}
    frame = ledger.read(JSON.encode(reply), JSON, "ann")
    assert isinstance(frame, Reply)
    assert (frame.id, frame.result) == ("1", {"seq": 3})

    with pytest.raises(msgspec.DecodeError):
        ledger.read(b"{}", JSON, "ann")
