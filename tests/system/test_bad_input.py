"""Whatever a peer sends, it gets the documented answer, and nobody else notices anything.

Every test runs beside a bystander on the same server (``protocol.md``, Values, Connecting,
Requests and replies, Closing; the limits are those of ``protocol/limits.py``).
"""

import asyncio
import json
import struct
import time
import zlib
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgpack
import pytest

from tests.kit.server_process import ServerProcess
from tests.kit.system_device import JSON, MSGPACK, Device, Frame, Wire, connect_device, text
from tests.kit.system_peer import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Peer,
    frame_bytes,
    message_bytes,
)
from tests.system.conftest import Connect, Serve

Fresh = Callable[[str], str]

FRAME_BYTES = 65536


@asynccontextmanager
async def bystander(server: ServerProcess, name: str) -> AsyncIterator[ServerProcess]:
    """Somebody else on ``server``, who sees nothing of it all and is served as before."""
    device = await connect_device(server, name)
    try:
        seen = len(device.frames)
        yield server
        group = (await device.call("create_group", type="Meeting", name="as ever"))["group"]
        await device.event("group_created", group_id=group["group_id"])
        assert sorted(frame["type"] for frame in device.frames[seen:]) == ["events", "reply"]
        assert len(device.events) == 1
        assert not device.is_closed
        assert server.is_running
    finally:
        await device.close()


@pytest.fixture(scope="module")
def one_server(serve: Serve) -> ServerProcess:
    """Default limits, but no rates, and little patience for slow readers' bytes."""
    return serve(limits={"REQUESTS_PER_S": 0, "USER_REQUESTS_PER_S": 0, "OUTGOING_BYTES": 65536})


@pytest.fixture
async def server(one_server: ServerProcess, fresh: Fresh) -> AsyncIterator[ServerProcess]:
    async with bystander(one_server, fresh("bystander")):
        yield one_server


async def expect_closed(device: Device, code: int) -> Frame:
    """The server says why and closes with that code; returns the bye."""
    closing = await device.closing()
    assert closing.bye is not None, device
    assert (closing.code, closing.bye["code"]) == (code, code)
    assert isinstance(closing.bye["reason"], str)
    assert device.frames[-1] is closing.bye, "the bye is the last message"
    return closing.bye


def ping_json(inner: bytes) -> bytes:
    """A JSON message around ``inner``."""
    return b'{"type":"request","id":"q","method":"list_devices","params":{"x":' + inner + b"}}"


def request_msgpack(inner: bytes) -> bytes:
    """A MessagePack message around ``inner``."""
    head = {"type": "request", "id": "q", "method": "list_devices"}
    packed = bytes(msgpack.packb(head | {"params": {"x": None}}))
    assert packed.endswith(b"\xc0")
    return packed[:-1] + inner


# Messages that cannot be decoded, and messages that nobody could be answered for: 4400.

NOT_A_MESSAGE: dict[str, object] = {
    "null": None,
    "number": 7,
    "string": "hello",
    "boolean": True,
    "array": [{"type": "ping"}],
    "empty map": {},
    "no type": {"id": "a", "method": "list_devices"},
    "type null": {"type": None},
    "type number": {"type": 1},
    "type array": {"type": ["ping"]},
    "unknown type": {"type": "shout"},
    "a server's type": {"type": "reply", "id": "a", "cursor": "x:1"},
    "ping with a field": {"type": "ping", "extra": 1},
    "request without id": {"type": "request", "method": "list_devices"},
    "request id null": {"type": "request", "id": None, "method": "list_devices"},
    "request id number": {"type": "request", "id": 5, "method": "list_devices"},
    "request id empty": {"type": "request", "id": "", "method": "list_devices"},
    "request id too long": {"type": "request", "id": "x" * 65, "method": "list_devices"},
    "request id not ASCII": {"type": "request", "id": "é", "method": "list_devices"},
    "request id with newline": {"type": "request", "id": "a\n", "method": "list_devices"},
    "second hello": {
        "type": "hello",
        "user_id": "eve",
        "user_sig": "x",
        "device_id": "d",
        "platform": "p",
    },
    "second hello, malformed": {"type": "hello"},
}

NOT_JSON: dict[str, bytes] = {
    "nothing": b"",
    "blanks": b"  \n",
    "words": b"hello there",
    "cut off": b'{"type":"ping"',
    "cut off in a string": b'{"type":"pi',
    "two values": b'{"type":"ping"}{"type":"ping"}',
    "trailing comma": b'{"type":"ping",}',
    "single quotes": b"{'type':'ping'}",
    "comment": b'{"type":"ping"}//',
    "byte order mark": b'\xef\xbb\xbf{"type":"ping"}',
    "UTF-16": '{"type":"ping"}'.encode("utf-16"),
    "duplicate key": b'{"type":"ping","type":"ping"}',
    "duplicate key inside": ping_json(b'{"a":1,"a":1}'),
    "duplicate key, spelled otherwise": ping_json(b'{"a":1,"\\u0061":1}'),
    "NaN": ping_json(b"NaN"),
    "Infinity": ping_json(b"Infinity"),
    "-Infinity": ping_json(b"-Infinity"),
    "a float that is too big": ping_json(b"1e999"),
    "a number with a leading zero": ping_json(b"01"),
    "bytes that are not UTF-8": ping_json(b'"\xff\xfe"'),
    "UTF-8 cut off": ping_json(b'"\xe2\x82"'),
    "overlong UTF-8": ping_json(b'"\xc0\xaf"'),
    "surrogate as UTF-8": ping_json(b'"\xed\xa0\x80"'),
    "lone high surrogate": ping_json(b'"\\ud800"'),
    "lone low surrogate": ping_json(b'"a\\udc00b"'),
    "surrogates in the wrong order": ping_json(b'"\\udc00\\ud800"'),
    "lone surrogate in a key": ping_json(b'{"\\ud800":1}'),
    "lone surrogate in the id": b'{"type":"request","id":"\\ud800","method":"list_devices"}',
    "control character in a string": ping_json(b'"a\x01b"'),
    "nested without end": ping_json(b"[" * 50_000),
    "nested 30,000 deep": ping_json(b"[" * 30_000 + b"]" * 30_000),
    "5,000 digits": ping_json(b"9" * 5_000),
}

NOT_MSGPACK: dict[str, bytes] = {
    "nothing": b"",
    "the byte that is never used": b"\xc1",
    "cut off": request_msgpack(b""),
    "cut off in a string": request_msgpack(b"\xd9\x20abc"),
    "cut off in a number": request_msgpack(b"\xcf\x00\x00"),
    "two values": bytes(msgpack.packb({"type": "ping"})) * 2,
    "JSON": b'{"type":"ping"}',
    "duplicate key": b"\x82\xa4type\xa4ping\xa4type\xa4ping",
    "duplicate key inside": request_msgpack(b"\x82\xa1a\x01\xa1a\x02"),
    "duplicate key, in another form": request_msgpack(b"\x82\xa1a\x01\xd9\x01a\x02"),
    "number as key": request_msgpack(b"\x81\x01\x02"),
    "null as key": request_msgpack(b"\x81\xc0\x02"),
    "array as key": request_msgpack(b"\x81\x90\x02"),
    "binary as key": request_msgpack(b"\x81\xc4\x01a\x02"),
    "empty binary as key": request_msgpack(b"\x81\xc4\x00\x02"),
    "binary": request_msgpack(b"\xc4\x03abc"),
    "empty binary": request_msgpack(b"\xc4\x00"),
    "binary where a string belongs": b"\x81\xa4type\xc4\x04ping",
    "fixext 1": request_msgpack(b"\xd4\x05a"),
    "empty ext": request_msgpack(b"\xc7\x00\x05"),
    "ext 8": request_msgpack(b"\xc7\x03\x05abc"),
    "timestamp": request_msgpack(b"\xd6\xff\x00\x00\x00\x01"),
    "timestamp 96": request_msgpack(b"\xc7\x0c\xff" + bytes(12)),
    "ext that claims 4 GiB": request_msgpack(b"\xc9\xff\xff\xff\xff\x05"),
    "NaN": request_msgpack(b"\xcb" + struct.pack(">d", float("nan"))),
    "infinity": request_msgpack(b"\xcb" + struct.pack(">d", float("inf"))),
    "infinity, short": request_msgpack(b"\xca" + struct.pack(">f", float("-inf"))),
    "bytes that are not UTF-8": request_msgpack(b"\xa2\xff\xfe"),
    "overlong UTF-8": request_msgpack(b"\xa2\xc0\xaf"),
    "surrogate as UTF-8": request_msgpack(b"\xa3\xed\xa0\x80"),
    "surrogate in a key": request_msgpack(b"\x81\xa3\xed\xa0\x80\x01"),
    "string that claims 4 GiB": request_msgpack(b"\xdb\xff\xff\xff\xff"),
    "binary that claims 4 GiB": request_msgpack(b"\xc6\xff\xff\xff\xff"),
    "array that claims 4 Gi items": b"\xdd\xff\xff\xff\xff",
    "map that claims 4 Gi keys": b"\xdf\xff\xff\xff\xff",
    "array that claims 4 Gi items inside": request_msgpack(b"\xdd\xff\xff\xff\xff"),
    "nested without end": request_msgpack(b"\x91" * 60_000),
    "maps nested without end": request_msgpack(b"\x81\xa1a" * 20_000),
    "nested 60,000 deep": request_msgpack(b"\x91" * 60_000 + b"\xc0"),
    "many arrays that claim many items": request_msgpack(b"\xdc\x03\xe8" * 20_000),
}


@pytest.mark.parametrize("value", NOT_A_MESSAGE.values(), ids=NOT_A_MESSAGE.keys())
async def test_what_is_no_message_closes_4400(
    server: ServerProcess, connect: Connect, fresh: Fresh, wire: Wire, value: object
) -> None:
    device = await connect(server, fresh("eve"), wire=wire)
    await device.send(value)
    await expect_closed(device, 4400)


@pytest.mark.parametrize(
    ("wire", "data"),
    [
        pytest.param(wire, data, id=f"{wire.name}: {name}")
        for wire, cases in ((JSON, NOT_JSON), (MSGPACK, NOT_MSGPACK))
        for name, data in cases.items()
    ],
)
async def test_what_cannot_be_decoded_closes_4400(
    server: ServerProcess, connect: Connect, fresh: Fresh, wire: Wire, data: bytes
) -> None:
    assert len(data) <= FRAME_BYTES
    device = await connect(server, fresh("eve"), wire=wire)
    await device.send_bytes(data)
    await expect_closed(device, 4400)


async def test_the_wrong_kind_of_frame_closes_4400(
    server: ServerProcess, connect: Connect, fresh: Fresh, wire: Wire
) -> None:
    device = await connect(server, fresh("eve"), wire=wire)
    await device.send_bytes(wire.pack({"type": "ping"}), is_binary=not wire.is_binary)
    await expect_closed(device, 4400)


async def test_requests_before_the_bad_frame_are_answered_or_not_and_it_closes_once(
    server: ServerProcess, fresh: Fresh, wire: Wire
) -> None:
    """One TCP segment with good, bad and too large messages: one bye, one close, nothing after."""
    user = fresh("eve")
    with Peer(wire) as peer:
        await peer.connect(server)
        await peer.hello(server, user)
        good: Frame = {"type": "request", "id": "a", "method": "create_group"}
        good |= {"params": {"type": "Public", "name": "good"}}
        bad = frame_bytes(BINARY if wire.is_binary else TEXT, b"\xc1")
        big = frame_bytes(TEXT, b"", length=FRAME_BYTES + 1)
        await peer.write(peer.message_bytes(good) + bad + peer.message_bytes(good) + big)
        code, bye = await peer.goodbye()
    # The library reads all that is there before anybody looks at the first message.
    assert code == bye["code"]
    assert code in (4400, 4413)
    # Whatever became of it, its id tells.
    again = await connect_device(server, user, wire=wire)
    await again.call("create_group", request_id="a", type="Public", name="good")
    groups = (await again.call("list_joined_groups"))["groups"]
    assert [group["name"] for group in groups] == ["good"]
    await again.close()


# Requests that are wrong: an error reply, and the connection lives.


async def expect_refusals(device: Device, request: Frame, name: str, field: str | None) -> None:
    await device.send({"type": "request", "id": "wrong-1"} | request)
    reply = await device.reply(request.get("id", "wrong-1"))
    error = reply["error"]
    assert error["name"] == name, error
    assert "result" not in reply
    assert error["message"]
    assert error["retryable"] is False
    if field is not None:
        assert error["detail"]["field"] == field, error
    await device.settle()
    assert not device.is_closed


def nested(levels: int) -> object:
    """Lists inside each other, ``levels`` of them."""
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


LIST = {"method": "list_members"}
SEND = {"method": "send_message"}
CREATE = {"method": "create_group"}
OK_BODY = text("hi")

WRONG_SHAPE: dict[str, tuple[Frame, str, str | None]] = {
    "unknown method": ({"method": "explode"}, "UNKNOWN_METHOD", "method"),
    "empty method": ({"method": ""}, "UNKNOWN_METHOD", "method"),
    "60,000 bytes of method": ({"method": "m" * 60_000}, "UNKNOWN_METHOD", "method"),
    "method with a NUL": ({"method": "list_devices\0"}, "UNKNOWN_METHOD", "method"),
    "method number": ({"method": 1}, "BAD_REQUEST", "message.method"),
    "no method": ({}, "BAD_REQUEST", "message.method"),
    "unknown field beside": ({"method": "list_devices", "zz": 1}, "BAD_REQUEST", "message.zz"),
    "params array": ({"method": "list_devices", "params": []}, "BAD_REQUEST", "message.params"),
    "params null": ({"method": "list_devices", "params": None}, "BAD_REQUEST", "message.params"),
    "params string": ({"method": "list_devices", "params": "x"}, "BAD_REQUEST", "message.params"),
    "unknown parameter": (
        LIST | {"params": {"group_id": "g", "zz": 1}},
        "BAD_REQUEST",
        "params.zz",
    ),
    "missing parameter": (LIST | {"params": {}}, "BAD_REQUEST", "params.group_id"),
    "number for a string": (LIST | {"params": {"group_id": 1}}, "BAD_REQUEST", "params.group_id"),
    "null for a string": (LIST | {"params": {"group_id": None}}, "BAD_REQUEST", "params.group_id"),
    "string for a number": (
        LIST | {"params": {"group_id": "g", "limit": "1"}},
        "BAD_REQUEST",
        "params.limit",
    ),
    "float for a number": (
        LIST | {"params": {"group_id": "g", "limit": 10.0}},
        "BAD_REQUEST",
        "params.limit",
    ),
    "boolean for a number": (
        LIST | {"params": {"group_id": "g", "limit": True}},
        "BAD_REQUEST",
        "params.limit",
    ),
    "zero for a positive number": (
        LIST | {"params": {"group_id": "g", "limit": 0}},
        "BAD_REQUEST",
        "params.limit",
    ),
    "negative number": (
        {"method": "list_messages", "params": {"group_id": "g", "after_seq": -1}},
        "BAD_REQUEST",
        "params.after_seq",
    ),
    "string for an array": (
        {"method": "get_groups", "params": {"group_ids": "g"}},
        "BAD_REQUEST",
        "params.group_ids",
    ),
    "number in an array of strings": (
        {"method": "get_groups", "params": {"group_ids": ["g", 1]}},
        "BAD_REQUEST",
        "params.group_ids[1]",
    ),
    "not one of the types": (
        CREATE | {"params": {"type": "Club", "name": "x"}},
        "BAD_REQUEST",
        "params.type",
    ),
    "unknown body element": (
        SEND | {"params": {"group_id": "g", "body": [{"type": "smell", "content": {}}]}},
        "BAD_REQUEST",
        None,
    ),
    "unknown field in a body": (
        SEND
        | {
            "params": {"group_id": "g", "body": [{"type": "text", "content": {"text": "", "b": 1}}]}
        },
        "BAD_REQUEST",
        None,
    ),
    "latitude out of range": (
        SEND
        | {
            "params": {
                "group_id": "g",
                "body": [
                    {
                        "type": "location",
                        "content": {"desc": "", "latitude": 91.5, "longitude": 0.5},
                    }
                ],
            }
        },
        "BAD_REQUEST",
        None,
    ),
    "somebody else's name": (
        CREATE | {"params": {"type": "Public", "name": "x", "as_user_id": "bob"}},
        "NO_PERMISSION",
        None,
    ),
    "integer 2^53": (LIST | {"params": {"x": 2**53}}, "BAD_REQUEST", None),
    "integer -2^53": (LIST | {"params": {"x": -(2**53)}}, "BAD_REQUEST", None),
    "integer 2^64-1": (LIST | {"params": {"x": 2**64 - 1}}, "BAD_REQUEST", None),
    "integer -2^63": (LIST | {"params": {"x": -(2**63)}}, "BAD_REQUEST", None),
    "9 levels": (LIST | {"params": {"x": nested(7)}}, "BAD_REQUEST", None),
    "200 levels": (LIST | {"params": {"x": nested(200)}}, "BAD_REQUEST", None),
    "1,001 items": (LIST | {"params": {"x": [0] * 1001}}, "BAD_REQUEST", None),
    "65 keys": (LIST | {"params": {str(n): 0 for n in range(65)}}, "BAD_REQUEST", None),
}


@pytest.mark.parametrize(
    ("request_", "name", "field"), WRONG_SHAPE.values(), ids=WRONG_SHAPE.keys()
)
async def test_a_wrong_request_is_answered_and_the_connection_lives(
    server: ServerProcess,
    connect: Connect,
    fresh: Fresh,
    wire: Wire,
    request_: Frame,
    name: str,
    field: str | None,
) -> None:
    device = await connect(server, fresh("eve"), wire=wire)
    await expect_refusals(device, request_, name, field)


async def test_a_json_integer_beyond_64_bits_is_refused(
    server: ServerProcess, connect: Connect, fresh: Fresh
) -> None:
    device = await connect(server, fresh("eve"))
    await device.send_bytes(ping_json(b"1" * 400))
    assert (await device.reply("q"))["error"]["name"] == "BAD_REQUEST"
    await device.settle()


@pytest.mark.parametrize(
    "value",
    [2**53 - 1, -(2**53) + 1, nested(6), [0] * 1000, {str(n): 0 for n in range(64)}],
    ids=["2^53-1", "-(2^53-1)", "8 levels", "1,000 items", "64 keys"],
)
async def test_values_at_the_limit_are_decoded(
    server: ServerProcess, connect: Connect, fresh: Fresh, wire: Wire, value: object
) -> None:
    """They are refused for what they are, an unknown parameter, not for their size."""
    device = await connect(server, fresh("eve"), wire=wire)
    error = await device.refusal("list_members", group_id="g", x=value)
    assert (error["name"], error["detail"]["field"]) == ("BAD_REQUEST", "params.x")


OVERSIZE: dict[str, tuple[str, dict[str, Any], str]] = {
    "name": ("create_group", {"type": "Public", "name": "n" * 101}, "BAD_REQUEST"),
    "name in bytes": ("create_group", {"type": "Public", "name": "é" * 51}, "BAD_REQUEST"),
    "empty name": ("create_group", {"type": "Public", "name": ""}, "BAD_REQUEST"),
    "introduction": (
        "create_group",
        {"type": "Public", "name": "n", "introduction": "i" * 401},
        "BAD_REQUEST",
    ),
    "notification": (
        "create_group",
        {"type": "Public", "name": "n", "notification": "i" * 401},
        "BAD_REQUEST",
    ),
    "face_url": (
        "create_group",
        {"type": "Public", "name": "n", "face_url": "u" * 501},
        "BAD_REQUEST",
    ),
    "group_id": (
        "create_group",
        {"type": "Public", "name": "n", "group_id": "g" * 49},
        "INVALID_GROUP_ID",
    ),
    "group_id with a reserved prefix": (
        "create_group",
        {"type": "Public", "name": "n", "group_id": "@TGS#mine"},
        "INVALID_GROUP_ID",
    ),
    "group_id not ASCII": (
        "create_group",
        {"type": "Public", "name": "n", "group_id": "gruppé"},
        "INVALID_GROUP_ID",
    ),
    "initial members": (
        "create_group",
        {"type": "Work", "name": "n", "members": [{"user_id": f"u{n}"} for n in range(101)]},
        "TOO_MANY_ACCOUNTS",
    ),
    "invited": ("invite_members", {"user_ids": [f"u{n}" for n in range(101)]}, "TOO_MANY_ACCOUNTS"),
    "nobody invited": ("invite_members", {"user_ids": []}, "BAD_REQUEST"),
    "removed": ("remove_members", {"user_ids": [f"u{n}" for n in range(101)]}, "TOO_MANY_ACCOUNTS"),
    "reason": ("remove_members", {"user_ids": ["u"], "reason": "r" * 301}, "BAD_REQUEST"),
    "groups asked for": ("get_groups", {"group_ids": ["g"] * 51}, "BAD_REQUEST"),
    "body": ("send_message", {"body": text("b" * 12_300)}, "MESSAGE_TOO_LARGE"),
    "empty body": ("send_message", {"body": []}, "BAD_REQUEST"),
    "body elements": ("send_message", {"body": OK_BODY * 17}, "BAD_REQUEST"),
    "two custom elements": (
        "send_message",
        {"body": [{"type": "custom", "content": {"data": ""}}] * 2},
        "BAD_REQUEST",
    ),
    "custom_data": ("send_message", {"body": OK_BODY, "custom_data": "c" * 8_193}, "BAD_REQUEST"),
    "mentioned": (
        "send_message",
        {"body": OK_BODY, "at_user_ids": [f"u{n}" for n in range(31)]},
        "TOO_MANY_MENTIONS",
    ),
    "page mark": ("list_joined_groups", {"after": "x" * 50_000}, "BAD_REQUEST"),
    "both directions": ("list_messages", {"before_seq": 1, "after_seq": 1}, "BAD_REQUEST"),
}


@pytest.mark.parametrize(("method", "params", "name"), OVERSIZE.values(), ids=OVERSIZE.keys())
async def test_values_of_the_wrong_size_are_refused(
    server: ServerProcess,
    connect: Connect,
    fresh: Fresh,
    wire: Wire,
    method: str,
    params: dict[str, Any],
    name: str,
) -> None:
    device = await connect(server, fresh("eve"), wire=wire)
    group = (await device.call("create_group", type="Work", name="mine"))["group"]
    if method not in ("create_group", "get_groups", "list_joined_groups"):
        params = {"group_id": group["group_id"]} | params
    error = await device.refusal(method, **params)
    assert error["name"] == name
    await device.event("group_created")
    await device.settle()
    assert len(device.events) == 1, "nothing was changed"


async def test_a_user_id_that_is_none_fails_alone(
    server: ServerProcess, connect: Connect, fresh: Fresh, wire: Wire
) -> None:
    device = await connect(server, fresh("eve"), wire=wire)
    good = fresh("bob")
    group_id = (await device.call("create_group", type="Work", name="n"))["group"]["group_id"]
    wrong = ["", "x" * 33, "é", "a\n"]
    result = await device.call("invite_members", group_id=group_id, user_ids=[*wrong, good])
    rows = [(row["user_id"], row["result"]) for row in result["members"]]
    assert rows == [*((user_id, "failed") for user_id in wrong), (good, "added")]
    assert {row["error"]["name"] for row in result["members"][:-1]} == {"INVALID_USER_ID"}


# The hello.

BAD_HELLO: dict[str, tuple[Frame, int]] = {
    "no user_id": ({"user_id": None}, 4400),
    "user_id number": ({"user_id": 7}, 4400),
    "user_id empty": ({"user_id": ""}, 4401),
    "user_id too long": ({"user_id": "x" * 33}, 4401),
    "user_id not ASCII": ({"user_id": "zoë"}, 4401),
    "user_id with a newline": ({"user_id": "eve\n"}, 4401),
    "no user_sig": ({"user_sig": None}, 4401),
    "user_sig number": ({"user_sig": 7}, 4401),
    "user_sig empty": ({"user_sig": ""}, 4401),
    "user_sig rubbish": ({"user_sig": "rubbish"}, 4401),
    "user_sig 60,000 bytes": ({"user_sig": "A" * 60_000}, 4401),
    "user_sig not ASCII": ({"user_sig": "ü"}, 4401),
    "user_sig inflates without end": (
        {"user_sig": b64encode(zlib.compress(bytes(2_000_000))).decode().replace("=", "_")},
        4401,
    ),
    "no device_id": ({"device_id": None}, 4400),
    "device_id number": ({"device_id": 7}, 4400),
    "device_id empty": ({"device_id": ""}, 4400),
    "device_id too long": ({"device_id": "d" * 65}, 4400),
    "device_id not ASCII": ({"device_id": "téléphone"}, 4400),
    "platform number": ({"platform": 7}, 4400),
    "client number": ({"client": 7}, 4400),
    "cursor number": ({"cursor": 7}, 4400),
    "cursor map": ({"cursor": {}}, 4400),
    "unknown field": ({"password": "secret"}, 4400),
    "integer out of bounds": ({"cursor": 2**63}, 4400),
}


@pytest.mark.parametrize(("change", "code"), BAD_HELLO.values(), ids=BAD_HELLO.keys())
async def test_a_bad_hello_is_refused(
    server: ServerProcess, fresh: Fresh, wire: Wire, change: Frame, code: int
) -> None:
    user = fresh("eve")
    device = await Device.open(server.ws, wire)
    await device.say_hello(
        **({"user_id": user, "user_sig": server.token(user), "device_id": "d"} | change)
    )
    await expect_closed(device, code)
    assert len(device.frames) == 1


BAD_TOKEN: dict[str, tuple[dict[str, Any], int]] = {
    "expired": ({"now_s": int(time.time()) - 7200, "expire_s": 3600}, 70001),
    "expired a second ago": ({"now_s": int(time.time()) - 11, "expire_s": 10}, 70001),
    "issued in the future": ({"now_s": int(time.time()) + 3600}, 70003),
    "another key": ({"secret_key": "0" * 64}, 70009),
    "another user's": ({"user_id": "mallory"}, 70013),
    "another app's": ({"sdkappid": 1400000001}, 70014),
}


@pytest.mark.parametrize(("change", "cause"), BAD_TOKEN.values(), ids=BAD_TOKEN.keys())
async def test_a_token_that_proves_nothing_is_refused(
    server: ServerProcess, fresh: Fresh, wire: Wire, change: dict[str, Any], cause: int
) -> None:
    user = fresh("eve")
    token = server.token(**({"user_id": user} | change))
    device = await Device.open(server.ws, wire)
    await device.say_hello(user, token)
    bye = await expect_closed(device, 4401)
    assert bye["error_code"] == cause
    assert token not in server.log()


async def test_a_hello_may_say_only_what_it_must(
    server: ServerProcess, fresh: Fresh, wire: Wire
) -> None:
    user = fresh("eve")
    device = await Device.open(server.ws, wire)
    await device.hello(user, server.token(user), platform=None)
    await device.settle()
    await device.close()


async def test_a_tampered_token_is_refused(server: ServerProcess, fresh: Fresh, wire: Wire) -> None:
    user = fresh("eve")
    token = server.token(user)
    for place in (0, len(token) // 2, len(token) - 3):
        other = "A" if token[place] != "A" else "B"
        device = await Device.open(server.ws, wire)
        await device.say_hello(user, token[:place] + other + token[place + 1 :])
        await expect_closed(device, 4401)


BEFORE_HELLO: dict[str, Frame] = {
    "request": {"type": "request", "id": "a", "method": "list_devices", "params": {}},
    "wrong request": {"type": "request", "id": "a", "method": "list_devices", "zz": 1},
    "request out of bounds": {"type": "request", "id": "a", "method": "m", "params": {"x": 2**60}},
    "ping": {"type": "ping"},
    "unknown": {"type": "shout"},
}


@pytest.mark.parametrize("message", BEFORE_HELLO.values(), ids=BEFORE_HELLO.keys())
async def test_anything_before_hello_closes_4400(
    server: ServerProcess, wire: Wire, message: Frame
) -> None:
    device = await Device.open(server.ws, wire)
    await device.send(message)
    await expect_closed(device, 4400)
    assert len(device.frames) == 1


async def test_a_request_in_the_same_segment_as_hello_is_served(
    server: ServerProcess, fresh: Fresh, wire: Wire
) -> None:
    user = fresh("eve")
    with Peer(wire) as peer:
        await peer.connect(server)
        assert await peer.handshake() == 101
        hello = {"type": "hello", "user_id": user, "user_sig": server.token(user)}
        hello |= {"device_id": "d", "platform": "p"}
        create: Frame = {"type": "request", "id": "a", "method": "create_group"}
        create |= {"params": {"type": "Public", "name": "early"}}
        await peer.write(peer.message_bytes(hello) + peer.message_bytes(create))
        frames = [await peer.message() for _ in range(3)]
    assert frames[0]["type"] == "welcome"
    assert sorted(frame["type"] for frame in frames[1:]) == ["events", "reply"]


# The HTTP handshake.

HANDSHAKES: dict[str, tuple[dict[str, Any], int]] = {
    "the right one": ({}, 101),
    "no subprotocol": ({"subprotocol": ""}, 101),
    "unknown subprotocols first": ({"subprotocol": "chat, muster.v1.json"}, 101),
    "unknown subprotocol": ({"subprotocol": "chat"}, 400),
    "another version's subprotocol": ({"subprotocol": "muster.v2.json, muster.v2.msgpack"}, 400),
    "subprotocol in capitals": ({"subprotocol": "MUSTER.V1.JSON"}, 400),
    "root": ({"path": "/"}, 404),
    "another path": ({"path": "/chat"}, 404),
    "path in capitals": ({"path": "/WS"}, 404),
    "a path below": ({"path": "/ws/"}, 404),
    "another path with a query": ({"path": "/chat?user_sig=eJx"}, 404),
    "token in the address": ({"path": "/ws?user_sig=eJx"}, 400),
    "any query": ({"path": "/ws?x=1"}, 400),
    "POST": ({"method": "POST"}, 405),
    "no upgrade": ({"headers": {"Upgrade": ""}}, 426),
    "upgrade to something else": ({"headers": {"Upgrade": "h2c"}}, 426),
    "no key": ({"headers": {"Sec-WebSocket-Key": ""}}, 400),
    "a key that is none": ({"headers": {"Sec-WebSocket-Key": "short"}}, 400),
    "an old version": ({"headers": {"Sec-WebSocket-Version": "8"}}, 400),
    "a long address": ({"path": "/ws/" + "x" * 10_000}, 414),
    "a long header": ({"headers": {"X-Long": "x" * 10_000}}, 431),
    "many headers": ({"headers": {f"X-{n}": "x" for n in range(200)}}, 431),
}


@pytest.mark.parametrize(("request_", "status"), HANDSHAKES.values(), ids=HANDSHAKES.keys())
async def test_handshakes(server: ServerProcess, request_: dict[str, Any], status: int) -> None:
    with Peer() as peer:
        await peer.connect(server)
        got = await peer.handshake(**request_)
        assert got == status
        if status != 101:
            await peer.raw_rest()  # the server ends it


async def test_who_does_not_wait_for_the_handshake(server: ServerProcess, fresh: Fresh) -> None:
    """Against RFC 6455, and a nuisance to nobody else; whether it is served is not said."""
    user = fresh("eve")
    hello = {"type": "hello", "user_id": user, "user_sig": server.token(user)}
    first = message_bytes(JSON, hello | {"device_id": "d", "platform": "p"})
    ping = message_bytes(JSON, {"type": "ping"})
    troubles = server.trouble()
    for frames in (first, first + ping, ping, frame_bytes(CLOSE), frame_bytes(3), b"rubbish" * 9):
        with Peer() as peer:
            await peer.connect(server)
            assert await peer.handshake(body=frames) in (0, 101)
            await peer.write_whatever_happens(frame_bytes(CLOSE))
            await peer.raw_rest()
    device = await connect_device(server, user)
    await device.settle()
    await device.close()
    assert server.trouble() == troubles


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500) + b"\n",
        b"\0" * 10_000,
        b"GET\r\n\r\n",
    ],
    ids=["TLS", "zeros", "half a request line"],
)
async def test_what_is_not_http_is_ended(server: ServerProcess, data: bytes) -> None:
    with Peer() as peer:
        await peer.connect(server)
        await peer.write_whatever_happens(data)
        assert await peer.status() in (0, 400, 414)


async def test_a_token_in_the_address_does_not_get_into_the_log(
    server: ServerProcess, fresh: Fresh
) -> None:
    token = server.token(fresh("eve"))
    with Peer() as peer:
        await peer.connect(server)
        assert await peer.handshake(f"/ws?user_sig={token}") == 400
        assert token.encode() not in await peer.raw_rest()
    assert token not in server.log()


async def test_who_names_no_subprotocol_speaks_json(server: ServerProcess, fresh: Fresh) -> None:
    device = await Device.open(server.ws, JSON, subprotocols=())
    assert device.connection.subprotocol is None
    user = fresh("eve")
    await device.hello(user, server.token(user))
    await device.settle()
    await device.close()


# Frames as RFC 6455 has them.


async def welcomed(peer: Peer, server: ServerProcess, user_id: str) -> Peer:
    await peer.connect(server)
    await peer.hello(server, user_id)
    return peer


def request_of_size(wire: Wire, size: int) -> bytes:
    """A request of exactly ``size`` bytes, for a method that is not there."""
    base = len(wire.pack({"type": "request", "id": "big", "method": "m" * 50_000})) - 50_000
    data = wire.pack({"type": "request", "id": "big", "method": "m" * (size - base)})
    assert len(data) == size
    return data


async def test_the_longest_message_is_taken(
    server: ServerProcess, connect: Connect, fresh: Fresh, wire: Wire
) -> None:
    device = await connect(server, fresh("eve"), wire=wire)
    await device.send_bytes(request_of_size(wire, FRAME_BYTES))
    assert (await device.reply("big"))["error"]["name"] == "UNKNOWN_METHOD"
    await device.settle()


async def test_a_byte_more_is_too_large_4413(
    server: ServerProcess, connect: Connect, fresh: Fresh, wire: Wire
) -> None:
    device = await connect(server, fresh("eve"), wire=wire)
    await device.send_bytes(request_of_size(wire, FRAME_BYTES + 1))
    await expect_closed(device, 4413)


async def test_a_megabyte_is_too_large_4413(
    server: ServerProcess, connect: Connect, fresh: Fresh, wire: Wire
) -> None:
    device = await connect(server, fresh("eve"), wire=wire)
    await device.send_bytes(b" " * 1_000_000)
    await expect_closed(device, 4413)


async def test_too_large_before_hello_is_too_large_as_well(
    server: ServerProcess, wire: Wire
) -> None:
    device = await Device.open(server.ws, wire)
    await device.send_bytes(b" " * (FRAME_BYTES + 1))
    await expect_closed(device, 4413)


@pytest.mark.parametrize("length", [FRAME_BYTES + 1, 2**40, 2**63 - 1], ids=["+1", "1 TiB", "most"])
async def test_a_claim_of_too_much_is_enough(
    server: ServerProcess, fresh: Fresh, wire: Wire, length: int
) -> None:
    """The server does not wait for what is announced, nor keep room for it."""
    with Peer(wire) as peer:
        await welcomed(peer, server, fresh("eve"))
        await peer.write(frame_bytes(BINARY if wire.is_binary else TEXT, b"x", length=length))
        code, bye = await peer.goodbye()
    assert (code, bye["code"]) == (4413, 4413)


def in_fragments(wire: Wire, data: bytes, count: int, between: bytes = b"") -> bytes:
    """``data`` in ``count`` frames, with ``between`` after each but the last."""
    size = -(-len(data) // count)
    pieces = [data[n * size : (n + 1) * size] for n in range(count)]
    frames = [
        frame_bytes(
            (BINARY if wire.is_binary else TEXT) if n == 0 else CONTINUATION,
            piece,
            fin=n == count - 1,
        )
        for n, piece in enumerate(pieces)
    ]
    return between.join(frames)


@pytest.mark.parametrize("count", [2, 10, 100])
async def test_a_fragmented_message_is_one_message(
    server: ServerProcess, fresh: Fresh, wire: Wire, count: int
) -> None:
    data = wire.pack({"type": "request", "id": "a", "method": "list_devices", "params": {}})
    with Peer(wire) as peer:
        await welcomed(peer, server, fresh("eve"))
        await peer.write(in_fragments(wire, data, count))
        reply = await peer.message()
        assert (reply["type"], reply["id"]) == ("reply", "a")
        assert "result" in reply


async def test_every_byte_in_a_segment_of_its_own(server: ServerProcess, fresh: Fresh) -> None:
    data = JSON.pack({"type": "request", "id": "a", "method": "list_devices", "params": {}})
    with Peer() as peer:
        await welcomed(peer, server, fresh("eve"))
        for byte in frame_bytes(TEXT, data):
            await peer.write(bytes((byte,)))
        assert (await peer.message())["id"] == "a"


async def test_control_frames_may_come_between_fragments(
    server: ServerProcess, fresh: Fresh, wire: Wire
) -> None:
    data = wire.pack({"type": "request", "id": "a", "method": "list_devices", "params": {}})
    with Peer(wire) as peer:
        await welcomed(peer, server, fresh("eve"))
        between = frame_bytes(PING, b"are you there?") + frame_bytes(PONG, b"unasked")
        await peer.write(in_fragments(wire, data, 5, between))
        frames = [await peer.frame() for _ in range(5)]
    pongs = [f for f in frames if f and f.opcode == PONG]
    assert [pong.payload for pong in pongs] == [b"are you there?"] * 4
    assert sum(f is not None and f.opcode in (TEXT, BINARY) for f in frames) == 1


async def test_a_character_may_be_cut_by_fragments(server: ServerProcess, fresh: Fresh) -> None:
    data = json.dumps(
        {
            "type": "request",
            "id": "a",
            "method": "create_group",
            "params": {"type": "Public", "name": "漢字🎉"},
        },
        ensure_ascii=False,
    ).encode()
    with Peer() as peer:
        await welcomed(peer, server, fresh("eve"))
        await peer.write(in_fragments(JSON, data, len(data) // 2))
        while (reply := await peer.message())["type"] != "reply":
            pass
    assert reply["result"]["group"]["name"] == "漢字🎉"


async def test_fragments_together_are_too_large_4413(
    server: ServerProcess, fresh: Fresh, wire: Wire
) -> None:
    with Peer(wire) as peer:
        await welcomed(peer, server, fresh("eve"))
        await peer.write_whatever_happens(
            in_fragments(wire, request_of_size(wire, FRAME_BYTES + 1), 50)
        )
        code, bye = await peer.goodbye()
    assert (code, bye["code"]) == (4413, 4413)


@pytest.mark.parametrize("size", [0, 1])
async def test_fragments_without_end_are_too_large_4413(
    server: ServerProcess, fresh: Fresh, wire: Wire, size: int
) -> None:
    with Peer(wire) as peer:
        await welcomed(peer, server, fresh("eve"))
        first = frame_bytes(BINARY if wire.is_binary else TEXT, b"x" * size, fin=False)
        more = frame_bytes(CONTINUATION, b"x" * size, fin=False)
        await peer.write_whatever_happens(first + more * 2_000)
        code, bye = await peer.goodbye()
    assert (code, bye["code"]) == (4413, 4413)


PROTOCOL_ERRORS: dict[str, bytes] = {
    "not masked": frame_bytes(TEXT, b'{"type":"ping"}', masked=False),
    "reserved bit 1": frame_bytes(TEXT, b'{"type":"ping"}', rsv=4),
    "reserved bit 3": frame_bytes(TEXT, b'{"type":"ping"}', rsv=1),
    "reserved data opcode": frame_bytes(3, b"x"),
    "reserved control opcode": frame_bytes(11, b"x"),
    "continuation of nothing": frame_bytes(CONTINUATION, b"x"),
    "message inside a message": frame_bytes(TEXT, b"{", fin=False) + frame_bytes(TEXT, b"}"),
    "fragmented ping": frame_bytes(PING, b"x", fin=False),
    "long ping": frame_bytes(PING, b"x" * 126),
    "close with half a code": frame_bytes(CLOSE, b"\x03"),
    "close with a code that is never sent": frame_bytes(CLOSE, struct.pack("!H", 1006)),
    "close with a reason that is not UTF-8": frame_bytes(CLOSE, struct.pack("!H", 1000) + b"\xff"),
}


@pytest.mark.parametrize("data", PROTOCOL_ERRORS.values(), ids=PROTOCOL_ERRORS.keys())
async def test_a_malformed_frame_closes_4400(
    server: ServerProcess, fresh: Fresh, wire: Wire, data: bytes
) -> None:
    with Peer(wire) as peer:
        await welcomed(peer, server, fresh("eve"))
        await peer.write(data)
        code, bye = await peer.goodbye()
    assert (code, bye["code"]) == (4400, 4400)


async def test_nothing_follows_the_close_frame(server: ServerProcess, fresh: Fresh) -> None:
    """A message that is too large after a bad one, each in a segment of its own."""
    with Peer() as peer:
        await welcomed(peer, server, fresh("eve"))
        await peer.write(frame_bytes(TEXT, b"rubbish"))
        await peer.write_whatever_happens(frame_bytes(TEXT, b"x" * 1000, length=2**30))
        code, bye = await peer.goodbye()
    assert (code, bye["code"]) == (4400, 4400)


@pytest.mark.parametrize("payload", [b"", struct.pack("!H", 1000), struct.pack("!H", 4999) + b"hm"])
async def test_a_close_frame_is_answered(
    server: ServerProcess, fresh: Fresh, payload: bytes
) -> None:
    with Peer() as peer:
        await welcomed(peer, server, fresh("eve"))
        await peer.write(frame_bytes(CLOSE, payload))
        frames = await peer.rest()
    assert [frame.opcode for frame in frames] == [CLOSE]
    assert frames[0].payload[:2] == payload[:2]


async def test_compression_is_off(server: ServerProcess, fresh: Fresh) -> None:
    with Peer() as peer:
        await peer.connect(server)
        offer = {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}
        assert await peer.handshake(headers=offer) == 101
        assert "sec-websocket-extensions" not in peer.response_head.lower()


async def test_fifty_pings_are_answered(server: ServerProcess, fresh: Fresh) -> None:
    with Peer() as peer:
        await welcomed(peer, server, fresh("eve"))
        pings = [str(n).encode() for n in range(50)]
        await peer.write(b"".join(frame_bytes(PING, ping) for ping in pings))
        frames = [await peer.frame() for _ in pings]
    assert [(f.opcode, f.payload) for f in frames if f] == [(PONG, ping) for ping in pings]


@pytest.mark.parametrize("opcode", [PING, PONG])
async def test_a_flood_of_control_frames_is_ended(
    server: ServerProcess, fresh: Fresh, opcode: int
) -> None:
    with Peer() as peer:
        await welcomed(peer, server, fresh("eve"))
        for _ in range(20):
            await peer.write_whatever_happens(frame_bytes(opcode, b"x" * 100) * 100)
        frames = await peer.rest()
    assert len(frames) <= 200, "not every one was answered"


async def test_dropping_in_the_middle_of_anything(
    server: ServerProcess, fresh: Fresh, wire: Wire
) -> None:
    """Half a frame, half a message, half a handshake: and then the peer is gone."""
    message = message_bytes(wire, {"type": "ping"})
    for data in (message[:1], message[:-1], frame_bytes(TEXT, b"{", fin=False)):
        with Peer(wire) as peer:
            await welcomed(peer, server, fresh("eve"))
            await peer.write(data)
    with Peer(wire) as peer:
        await peer.connect(server)
        await peer.write(b"GET /ws HTTP/1.1\r\nHost: ")


# Too much of what is allowed.


async def test_one_request_more_than_may_be_in_flight_is_refused(
    server: ServerProcess, fresh: Fresh, wire: Wire
) -> None:
    user = fresh("eve")
    with Peer(wire) as peer:
        await peer.connect(server)
        welcome = await peer.hello(server, user)
        most = welcome["limits"]["requests_in_flight"]
        sent = {f"r{n}": f"{user} {n}" for n in range(3 * most)}
        await peer.write(
            b"".join(
                peer.message_bytes(
                    {
                        "type": "request",
                        "id": request_id,
                        "method": "create_group",
                        "params": {"type": "Public", "name": name},
                    }
                )
                for request_id, name in sent.items()
            )
        )
        replies: dict[str, Frame] = {}
        events: list[Frame] = []
        while len(replies) < len(sent):
            frame = await peer.message()
            if frame["type"] == "reply":
                assert frame["id"] not in replies, "one reply to each"
                replies[frame["id"]] = frame
            else:
                events += frame["events"]
        await peer.send({"type": "request", "id": "after", "method": "list_devices", "params": {}})
        assert "result" in await peer.message()
    refused = [reply["error"] for reply in replies.values() if "error" in reply]
    assert {error["name"] for error in refused} == {"TOO_MANY_REQUESTS"}
    assert {error["retryable"] for error in refused} == {True}
    assert {error["detail"]["rule"] for error in refused} == {"requests_in_flight"}
    done = [sent[request_id] for request_id, reply in replies.items() if "result" in reply]
    assert len(done) >= most
    created = [event["data"]["group"]["name"] for event in events]
    assert sorted(created) == sorted(done), "what was refused was not done"


@pytest.fixture(scope="module")
def one_strict_server(serve: Serve) -> ServerProcess:
    return serve(
        limits={
            "REQUESTS_PER_S": 5,
            "REQUESTS_BURST": 5,
            "USER_REQUESTS_PER_S": 4,
            "RATE_WARNINGS": 10,
        }
    )


@pytest.fixture
async def strict(one_strict_server: ServerProcess, fresh: Fresh) -> AsyncIterator[ServerProcess]:
    async with bystander(one_strict_server, fresh("bystander")):
        yield one_strict_server


ASK: Frame = {"type": "request", "id": "a", "method": "list_devices", "params": {}}


async def test_too_many_requests_are_refused_and_then_closed_4429(
    strict: ServerProcess, connect: Connect, fresh: Fresh, wire: Wire
) -> None:
    device = await connect(strict, fresh("eve"), wire=wire)
    asked = [await device.ask("list_devices") for _ in range(12)]
    replies = [await device.reply(request_id) for request_id in asked]
    errors = [reply["error"] for reply in replies if "error" in reply]
    assert sum("result" in reply for reply in replies) >= 5, "the burst is allowed"
    assert errors
    for error in errors:
        assert (error["name"], error["retryable"]) == ("TOO_MANY_REQUESTS", True)
        assert error["detail"]["rule"] == "requests_per_s"
        assert error["detail"]["retry_after_ms"] > 0
    assert not device.is_closed
    for _ in range(100):
        await device.send_unless_closed(ASK)
    bye = await expect_closed(device, 4429)
    assert bye["retry_after_ms"] > 0


async def test_a_user_has_one_rate_for_all_devices(
    strict: ServerProcess, connect: Connect, fresh: Fresh
) -> None:
    user = fresh("eve")
    devices = [await connect(strict, user, f"device-{n}") for n in range(3)]
    asked = [(device, await device.ask("list_devices")) for device in devices for _ in range(5)]
    replies = [await device.reply(request_id) for device, request_id in asked]
    rules = {reply["error"]["detail"]["rule"] for reply in replies if "error" in reply}
    assert "user_requests_per_s" in rules


WRONG_REQUESTS: dict[str, Frame] = {
    "unknown method": {"type": "request", "id": "a", "method": "explode", "params": {}},
    "unknown parameter": {
        "type": "request",
        "id": "a",
        "method": "list_devices",
        "params": {"x": 1},
    },
    "unknown field": {"type": "request", "id": "a", "method": "list_devices", "zz": 1},
    "integer out of bounds": {
        "type": "request",
        "id": "a",
        "method": "list_devices",
        "params": {"x": 2**60},
    },
}


@pytest.mark.parametrize("message", WRONG_REQUESTS.values(), ids=WRONG_REQUESTS.keys())
async def test_wrong_requests_count_as_requests(
    strict: ServerProcess, connect: Connect, fresh: Fresh, wire: Wire, message: Frame
) -> None:
    """A flood of requests ends in 4429 however wrong they are."""
    device = await connect(strict, fresh("eve"), wire=wire)
    for _ in range(100):
        await device.send_unless_closed(message)
    await device.send_unless_closed(ASK | {"id": "z"})
    kinds = await device.until(lambda: last_word(device), "an answer to the last one, or bye")
    assert kinds == "bye", "a hundred wrong requests were answered, and so is the next"
    await expect_closed(device, 4429)


def last_word(device: Device) -> str | None:
    """Which of the two came that end the flood."""
    for frame in device.frames:
        if frame["type"] == "bye" or (frame["type"] == "reply" and frame["id"] == "z"):
            kind: str = frame["type"]
            return kind
    return None


async def test_the_seventeenth_device_replaces_the_oldest(
    server: ServerProcess, connect: Connect, fresh: Fresh, wire: Wire
) -> None:
    user = fresh("eve")
    devices = [await connect(server, user, f"device-{n}", wire=wire) for n in range(17)]
    await expect_closed(devices[0], 4409)
    listed = (await devices[16].call("list_devices"))["devices"]
    assert [device["device_id"] for device in listed] == [f"device-{n}" for n in range(1, 17)]
    assert [device["current"] for device in listed] == [False] * 15 + [True]
    await devices[16].call("create_group", type="Public", name="for all sixteen")
    for device in devices[1:]:
        await device.event("group_created")
        assert not device.is_closed
    assert devices[0].events == []


async def test_the_same_device_replaces_its_older_connection(
    server: ServerProcess, connect: Connect, fresh: Fresh, wire: Wire
) -> None:
    user = fresh("eve")
    other = await connect(server, user, "other", wire=wire)
    old = await connect(server, user, "same", wire=wire)
    new = await connect(server, user, "same", wire=wire)
    await expect_closed(old, 4409)
    listed = (await new.call("list_devices"))["devices"]
    assert [device["device_id"] for device in listed] == ["other", "same"]
    await new.call("create_group", type="Public", name="x")
    for device in (other, new):
        await device.event("group_created")
        assert len(device.events) == 1


async def test_a_bad_token_does_not_replace_anybody(
    server: ServerProcess, connect: Connect, fresh: Fresh
) -> None:
    user = fresh("eve")
    device = await connect(server, user, "same")
    impostor = await Device.open(server.ws)
    await impostor.say_hello(user, server.token("mallory"), device_id="same")
    await expect_closed(impostor, 4401)
    await device.settle()


@pytest.fixture(scope="module")
def one_hasty_server(serve: Serve) -> ServerProcess:
    return serve(limits={"HELLO_MS": 800, "CLOSE_MS": 300})


@pytest.fixture
async def hasty(one_hasty_server: ServerProcess, fresh: Fresh) -> AsyncIterator[ServerProcess]:
    async with bystander(one_hasty_server, fresh("bystander")):
        yield one_hasty_server


async def test_who_does_not_say_hello_in_time_is_closed_4408(hasty: ServerProcess) -> None:
    async def after_handshake(wire: Wire, data: bytes) -> tuple[int, int]:
        with Peer(wire) as peer:
            await peer.connect(hasty)
            assert await peer.handshake() == 101
            await peer.write(data)
            code, bye = await peer.goodbye()
            return code, bye["code"]

    async def without_handshake(data: bytes) -> int:
        with Peer() as peer:
            await peer.connect(hasty)
            await peer.write(data)
            return await peer.status()

    half_hello = message_bytes(JSON, {"type": "hello", "user_id": "eve"})[:-5]
    closed = await asyncio.gather(
        after_handshake(JSON, b""),
        after_handshake(MSGPACK, b""),
        after_handshake(JSON, half_hello),
        after_handshake(JSON, frame_bytes(TEXT, b"{", fin=False)),
        after_handshake(JSON, frame_bytes(PING)),
    )
    assert set(closed) <= {(4408, 4408)}
    statuses = await asyncio.gather(
        without_handshake(b""),
        without_handshake(b"GET /ws HTTP/1.1\r\n"),
        without_handshake(b"GET /ws HTTP/1.1\r\nHost: x\r\nX-Slow: "),
    )
    assert set(statuses) <= {0, 408}


async def test_who_does_not_answer_the_close_is_let_go(hasty: ServerProcess, fresh: Fresh) -> None:
    """CLOSE_MS after it, whether it had said hello or not."""

    async def bad_frame() -> int:
        with Peer() as peer:
            await welcomed(peer, hasty, fresh("eve"))
            await peer.write(frame_bytes(TEXT, b"rubbish"))
            return (await peer.rest(answers_close=False))[-1].close_code

    async def no_hello() -> int:
        with Peer() as peer:
            await peer.connect(hasty)
            assert await peer.handshake() == 101
            return (await peer.rest(answers_close=False))[-1].close_code

    assert list(await asyncio.gather(bad_frame(), no_hello())) == [4400, 4408]


async def test_too_many_connections_without_hello_are_turned_away(
    serve: Serve, fresh: Fresh
) -> None:
    crowded = serve(limits={"UNAUTHENTICATED_PER_ADDRESS": 3})
    user = fresh("eve")
    async with bystander(crowded, fresh("bystander")):
        with Peer() as first, Peer() as second, Peer() as third, Peer() as fourth, Peer() as fifth:
            for peer in (first, second, third):
                await peer.connect(crowded)
                assert await peer.handshake() == 101
            await fourth.connect(crowded)
            assert await fourth.handshake() == 429
            hello = {"type": "hello", "user_id": user, "user_sig": crowded.token(user)}
            await first.send(hello | {"device_id": "d", "platform": "p"})
            assert (await first.message())["type"] == "welcome"
            await fifth.connect(crowded)
            # The one that was turned away may count until it is gone.
            await fourth.raw_rest()
            assert await fifth.handshake() in (101, 429)


# Slow and silent readers.

MESSAGES = 400
MESSAGE_BYTES = 10_000


async def flood(sender: Device, group_id: str) -> None:
    """Send MESSAGES long messages; returns when all are answered."""
    for start in range(0, MESSAGES, 50):
        asked = [
            await sender.ask(
                "send_message", group_id=group_id, body=text(f"{n:05d}" + "x" * MESSAGE_BYTES)
            )
            for n in range(start, start + 50)
        ]
        for request_id in asked:
            assert "result" in await sender.reply(request_id)


def number_of(event: Frame) -> int:
    """Which of the flood's messages an event is."""
    return int(event["data"]["body"][0]["content"]["text"][:5])


def check_page(frame: Frame, data_bytes: int) -> None:
    """What one events message may hold."""
    assert len(frame["events"]) <= 256
    assert len(frame["events"]) == 1 or data_bytes <= 256 * 1024


async def test_a_slow_reader_is_fed_from_the_log_and_misses_nothing(
    server: ServerProcess, connect: Connect, fresh: Fresh, wire: Wire
) -> None:
    sender = await connect(server, fresh("sender"))
    quick = await connect(server, fresh("quick"))
    group_id = (
        await sender.call(
            "create_group", type="Public", name="busy", apply_join_option="FreeAccess"
        )
    )["group"]["group_id"]
    await quick.call("join_group", group_id=group_id)
    with Peer(wire) as slow:
        slow.stay_small()
        await welcomed(slow, server, fresh("slow"))
        join = {"type": "request", "id": "join", "method": "join_group"}
        await slow.send(join | {"params": {"group_id": group_id}})
        while (await slow.message())["type"] != "reply":
            pass
        await flood(sender, group_id)
        await quick.until(lambda: len(quick.events) >= MESSAGES + 3 or None, "all messages")
        # Only now the slow one goes on reading.
        messages: list[Frame] = []
        pages = 0
        while len(messages) < MESSAGES:
            frame = await slow.frame()
            assert frame is not None
            assert frame.opcode != CLOSE, "it was closed early"
            if frame.opcode == PING:
                continue
            content = wire.unpack(frame.payload)
            check_page(content, len(frame.payload))
            pages += len(content["events"]) > 1
            messages += content["events"]
        assert pages, "it was never behind: this test must send more"
        assert [number_of(event) for event in messages] == list(range(MESSAGES))
        # 1 is the quick one's joining, 2 its own.
        assert [event["seq"] for event in messages] == list(range(3, MESSAGES + 3))
        # And it is live again.
        await sender.call("send_message", group_id=group_id, body=text("live"))
        live = await slow.message()
        assert [event["seq"] for event in live["events"]] == [MESSAGES + 3]
        await slow.send({"type": "request", "id": "x", "method": "list_devices", "params": {}})
        assert "result" in await slow.message()


async def test_a_silent_reader_is_closed_4408_and_can_resume(
    serve: Serve, connect: Connect, fresh: Fresh
) -> None:
    server = serve(
        limits={
            "REQUESTS_PER_S": 0,
            "USER_REQUESTS_PER_S": 0,
            "OUTGOING_BYTES": 65536,
            "SILENCE_MS": 1000,
        }
    )
    silent_user = fresh("silent")
    async with bystander(server, fresh("bystander")):
        sender = await connect(server, fresh("sender"))
        groups = [
            (await sender.call("create_group", type=kind, name="x", apply_join_option="FreeAccess"))
            for kind in ("Public", "AVChatRoom")
        ]
        group_id, room_id = (group["group"]["group_id"] for group in groups)
        await sender.call("join_group", group_id=room_id)
        with Peer() as silent:
            silent.stay_small()
            await welcomed(silent, server, silent_user)
            cursor = ""
            for wanted in (group_id, room_id):
                join = {"type": "request", "id": wanted, "method": "join_group"}
                await silent.send(join | {"params": {"group_id": wanted}})
                while (frame := await silent.message())["type"] != "reply":
                    pass
                cursor = frame["cursor"]
            await flood(sender, group_id)
            # That it was given up shows in the room: its only connection is gone.
            await sender.event("member_quit", group_id=room_id, actor_id=silent_user)
            frames = await silent.rest()
        messages: list[Frame] = []
        contents = [JSON.unpack(frame.payload) for frame in frames if frame.opcode == TEXT]
        for content in contents[:-1]:
            messages += [event for event in content["events"] if event["kind"] == "message"]
            cursor = content["cursor"]
        assert contents[-1]["type"] == "bye"
        assert (frames[-1].opcode, frames[-1].close_code) == (CLOSE, 4408)
        assert contents[-1]["code"] == 4408
        again = await connect(server, silent_user, "peer-1", cursor=cursor)
        assert again.frames[0]["resume"] == "resumed"
        await again.until(lambda: len(messages) + len(again.events) >= MESSAGES or None, "the rest")
        messages += [event for event in again.events if event["kind"] == "message"]
        assert [number_of(event) for event in messages] == list(range(MESSAGES))
