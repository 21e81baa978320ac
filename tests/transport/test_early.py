"""What a client says before its welcome is there waits, and breaks no rule by it."""

import pytest

from protocol.codec import JSON, MSGPACK, Codec
from tests.kit.byte_peer import BytePeer, handshake_bytes, hello_of, node_of
from tests.kit.fakes import until

RATELESS = {"REQUESTS_PER_S": 0, "USER_REQUESTS_PER_S": 0}


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=lambda codec: codec.name)
@pytest.mark.parametrize("in_one_piece", [True, False])
async def test_all_that_comes_with_hello_is_answered(codec: Codec, in_one_piece: bool) -> None:
    """More than REQUESTS_IN_FLIGHT of it too: one more is refused, and the connection lives."""
    async with node_of(RATELESS | {"REQUESTS_IN_FLIGHT": 8}) as node:
        peer = BytePeer(node, codec)
        ids = [f"r{number}" for number in range(40)]
        messages = [peer.message_bytes(hello_of("eve"))]
        for request_id in ids:
            params = {"type": "Public", "name": request_id}
            request = {"type": "request", "id": request_id, "method": "create_group"}
            messages.append(peer.message_bytes(request | {"params": params}))
        peer.send(handshake_bytes(codec))
        peer.take_head()
        for piece in [b"".join(messages)] if in_one_piece else messages:
            peer.send(piece)
        assert peer.transport.is_reading_paused
        said: list[dict[str, object]] = []
        replies: list[dict[str, object]] = []

        def all_answered() -> bool:
            said.extend(peer.take_messages())
            if not peer.transport.is_reading_paused:
                peer.send(b"")
            replies[:] = [message for message in said if message["type"] == "reply"]
            return len(replies) == len(ids) or peer.is_gone

        await until(all_answered)
        assert said[0]["type"] == "welcome"
        assert {message["type"] for message in said[1:]} == {"events", "reply"}
        assert sorted(str(reply["id"]) for reply in replies) == sorted(ids)
        done = [reply["id"] for reply in replies if "result" in reply]
        assert done[:8] == ids[:8]
        peer.send(peer.message_bytes({"type": "ping"}))
        await until(lambda: peer.transport.written)
        assert [message["type"] for message in peer.take_messages()] == ["pong"]
