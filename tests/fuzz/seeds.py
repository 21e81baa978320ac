"""Where the fuzzing starts from: small inputs that are taken, or refused each in its own way."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgpack

from protocol import usersig
from protocol.codec import JSON, MSGPACK, Codec
from protocol.methods import METHODS
from tests.fuzz.targets import ISSUED_S, SDKAPPID, SECRET_KEY, USER_ID
from tests.kit.byte_peer import handshake_bytes, hello_of
from tests.kit.system_peer import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame_bytes

FRAMES: Final[Sequence[Mapping[str, object]]] = [
    {"type": "ping"},
    {"type": "hello", "user_id": "a", "user_sig": "s", "device_id": "d", "cursor": None},
    {
        "type": "welcome",
        "session_id": "s",
        "resume": "reset",
        "reason": "later",
        "cursor": "k:0",
        "server_time_ms": 1,
        "server": "",
        "heartbeat_ms": 1,
        "limits": {"a": 1},
    },
    {
        "type": "reply",
        "id": "1",
        "cursor": "k:1",
        "error": {
            "code": 10007,
            "name": "NO_PERMISSION",
            "message": "",
            "retryable": False,
            "detail": {},
        },
    },
    {
        "type": "events",
        "cursor": "k:1",
        "events": [
            {
                "kind": "tip",
                "event": "renamed",
                "group_id": "g",
                "time_ms": 1,
                "seq": 2,
                "data": {"name": "é"},
            }
        ],
    },
    {"type": "bye", "code": 4503, "reason": "draining", "retry_after_ms": 1},
    *(
        {"type": "request", "id": f"r{number}", "method": method.name, "params": method.example}
        for number, method in enumerate(METHODS.values())
    ),
]

VALUES: Final[Sequence[object]] = [
    None, True, 0, -1, 2**53 - 1, -(2**53) + 1, 2**53, 2**64 - 1, 0.5, -0.0, 1e308, "", "é\u0000",
    "\U0001f600", [], {}, [[[[[[[[[]]]]]]]]], {"a": {"b": [1, None, "x"]}}, [0] * 20,
]  # fmt: skip

_BROKEN_JSON: Final = [
    b"", b"{", b"{} {}", b'{"a":NaN}', b"[1e999]", b'{"a":1,"a":1}', b'"\\ud800"', b'"\xff"',
    b'"\xed\xa0\x80"', b"\xef\xbb\xbf{}", b"[" * 200, b"1" * 200, b'"\\ud83d\\ude00"', b"-0", b"1E2",
]  # fmt: skip

_BROKEN_MSGPACK: Final = [
    b"", b"\x82\xa1a\x01", b"\xd9\x20abc", b"\x01\x02", b"\xc1", b"\x82\xa1a\x01\xa1a\x02",
    b"\x81\x01\x02", b"\x81\xc4\x01a\x02", b"\xc4\x00", b"\xd4\x05x", b"\xc7\x00\x05",
    b"\xd7\xff" + b"\xff" * 8, b"\xa3\xed\xa0\x80", b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff",
    b"\xdd\x00\x00\x03\xe8" * 40, b"\x91" * 200, b"\xca\x7f\xc0\x00\x00",
    bytes(msgpack.packb(math.inf)),
]  # fmt: skip


def _packed(codec: Codec, value: object) -> bytes:
    return json.dumps(value).encode() if codec is JSON else bytes(msgpack.packb(value))


def _messages(codec: Codec) -> list[bytes]:
    broken = _BROKEN_JSON if codec is JSON else _BROKEN_MSGPACK
    return [*(_packed(codec, value) for value in (*FRAMES, *VALUES)), *broken]


def _signatures() -> Iterator[bytes]:
    token = usersig.sign(
        USER_ID, sdkappid=SDKAPPID, secret_key=SECRET_KEY, now_s=ISSUED_S, expire_s=86_400
    )
    yield token.encode()
    yield from (
        b"",
        b"eJx",
        b"eJyrVgrx*-_",
        b"x" * 5_000,
        token.encode()[:-9],
        token.swapcase().encode(),
    )
    document = {
        "TLS.ver": "2.0", "TLS.identifier": USER_ID, "TLS.sdkappid": SDKAPPID,
        "TLS.expire": 86_400, "TLS.time": ISSUED_S, "TLS.sig": "A" * 43 + "=", "TLS.userbuf": "QQ==",
    }  # fmt: skip
    for name in document:
        for value in (document[name], None, True, -1, 2**64, "", "a\nb"):
            yield json.dumps(document | {name: value}).encode()
    yield b'{"TLS.ver":"2.0","TLS.ver":"2.0"}'
    yield b"[" * 300
    yield b"0" * 4_200


def _cursors() -> Iterator[bytes]:
    yield from (b"", b":", b"5b1d4d9b:10", b"5b1d4d9b:1000", b"5b1d4d9b:9", b"5b1d4d9b:1001")
    yield from (b"k7f2:1", b"5b1d4d9b:-1", b"5b1d4d9b:+10", "5b1d4d9b:\u0661\u0660".encode())
    yield from (b"5b1d4d9b:" + b"9" * 30, b"x" * 300, b"YWxpY2U", b"MTAw", b"MTAwOmc", b"_-8", b"=")


def _connections() -> Iterator[bytes]:
    """The first two bytes are those of ``tests.fuzz.handshake``: where it begins, how it is cut."""
    for codec in (JSON, MSGPACK):
        bit, opcode = (1, BINARY) if codec.is_binary else (0, TEXT)
        hello = frame_bytes(opcode, codec.encode(hello_of("bob")))
        for cut in (0, 1, 7):
            yield bytes((bit, cut)) + handshake_bytes(codec) + hello
        yield bytes((bit | 2, 0)) + hello + hello
        for number, frame in enumerate(FRAMES):
            yield bytes((bit | 6, number % 3)) + frame_bytes(opcode, codec.encode(frame))
        halves = frame_bytes(opcode, b"{", fin=False) + frame_bytes(CONTINUATION, b"}")
        for start in (2, 6):
            head = bytes((bit | start, 0))
            yield head + halves
            yield head + frame_bytes(PING, b"x") * 60
            yield head + frame_bytes(PONG, b"x") + frame_bytes(CLOSE, b"\x03\xe8bye") + halves
            yield head + frame_bytes(CLOSE, b"\x03")
            yield head + frame_bytes(CLOSE, b"\x03\xe8\xff")
            yield head + frame_bytes(opcode, b"", rsv=4)
            yield head + frame_bytes(3)
            yield head + frame_bytes(opcode, b"x", masked=False)
            yield head + frame_bytes(opcode, b"", length=2**62)
            yield (
                head
                + frame_bytes(opcode, b"", fin=False)
                + frame_bytes(CONTINUATION, fin=False) * 300
            )
    yield b"\0\0" + handshake_bytes(None)
    yield b"\0\0" + handshake_bytes(JSON, "/ws?token=x")
    yield b"\0\0" + handshake_bytes(JSON).replace(b"muster.v1.json", b"chat")
    yield b"\0\0" + handshake_bytes(JSON).replace(b"websocket\r", b"h2c\r")
    yield b"\0\0POST /ws HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"
    yield b"\0\x05GET /ws HTTP/1.1\r\n" + b"X-A: b\r\n" * 140
    yield b"\0\0GET /ws HTTP/1.1\r\nX: " + b"x" * 9_000
    yield b"\0\0\x16\x03\x01\x02\x00\x01"
    yield b"\0\0" + handshake_bytes(JSON).replace(
        b"\r\n\r\n", b"\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    )


def seeds() -> dict[str, list[bytes]]:
    """Target -> its first inputs, and what was once found by it."""
    first: dict[str, list[bytes]] = {
        "json": _messages(JSON),
        "msgpack": _messages(MSGPACK),
        "agree": [*_messages(JSON), *_messages(MSGPACK)],
        "handshake": list(_connections()),
        "usersig": list(_signatures()),
        "cursor": list(_cursors()),
    }
    return {name: [*inputs, *FOUND.get(name, ())] for name, inputs in first.items()}


FOUND: Final[Mapping[str, Sequence[bytes]]] = {
    "json": [
        # The SDK took a kind or a reason for something that can be looked up in a set.
        b'{"type":"events","cursor":"k:1","events":[{"kind":{"name":1}}]}',
        b'{"type":"welcome","session_id":"s","resume":"fresh","cursor":"k:0","server_time_ms":1,'
        b'"server":"","heartbeat_ms":1,"limits":{},"reason":[]}',
    ],
    "handshake": [
        # Frames behind a handshake were read before it was answered, refused or not.
        b"\0\0" + handshake_bytes(JSON).replace(b"muster.v1.json", b"chat") + b"x" * 60,
        b"\0\0" + handshake_bytes(JSON) + b"x" * 60,
    ],
}
"""Inputs that once broke something; they are replayed for ever."""
