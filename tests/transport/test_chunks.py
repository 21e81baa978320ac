"""How the bytes of a client are cut makes no difference to what it is answered."""

from typing import Any, Final

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from protocol.codec import JSON, MSGPACK, Codec
from tests.kit.byte_peer import BytePeer, handshake_bytes, hello_of, node_of
from tests.kit.fakes import until_idle
from tests.kit.system_peer import BINARY, CONTINUATION, PING, TEXT, frame_bytes

Message = dict[str, Any]


def request(request_id: str, method: str, **params: object) -> Message:
    return {"type": "request", "id": request_id, "method": method, "params": params}


SAID: Final[list[Message]] = [
    {"type": "ping"},
    request("c1", "create_group", type="Public", name="Crew", group_id="crew"),
    request("c1", "create_group", type="Public", name="Crew", group_id="crew"),
    request("c2", "create_group", type="Meeting", name="é" * 40),
    request(
        "s1", "send_message", group_id="crew", body=[{"type": "text", "content": {"text": "x"}}]
    ),
    request("u1", "update_group", group_id="crew", name="Crew 2"),
    request("l1", "list_joined_groups"),
    request("m1", "list_messages", group_id="crew"),
    request("w1", "list_members", group_id=7),
    request("w2", "no_such_method"),
    request("d1", "disband_group", group_id="crew"),
]
READS: Final = {"l1", "m1"}
LAST: Final[list[bytes]] = [
    b"",
    frame_bytes(3),
    frame_bytes(TEXT, b"\xc1\xff"),
    frame_bytes(8, b"\x03\xe8"),
]


def framed(codec: Codec, value: object, parts: int) -> bytes:
    """A message in so many frames, with a ping before the last."""
    data = codec.encode(value)
    size = -(-len(data) // parts)
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    frames = [
        frame_bytes(
            CONTINUATION if number else BINARY if codec.is_binary else TEXT,
            piece,
            fin=number == len(pieces) - 1,
        )
        for number, piece in enumerate(pieces)
    ]
    frames.insert(-1, frame_bytes(PING, b"p"))
    return b"".join(frames)


def outcome(said: Message) -> object:
    """What was changed and what was refused; reads may see what is asked for behind them."""
    replies = {
        request_id: [reply.get("error", "done") for reply in ones]
        for request_id, ones in said["replies"].items()
        if request_id not in READS
    }
    return replies, [event["event"] for event in said["events"]], said["pongs"], said["code"]


async def answers(codec: Codec, data: bytes, sizes: list[int], *, rests: bool = False) -> Message:
    """All that is said to these bytes, whatever the frames it is said in.

    Args:
        rests: let everything happen between two pieces.
    """
    async with node_of() as node:
        peer = BytePeer(node, codec)
        start = turn = 0
        while start < len(data):
            size = sizes[turn % len(sizes)]
            peer.send(data[start : start + size])
            start, turn = start + size, turn + 1
            if rests:
                await until_idle()
        await until_idle()
        status = peer.take_head().partition("\r\n")[0]
        said, code = peer.take_end()
        assert not peer.unsent
        assert node.listener.connection_count == 1
        peer.end()
        await until_idle()
        assert node.listener.connection_count == 0
    replies: dict[str, list[Message]] = {}
    for reply in [message for message in said if message["type"] == "reply"]:
        content = {key: value for key, value in reply.items() if key != "cursor"}
        replies.setdefault(reply["id"], []).append(content)
    return {
        "status": status,
        "first": said[:1],
        "replies": replies,
        "events": [event for message in said for event in message.get("events", ())],
        "pongs": sum(message["type"] == "pong" for message in said),
        "bye": [message for message in said if message["type"] == "bye"],
        "code": code,
    }


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=["json", "msgpack"])
@settings(max_examples=25, deadline=None)
@given(
    chosen=st.lists(st.sampled_from(range(len(SAID))), max_size=9),
    parts=st.integers(1, 3),
    last=st.sampled_from(LAST),
    sizes=st.lists(st.integers(1, 200), min_size=1, max_size=6),
    rests=st.booleans(),
)
async def test_the_same_bytes_get_the_same_answers(
    codec: Codec, chosen: list[int], parts: int, last: bytes, sizes: list[int], rests: bool
) -> None:
    messages = [hello_of("eve"), *(SAID[number] for number in sorted(chosen))]
    data = handshake_bytes(codec) + b"".join(framed(codec, one, parts) for one in messages)
    whole = await answers(codec, data, [len(data)])
    cut = await answers(codec, data, sizes, rests=rests)
    assert outcome(cut) == outcome(whole) if rests else cut == whole
    assert whole["status"].startswith("HTTP/1.1 101 ")
    assert [message["type"] for message in whole["first"]] == ["welcome"]
    # What ends the connection may come before all is answered, but it is told in every case.
    whole = await answers(codec, data + last, [len(data + last)])
    cut = await answers(codec, data + last, sizes)
    assert (cut["code"], cut["bye"]) == (whole["code"], whole["bye"])


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=["json", "msgpack"])
async def test_every_byte_alone(codec: Codec) -> None:
    data = handshake_bytes(codec) + b"".join(
        framed(codec, one, 2) for one in [hello_of("eve"), *SAID]
    )
    assert await answers(codec, data, [1]) == await answers(codec, data, [len(data)])
