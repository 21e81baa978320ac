"""How many connections an address may have: counted from the first byte on, and let go of."""

import asyncio

import pytest

from server.transport.admission import Addresses, Arrival
from tests.kit.byte_peer import BytePeer, handshake_bytes, node_of
from tests.kit.devices import rulebook_with

MOST = 3
LIMITS = {"UNAUTHENTICATED_PER_ADDRESS": MOST}


async def status_of(peer: BytePeer) -> int:
    peer.send(handshake_bytes())
    return int(peer.take_head().split()[1])


async def let_go(peer: BytePeer) -> None:
    peer.transport.abort()
    await asyncio.sleep(0)


async def test_a_connection_that_asks_for_nothing_counts() -> None:
    async with node_of(LIMITS) as node:
        silent = [BytePeer(node) for _ in range(MOST)]
        late = BytePeer(node)
        assert await status_of(late) == 429
        await let_go(late)
        await let_go(silent.pop())
        assert await status_of(BytePeer(node)) == 101


async def test_a_flood_of_silent_connections_is_ended_without_a_word() -> None:
    async with node_of(LIMITS) as node:
        peers = [BytePeer(node) for _ in range(10 * MOST)]
        await asyncio.sleep(0)
        assert [peer.transport.is_aborted for peer in peers] == (
            [False] * 2 * MOST + [True] * 8 * MOST
        )
        assert node.listener.connection_count == 2 * MOST
        assert not any(peer.transport.written for peer in peers)
        # The first ones came in time and are served.
        assert [await status_of(peer) for peer in peers[:MOST]] == [101] * MOST


async def test_those_who_have_said_hello_count_as_connections_of_their_address() -> None:
    async with node_of({"CONNECTIONS_PER_ADDRESS": MOST}) as node:
        peers = [BytePeer(node) for _ in range(MOST)]
        for number, peer in enumerate(peers):
            await peer.welcomed(f"user-{number}")
        late = BytePeer(node)
        assert await status_of(late) == 429
        await let_go(late)
        assert not any(peer.is_gone for peer in peers)
        await let_go(peers.pop())
        await BytePeer(node).welcomed("late")


async def test_who_has_said_hello_is_none_of_the_silent() -> None:
    async with node_of(LIMITS | {"DEVICES_PER_USER": 0}) as node:
        for number in range(3 * MOST):
            peer = BytePeer(node)
            await peer.welcomed("eve", device_id=f"d-{number}")
        assert node.listener.connection_count == 3 * MOST


async def test_behind_a_proxy_the_client_that_it_names_counts() -> None:
    async with node_of(LIMITS, is_behind_proxy=True) as node:
        silent = [BytePeer(node) for _ in range(3 * MOST)]
        await asyncio.sleep(0)
        assert not any(peer.is_gone for peer in silent)

        def asked(address: str) -> int:
            peer = BytePeer(node)
            request = handshake_bytes().removesuffix(b"\r\n")
            peer.send(request + f"X-Forwarded-For: {address}\r\n\r\n".encode())
            return int(peer.take_head().split()[1])

        named = ["198.51.100.1"] * (MOST + 1) + ["198.51.100.2"]
        assert [asked(address) for address in named] == [101] * MOST + [429, 101]


@pytest.mark.parametrize("is_introduced", [False, True])
def test_nothing_is_kept_of_addresses_that_are_gone(is_introduced: bool) -> None:
    addresses = Addresses(rulebook_with(LIMITS | {"CONNECTIONS_PER_ADDRESS": 50}))
    for number in range(1000):
        address = f"192.0.2.{number % 250}"
        assert addresses.enter(address) is Arrival.WELCOME
        if is_introduced:
            addresses.introduce(address)
        addresses.leave(address, was_introduced=is_introduced)
    assert not addresses


def test_one_address_has_so_many_connections() -> None:
    addresses = Addresses(rulebook_with({"CONNECTIONS_PER_ADDRESS": 2}))
    arrivals = []
    for _ in range(3):
        arrivals.append(addresses.enter("a"))
        addresses.introduce("a")
    assert arrivals == [Arrival.WELCOME, Arrival.WELCOME, Arrival.ONE_TOO_MANY]
    assert addresses.enter("b") is Arrival.WELCOME
    for _ in range(2):
        addresses.leave("a", was_introduced=True)
    assert addresses.enter("a") is Arrival.WELCOME
