"""One field wrong, in every frame and every method's parameters, on a real connection.

``protocol.md``, Closing: malformed frames and everything but a hello before hello close 4400; a
decodable request that is wrong gets an error reply, and the connection lives.
"""

import asyncio
from collections.abc import Iterator
from typing import Any, Final

import pytest

from protocol.codec import JSON, MSGPACK, Codec
from protocol.limits import MAX_INTEGER
from protocol.methods import METHODS
from server.node import Node
from tests.kit.byte_peer import BytePeer, handshake_bytes, hello_of, node_of
from tests.kit.fakes import until
from tests.protocol.test_schemas import is_valid, schema_of

BOTH = pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=["json", "msgpack"])
RATELESS: Final = {"REQUESTS_PER_S": 0, "USER_REQUESTS_PER_S": 0, "RATE_WARNINGS": 0}

ONE_OF_EACH: Final[tuple[Any, ...]] = (None, True, 7, -1, 0.5, "x", [], [None], {}, {"x": None})
"""A value of every kind that the protocol has."""

Message = dict[str, Any]

REQUEST: Final[Message] = {"type": "request", "id": "r", "method": "list_devices", "params": {}}
KINDS: Final[dict[str, dict[str, tuple[type, ...]]]] = {
    "hello": {
        "user_id": (str,),
        "user_sig": (str,),
        "device_id": (str,),
        "platform": (str,),
        "client": (str,),
        "cursor": (str, type(None)),
    },
    "request": {"id": (str,), "method": (str,), "params": (dict,)},
    "ping": {},
}
"""Client frame -> field -> the kinds that it may be (``protocol.md``)."""
REQUIRED: Final = {"hello": ("user_id", "user_sig", "device_id"), "request": ("id", "method")}


def corrupted(good: Message) -> Iterator[tuple[str, Message]]:
    """``good`` with one field wrong, and that field's name."""
    kind = good["type"]
    yield "zz", good | {"zz": 1}
    for name in REQUIRED.get(kind, ()):
        yield name, {key: value for key, value in good.items() if key != name}
    for name, kinds in KINDS[kind].items():
        for value in ONE_OF_EACH:
            if type(value) not in kinds:
                yield name, good | {name: value}
    for value in (*ONE_OF_EACH, "HELLO", "welcome"):
        yield "type", good | {"type": value}


def test_the_frames_are_those_of_the_protocol() -> None:
    full = hello_of("eve", platform="p", client="c", cursor="k:1")
    assert KINDS["hello"].keys() == full.keys() - {"type"}
    assert KINDS["request"].keys() == REQUEST.keys() - {"type"}


async def end_of(peer: BytePeer) -> tuple[int | None, Message]:
    """The close code and the bye, which are all that is said."""
    await until(lambda: peer.transport.written or peer.is_gone)
    said, code = peer.take_end()
    assert [message["type"] for message in said] == ["bye"]
    assert code == said[0]["code"]
    peer.end()
    await asyncio.sleep(0)  # for asyncio to tell the connection
    return code, said[0]


@BOTH
async def test_before_hello_it_closes(codec: Codec) -> None:
    """4400; a hello without a signature is one that is not authenticated, 4401."""
    async with node_of(RATELESS) as node:
        for good in (hello_of("eve"), REQUEST, {"type": "ping"}):
            for name, message in corrupted(good):
                peer = BytePeer(node, codec)
                peer.send(handshake_bytes(codec))
                peer.take_head()
                peer.send(peer.message_bytes(message))
                code, bye = await end_of(peer)
                unsigned = message["type"] == "hello" and name == "user_sig"
                assert code == (4401 if unsigned else 4400), (message, bye)
                assert bye.get("error_code") == (70002 if unsigned else None)
        await nobody_is_left(node)


async def nobody_is_left(node: Node) -> None:
    await until(lambda: not node.listener.connection_count)
    assert not list(node.hub.sessions())


@BOTH
async def test_after_hello_what_nobody_can_be_answered_for_closes(codec: Codec) -> None:
    async with node_of(RATELESS) as node:
        for good in (hello_of("eve"), REQUEST, {"type": "ping"}):
            for name, message in corrupted(good):
                if message["type"] == "request" and name != "id":
                    continue
                peer = BytePeer(node, codec)
                await peer.welcomed("eve")
                peer.send(peer.message_bytes(message))
                code, _ = await end_of(peer)
                assert code == 4400, message
        await nobody_is_left(node)


async def answer(peer: BytePeer, message: Message) -> Message:
    """The reply, and it is all that is said."""
    peer.send(peer.message_bytes(message))
    await until(lambda: peer.transport.written or peer.is_gone)
    (reply,) = peer.take_messages()
    assert reply["type"] == "reply", (message, reply)
    return reply


async def expect_refusal(peer: BytePeer, message: Message, field: str | None) -> None:
    error = (await answer(peer, message))["error"]
    assert error["name"] == "BAD_REQUEST", (message, error)
    assert error["retryable"] is False
    if field is not None:
        named = error["detail"]["field"]
        assert named == field or named.startswith((f"{field}.", f"{field}[")), (message, error)


@BOTH
async def test_after_hello_a_wrong_request_is_answered(codec: Codec) -> None:
    async with node_of(RATELESS) as node:
        peer = BytePeer(node, codec)
        await peer.welcomed("eve")
        for name, message in corrupted(REQUEST):
            if name not in ("id", "type"):
                await expect_refusal(peer, message, f"message.{name}")
        assert "result" in await answer(peer, REQUEST)


def wrong_params(name: str) -> Iterator[tuple[str | None, Message]]:
    """A method's example with one parameter wrong, and which; None where the codec refuses."""
    schema = schema_of(METHODS[name])
    good = schema["examples"][0]
    yield "zz", good | {"zz": 1}
    for field in schema.get("required", []):
        yield field, {key: value for key, value in good.items() if key != field}
    for field in schema["properties"]:
        one = {"properties": {field: schema["properties"][field]}}
        for value in (*ONE_OF_EACH, 0, MAX_INTEGER):
            if not is_valid({field: value}, one, schema):
                yield field, good | {field: value}
        yield None, good | {field: MAX_INTEGER + 1}
        yield None, good | {field: [0] * 1001}


@BOTH
@pytest.mark.parametrize("method", METHODS)
async def test_after_hello_a_wrong_parameter_is_named(codec: Codec, method: str) -> None:
    async with node_of(RATELESS) as node:
        peer = BytePeer(node, codec)
        await peer.welcomed("eve")
        count = 0
        for field, params in wrong_params(method):
            message = {"type": "request", "id": f"r{count}", "method": method, "params": params}
            await expect_refusal(peer, message, None if field is None else f"params.{field}")
            count += 1
        assert count
        assert "result" in await answer(peer, REQUEST), "the connection lives"
        await asyncio.sleep(0)
        assert not peer.is_gone
