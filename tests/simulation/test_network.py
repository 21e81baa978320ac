"""The network of the simulation behaves as asyncio's over sockets does, and breaks as told."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import pytest

from tests.simulation.network import Conditions, ListeningName, MemoryTransport, Network
from tests.simulation.trace import Trace
from tests.simulation.virtual_loop import VirtualLoop

PORT = 7700
Scene = Callable[["Ends"], Awaitable[None]]


class Noting(asyncio.Protocol):
    """Writes down what happens to it."""

    def __init__(self) -> None:
        self.events: list[object] = []
        self.data = bytearray()
        self.pieces: list[int] = []
        self.transport: MemoryTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(MemoryTransport, transport)
        self.events.append("made")

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.pieces.append(len(data))

    def eof_received(self) -> bool:
        self.events.append("eof")
        return False

    def pause_writing(self) -> None:
        self.events.append("pause")

    def resume_writing(self) -> None:
        self.events.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append(("lost", type(exc).__name__))


class Ends:
    """A connection in a network, with both protocols."""

    def __init__(self, loop: VirtualLoop, conditions: Conditions) -> None:
        self.loop = loop
        self.network = Network(loop, 1, Trace(loop))
        self.network.conditions_of = lambda: conditions
        self.client = Noting()
        self.server = Noting()

    async def connect(self) -> None:
        self.network.create_server(lambda: self.server, sock=ListeningName("sim", PORT))
        await self.network.create_connection(lambda: self.client, "sim", PORT)
        await asyncio.sleep(1)


def play(scene: Scene, conditions: Conditions | None = None) -> Ends:
    loop = VirtualLoop()
    ends = Ends(loop, conditions or Conditions())

    async def run() -> None:
        await ends.connect()
        await scene(ends)
        await asyncio.sleep(60)

    loop.run(run())
    loop.close()
    assert loop.errors == []
    return ends


@pytest.mark.parametrize("piece_bytes", [0, 1, 7])
def test_bytes_arrive_whole_and_in_order_however_they_are_split(piece_bytes: int) -> None:
    sent = bytes(range(256)) * 8

    async def scene(ends: Ends) -> None:
        for start in range(0, len(sent), 300):
            ends.client.transport.write(sent[start : start + 300])

    jittery = Conditions(piece_bytes=piece_bytes, jitter_s=0.5, window_bytes=500)
    ends = play(scene, jittery)
    assert bytes(ends.server.data) == sent
    assert not piece_bytes or max(ends.server.pieces) <= piece_bytes


def test_what_the_kernels_cannot_hold_waits_and_pauses_the_protocol_until_it_is_read() -> None:
    async def scene(ends: Ends) -> None:
        transport = ends.server.transport
        transport.set_write_buffer_limits(high=1000)
        ends.client.transport.pause_reading()
        transport.write(b"x" * 1500)
        assert transport.get_write_buffer_size() == 1000
        assert ends.server.events == ["made"]
        transport.write(b"x")
        assert ends.server.events == ["made", "pause"]
        await asyncio.sleep(10)
        assert ends.server.events == ["made", "pause"]
        ends.client.transport.resume_reading()
        await asyncio.sleep(10)
        assert ends.server.events == ["made", "pause", "resume"]
        assert transport.get_write_buffer_size() == 0

    ends = play(scene, Conditions(window_bytes=500))
    assert len(ends.client.data) == 1501


def test_close_sends_what_is_written_and_the_peer_hears_of_the_end() -> None:
    async def scene(ends: Ends) -> None:
        ends.client.transport.write(b"x" * 2000)
        ends.client.transport.close()
        assert ends.client.transport.is_closing()

    ends = play(scene, Conditions(window_bytes=500))
    assert len(ends.server.data) == 2000
    assert ends.client.events == ["made", ("lost", "NoneType")]
    assert ends.server.events == ["made", "eof", ("lost", "NoneType")]


def test_abort_drops_what_is_not_yet_on_its_way() -> None:
    async def scene(ends: Ends) -> None:
        ends.client.transport.write(b"x" * 2000)
        ends.client.transport.abort()

    ends = play(scene, Conditions(window_bytes=500))
    assert len(ends.server.data) == 500
    assert ends.client.events == ["made", ("lost", "NoneType")]


def test_after_the_end_of_its_data_an_end_still_reads_and_may_not_write() -> None:
    class Patient(Noting):
        def eof_received(self) -> bool:
            super().eof_received()
            return True

    async def scene(ends: Ends) -> None:
        ends.client.transport.write_eof()
        with pytest.raises(RuntimeError):
            ends.client.transport.write(b"x")
        await asyncio.sleep(1)
        ends.server.transport.write(b"still here")

    loop = VirtualLoop()
    ends = Ends(loop, Conditions())
    ends.server = Patient()

    async def run() -> None:
        await ends.connect()
        await scene(ends)
        await asyncio.sleep(1)

    loop.run(run())
    loop.close()
    assert bytes(ends.client.data) == b"still here"
    assert ends.server.events == ["made", "eof"]


def test_a_cut_loses_what_is_on_its_way_and_each_end_learns_of_it_in_its_time() -> None:
    async def scene(ends: Ends) -> None:
        ends.client.transport.write(b"lost")
        ends.network.links[0].cut(0.0, 5.0)
        await asyncio.sleep(1)
        assert ends.client.events == ["made", ("lost", "ConnectionResetError")]
        assert ends.server.events == ["made"]
        ends.server.transport.write(b"into the void")

    ends = play(scene)
    assert ends.server.events == ["made", ("lost", "ConnectionResetError")]
    assert ends.server.data == ends.client.data == b""


def test_a_silent_direction_tells_nobody() -> None:
    async def scene(ends: Ends) -> None:
        ends.client.transport.is_silent = True
        ends.client.transport.write(b"x")
        ends.client.transport.abort()
        ends.server.transport.write(b"y")

    ends = play(scene)
    assert ends.server.events == ["made"]
    assert ends.server.data == b""


def test_data_for_an_end_that_is_gone_resets_the_sender() -> None:
    async def scene(ends: Ends) -> None:
        ends.server.transport.abort()
        ends.client.transport.write(b"x")

    ends = play(scene)
    assert ends.client.events in (
        ["made", "eof", ("lost", "NoneType")],
        ["made", ("lost", "ConnectionResetError")],
    )


def test_nobody_listens_nobody_answers() -> None:
    async def scene(ends: Ends) -> None:
        del ends.network.listeners[PORT]
        with pytest.raises(ConnectionRefusedError):
            await ends.network.create_connection(Noting, "sim", PORT)
        ends.network.is_hanging = True
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(100):
                await ends.network.create_connection(Noting, "sim", PORT)

    play(scene)
