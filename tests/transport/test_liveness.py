"""Peers that are there are asked for a sign of life; peers that are not are let go of in time.

The time is the test's.
"""

from collections.abc import AsyncIterator
from typing import Final

import pytest

from server.node import Node
from tests.kit.byte_peer import BytePeer, node_of
from tests.kit.fakes import FakeClock, until
from tests.kit.system_peer import PING, PONG, frame_bytes

HEARTBEAT_MS: Final = 10_000
STEP_MS: Final = HEARTBEAT_MS // 50
SILENCE_MS: Final = 30_000
LIMITS: Final = {
    "HEARTBEAT_MS": HEARTBEAT_MS,
    "SILENCE_MS": SILENCE_MS,
    "SLOW_CLOSE_MS": 20,
    "CONTROL_FRAMES_PER_S": 0,
}


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with node_of(LIMITS) as it:
        yield it


def pass_time(node: Node, ms: int) -> None:
    """So much time passes, while the listener looks after its connections."""
    clock = node.listener.clock
    assert isinstance(clock, FakeClock)
    for _ in range(ms // STEP_MS):
        clock.advance(STEP_MS)
        node.listener.look_after()


def pings(peer: BytePeer) -> int:
    return sum(frame.opcode == PING for frame in peer.take_frames())


@pytest.mark.parametrize("number", range(0, 50, 7))
async def test_a_quiet_peer_is_asked_in_time_and_stays(node: Node, number: int) -> None:
    """Wherever its turn is among those of the others: it can answer before it would be gone."""
    for other in range(number):
        BytePeer(node).connection.abort()
        pass_time(node, STEP_MS * (other % 2))
    peer = BytePeer(node)
    await peer.welcomed("bob")
    for _ in range(6):
        pass_time(node, HEARTBEAT_MS * 3 // 2)
        assert pings(peer) >= 1
        peer.send(frame_bytes(PONG, b""))
    assert not peer.is_gone


@pytest.mark.parametrize("phase", range(0, 50, 3))
async def test_a_peer_that_answers_nothing_is_gone_within_two_heartbeats(
    node: Node, phase: int
) -> None:
    """Whenever it came, it is asked before, and has half a heartbeat to answer."""
    pass_time(node, phase * STEP_MS)
    dead, alive = BytePeer(node), BytePeer(node)
    await dead.welcomed("dead")
    await alive.welcomed("alive")
    silent_ms = asked_ms = 0
    while not dead.is_gone and silent_ms <= 2 * HEARTBEAT_MS:
        pass_time(node, STEP_MS)
        silent_ms += STEP_MS
        if pings(alive):
            alive.send(frame_bytes(PONG, b""))
        if pings(dead) and not asked_ms:
            asked_ms = silent_ms
    assert dead.transport.is_aborted
    assert HEARTBEAT_MS // 2 <= asked_ms <= silent_ms - HEARTBEAT_MS // 2 + STEP_MS
    assert silent_ms <= 2 * HEARTBEAT_MS
    assert not alive.is_gone
    await until(lambda: node.listener.connection_count == 1)
    assert node.hub.rooms.feed("dead") is None


async def test_who_answers_is_asked_once_in_a_heartbeat(node: Node) -> None:
    peer = BytePeer(node)
    await peer.welcomed("bob")
    asked = 0
    for _ in range(10 * HEARTBEAT_MS // STEP_MS):
        pass_time(node, STEP_MS)
        if pings(peer):
            asked += 1
            peer.send(frame_bytes(PONG, b""))
    assert 9 <= asked <= 11


async def test_a_peer_that_is_gone_while_its_buffer_is_full_is_let_go_of(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No ping can reach it and nothing is read from it, so it gets the time of a slow one."""
    peer = BytePeer(node)
    await peer.welcomed("bob")
    monkeypatch.setattr(peer.transport, "get_write_buffer_size", lambda: 2_000_000)
    peer.connection.pause_writing()
    pass_time(node, SILENCE_MS - 2 * STEP_MS)
    assert not peer.is_gone, "it may only be slow"
    assert not pings(peer), "what is full is not filled more"
    pass_time(node, 5 * STEP_MS)
    _messages, code = peer.take_end()
    assert code == 4408
    await until(lambda: node.listener.connection_count == 0)
    assert peer.transport.is_aborted
    assert node.hub.rooms.feed("bob") is None


async def test_a_peer_that_takes_a_little_now_and_then_stays(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = BytePeer(node)
    await peer.welcomed("bob")
    unread = 2_000_000
    monkeypatch.setattr(peer.transport, "get_write_buffer_size", lambda: unread)
    peer.connection.pause_writing()
    for _ in range(6):
        pass_time(node, SILENCE_MS - 5 * STEP_MS)
        unread -= 1
    assert not peer.is_gone
    pass_time(node, SILENCE_MS + 5 * STEP_MS)
    assert peer.take_end()[1] == 4408
