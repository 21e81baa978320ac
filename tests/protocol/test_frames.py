"""Every frame, byte by byte: what is written here is what other people's clients rely on."""

import json
from typing import Any

import msgpack
import msgspec
import pytest

from protocol import frames
from protocol.codec import JSON, MSGPACK, to_client_frame
from protocol.events import Event, Joined, MessageData
from protocol.events import GroupBasics as Basics
from protocol.messages import text_body
from protocol.results import ErrorBody, JoinGroupResult, JoinStatus, Nothing
from protocol.vocabulary import EventKind, GroupType

FROM_CLIENTS: dict[str, tuple[Any, str]] = {
    "hello": (
        frames.Hello(
            user_id="alice",
            user_sig="eJx",
            device_id="phone-1",
            platform="ios",
            client="muster-py/1.0",
            cursor="k7f2:1042",
        ),
        '{"type":"hello","user_id":"alice","user_sig":"eJx","device_id":"phone-1",'
        '"platform":"ios","client":"muster-py/1.0","cursor":"k7f2:1042"}',
    ),
    "the shortest hello": (
        frames.Hello(user_id="a", user_sig="", device_id="d"),
        '{"type":"hello","user_id":"a","user_sig":"","device_id":"d"}',
    ),
    "request": (
        frames.Request(id="01J9", method="get_groups", params={"group_ids": ["g"]}),
        '{"type":"request","id":"01J9","method":"get_groups","params":{"group_ids":["g"]}}',
    ),
    "a request without parameters": (
        frames.Request(id="1", method="list_devices"),
        '{"type":"request","id":"1","method":"list_devices"}',
    ),
    "ping": (frames.Ping(), '{"type":"ping"}'),
}

FROM_SERVERS: dict[str, tuple[Any, str]] = {
    "welcome": (
        frames.Welcome(
            session_id="s",
            resume=frames.Resume.FRESH,
            cursor="k7f2:1042",
            server_time_ms=1750000000000,
            server="muster/1.0",
            heartbeat_ms=25000,
            limits={"frame_bytes": 65536},
        ),
        '{"type":"welcome","session_id":"s","resume":"fresh","cursor":"k7f2:1042",'
        '"server_time_ms":1750000000000,"server":"muster/1.0","heartbeat_ms":25000,'
        '"limits":{"frame_bytes":65536}}',
    ),
    "a welcome that resets": (
        frames.Welcome(
            session_id="s",
            resume=frames.Resume.RESET,
            reason=frames.ResetReason.TOO_FAR,
            cursor="k:0",
            server_time_ms=0,
            server="",
            heartbeat_ms=0,
            limits={},
        ),
        '{"type":"welcome","session_id":"s","resume":"reset","cursor":"k:0","server_time_ms":0,'
        '"server":"","heartbeat_ms":0,"limits":{},"reason":"too_far"}',
    ),
    "a reply with a result": (
        frames.Reply(id="1", cursor="k:1", result=JoinGroupResult(status=JoinStatus.JOINED)),
        '{"type":"reply","id":"1","cursor":"k:1","result":{"status":"joined"}}',
    ),
    "a reply with nothing to tell": (
        frames.Reply(id="1", cursor="k:1", result=Nothing()),
        '{"type":"reply","id":"1","cursor":"k:1","result":{}}',
    ),
    "a reply with an error": (
        frames.Reply(
            id="1",
            cursor="k:1",
            error=ErrorBody(
                code=10007,
                name="NO_PERMISSION",
                message="no",
                retryable=False,
                detail={"rule": "disband", "have": "member", "need": "owner"},
            ),
        ),
        '{"type":"reply","id":"1","cursor":"k:1","error":{"code":10007,"name":"NO_PERMISSION",'
        '"message":"no","retryable":false,'
        '"detail":{"rule":"disband","have":"member","need":"owner"}}}',
    ),
    "a notice": (
        frames.Events(
            cursor="k7f2:1051",
            events=[
                Event(
                    kind=EventKind.NOTICE,
                    event="joined",
                    op=23,
                    inbox_seq=31,
                    group_id="g",
                    actor_id="alice",
                    time_ms=5,
                    data=Joined(
                        group=Basics(
                            type=GroupType.MEETING,
                            name="Crew",
                            face_url="",
                            owner_id="",
                            version=1,
                            member_count=2,
                            mute_all=False,
                        )
                    ),
                )
            ],
        ),
        '{"type":"events","cursor":"k7f2:1051","events":[{"kind":"notice","event":"joined",'
        '"group_id":"g","time_ms":5,"op":23,"inbox_seq":31,"actor_id":"alice","data":{"group":{'
        '"type":"Meeting","name":"Crew","face_url":"","owner_id":"","version":1,'
        '"member_count":2,"mute_all":false}}}]}',
    ),
    "a stored message and one that is not": (
        frames.Events(
            cursor="k:2",
            events=[
                Event(
                    kind=EventKind.MESSAGE,
                    event="message",
                    group_id="g",
                    seq=seq,
                    from_id="bob",
                    message_id="m",
                    time_ms=5,
                    data=MessageData(body=text_body("hé")),
                )
                for seq in (13, None)
            ],
        ),
        '{"type":"events","cursor":"k:2","events":['
        '{"kind":"message","event":"message","group_id":"g","time_ms":5,"seq":13,'
        '"from_id":"bob","message_id":"m",'
        '"data":{"body":[{"type":"text","content":{"text":"hé"}}]}},'
        '{"kind":"message","event":"message","group_id":"g","time_ms":5,'
        '"from_id":"bob","message_id":"m",'
        '"data":{"body":[{"type":"text","content":{"text":"hé"}}]}}]}',
    ),
    "pong": (
        frames.Pong(cursor="k7f2:1043", server_time_ms=5),
        '{"type":"pong","cursor":"k7f2:1043","server_time_ms":5}',
    ),
    "bye": (
        frames.Bye(code=4503, reason="draining", retry_after_ms=3200),
        '{"type":"bye","code":4503,"reason":"draining","retry_after_ms":3200}',
    ),
    "a bye with the original's number": (
        frames.Bye(code=4401, reason="expired", error_code=70001),
        '{"type":"bye","code":4401,"reason":"expired","error_code":70001}',
    ),
}
EVERY = FROM_CLIENTS | FROM_SERVERS


@pytest.mark.parametrize(("frame", "text"), EVERY.values(), ids=EVERY)
def test_a_frame_in_json_is_these_bytes(frame: object, text: str) -> None:
    assert JSON.encode(frame) == text.encode()


@pytest.mark.parametrize(("frame", "text"), EVERY.values(), ids=EVERY)
def test_a_frame_in_messagepack_is_the_same_values_in_the_same_order(
    frame: object, text: str
) -> None:
    """The second opinion: what another library writes for what the JSON says."""
    assert MSGPACK.encode(frame) == msgpack.packb(json.loads(text))


@pytest.mark.parametrize(("frame", "text"), FROM_CLIENTS.values(), ids=FROM_CLIENTS)
def test_a_clients_frame_is_read_back(frame: object, text: str) -> None:
    assert to_client_frame(JSON.decode(text.encode())) == frame
    assert to_client_frame(MSGPACK.decode(MSGPACK.encode(frame))) == frame


@pytest.mark.parametrize("kind", [frames.Welcome, frames.Reply, frames.Events, frames.Pong])
def test_every_frame_with_a_place_in_the_log_names_its_cursor(kind: type[msgspec.Struct]) -> None:
    required = {field.name for field in msgspec.structs.fields(kind) if field.required}
    assert "cursor" in required


def test_every_frame_of_either_side_is_written_out_here() -> None:
    shown = {type(frame) for frame, _ in EVERY.values()}
    assert shown == set(frames.ClientFrame.__args__) | set(frames.ServerFrame.__args__)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "hello",
        {},
        {"type": "welcome"},
        {"type": ["hello"]},
        {"type": "request", "id": "1"},
        {"type": "request", "id": 1, "method": "m"},
        {"type": "request", "id": "1", "method": "m", "params": []},
        {"type": "request", "id": "1", "method": "m", "params": None},
        {"type": "request", "id": "1", "method": "m", "extra": 1},
        {"type": "ping", "at": 1},
        {"type": "hello", "user_id": "a", "user_sig": "s", "platform": "p"},
        {"type": "hello", "user_id": "a", "user_sig": "s", "device_id": None, "platform": "p"},
    ],
)
def test_what_has_not_the_shape_of_a_clients_frame_is_refused(value: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        to_client_frame(value)
