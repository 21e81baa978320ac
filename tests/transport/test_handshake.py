"""The bytes before a hello: what is behind the handshake waits, and a head has an end."""

import pytest

from protocol.codec import JSON, MSGPACK, Codec
from tests.kit.byte_peer import BytePeer, handshake_bytes, node_of
from tests.kit.fakes import until_idle
from tests.kit.system_peer import PING, TEXT, frame_bytes

BOTH = pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=["json", "msgpack"])
BAD_FRAMES = {
    "an opcode that is none": frame_bytes(3),
    "a reserved bit": frame_bytes(TEXT, b"", rsv=4),
    "no mask": frame_bytes(TEXT, b"{}", masked=False),
    "HTTP": b"x" * 200,
}


@BOTH
@pytest.mark.parametrize("cut", [1, 7, 10_000])
@pytest.mark.parametrize("bad", BAD_FRAMES.values(), ids=BAD_FRAMES)
async def test_a_malformed_frame_right_behind_the_handshake(
    codec: Codec, bad: bytes, cut: int
) -> None:
    """It is answered as it is later: the handshake's answer, a bye, 4400."""
    async with node_of() as node:
        peer = BytePeer(node, codec)
        peer.send_cut(handshake_bytes(codec) + bad, [cut])
        assert peer.take_head().startswith("HTTP/1.1 101 ")
        said, code = peer.take_end()
        assert [message["type"] for message in said] == ["bye"]
        assert code == said[0]["code"] == 4400
        assert peer.transport.has_ended


@pytest.mark.parametrize("cut", [1, 10_000])
@pytest.mark.parametrize("bad", [*BAD_FRAMES.values(), frame_bytes(PING) * 100])
async def test_what_is_behind_a_refused_handshake_is_not_looked_at(bad: bytes, cut: int) -> None:
    async with node_of() as node:
        peer = BytePeer(node)
        peer.send_cut(handshake_bytes(JSON, "/elsewhere") + bad, [cut])
        assert peer.take_head().startswith("HTTP/1.1 404 ")
        assert peer.transport.written.startswith(b"The WebSocket endpoint is /ws")
        assert peer.transport.has_ended
        peer.end()
        await until_idle()
        assert node.listener.connection_count == 0


@pytest.mark.parametrize("piece", [1, 100, 4_000])
async def test_a_head_without_end_is_ended_at_16_kib(piece: int) -> None:
    async with node_of() as node:
        peer = BytePeer(node)
        peer.send(b"GET /ws HTTP/1.1\r\nHost: localhost\r\n")
        sent = 0
        while not peer.is_gone:
            drip = (b"X-Slow: " + b"x" * 8_000)[: piece - 2] + b"\r\n" if piece > 9 else b"x"
            peer.send(drip)
            sent += len(drip)
            assert sent < 32 * 1024
        assert peer.take_head().startswith("HTTP/1.1 4"), "431, or 400 for what is no header"
        peer.end()
        await until_idle()
        assert node.listener.connection_count == 0


async def test_a_head_of_15_kib_is_taken() -> None:
    async with node_of() as node:
        peer = BytePeer(node)
        head = handshake_bytes(JSON)[:-2] + (b"X: " + b"x" * 5_000 + b"\r\n") * 3 + b"\r\n"
        assert len(head) > 15_000
        peer.send(head)
        assert peer.take_head().startswith("HTTP/1.1 101 ")


def with_fields(*lines: str) -> bytes:
    """A handshake with more fields in its head."""
    return handshake_bytes(JSON)[:-2] + "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"


@pytest.mark.parametrize(
    "origin", ["https://app.example", "https://app.example.evil.test", "null", "file://", "x" * 99]
)
async def test_where_a_page_came_from_opens_nothing(origin: str) -> None:
    """A page of anybody may connect; without a token it is nobody, whatever the browser adds."""
    async with node_of() as node:
        peer = BytePeer(node)
        peer.send(with_fields(f"Origin: {origin}", "Cookie: session=alice; token=abc"))
        head = peer.take_head()
        assert head.startswith("HTTP/1.1 101 ")
        assert "cookie" not in head.lower()
        assert "access-control" not in head.lower()
        hello = {"type": "hello", "user_id": "alice", "user_sig": "", "device_id": "d"}
        peer.send(peer.message_bytes(hello))
        said, code = peer.take_end()
        assert (code, said[0]["error_code"]) == (4401, 70002)


@pytest.mark.parametrize(
    ("is_behind_proxy", "fields", "address"),
    [
        (False, [], "192.0.2.1"),
        (False, ["X-Forwarded-For: 203.0.113.9"], "192.0.2.1"),
        (True, [], "192.0.2.1"),
        (True, ["X-Forwarded-For: 203.0.113.9"], "203.0.113.9"),
        (True, ["X-Forwarded-For: 198.51.100.7, 203.0.113.9"], "203.0.113.9"),
        (True, ["X-Forwarded-For: 198.51.100.7", "X-Forwarded-For: 203.0.113.9"], "203.0.113.9"),
        (True, ["Forwarded: for=198.51.100.7", "X-Real-IP: 198.51.100.7"], "192.0.2.1"),
    ],
)
async def test_whose_connection_it_is(
    is_behind_proxy: bool, fields: list[str], address: str
) -> None:
    """One too many of an address is refused, by the address that the proxy has seen."""
    limits = {"UNAUTHENTICATED_PER_ADDRESS": 1}
    async with node_of(limits, is_behind_proxy=is_behind_proxy) as node:
        first = BytePeer(node)
        first.send(with_fields(*fields))
        assert first.take_head().startswith("HTTP/1.1 101 ")
        assert dict(node.listener.addresses._all) == {address: 1}
        second = BytePeer(node)
        second.send(with_fields(*fields))
        assert second.take_head().startswith("HTTP/1.1 429 ")
        first.end()
        second.end()
        await until_idle()
        assert not node.listener.addresses._all
