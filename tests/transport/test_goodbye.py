"""Who is sent away is asked to come back at a time of its own, the later the more there are."""

import random

import pytest

from tests.kit.byte_peer import BytePeer, node_of

LEAST_MS = 500


async def returns_ms(count: int) -> list[int]:
    """When a server with so many connections asks each of them to come back, ascending."""
    random.seed(count)
    async with node_of({"UNAUTHENTICATED_PER_ADDRESS": 0, "CLOSE_MS": 10}) as node:
        peers = [BytePeer(node) for _ in range(count)]
        for number, peer in enumerate(peers):
            await peer.welcomed(f"user-{number}")
        await node.drain()
        byes = [peer.take_messages()[-1] for peer in peers]
    assert {bye["type"] for bye in byes} == {"bye"}
    assert {bye["code"] for bye in byes} == {4503}
    return sorted(int(bye["retry_after_ms"]) for bye in byes)


@pytest.mark.parametrize("count", [20, 1_000, 3_000])
async def test_the_window_grows_with_their_number_and_is_used_evenly(count: int) -> None:
    returns = await returns_ms(count)
    window_ms = max(1_000, count)
    assert returns[0] >= LEAST_MS
    assert returns[-1] < LEAST_MS + window_ms
    if count < 1_000:
        return
    tenths = [0] * 10
    for at_ms in returns:
        tenths[(at_ms - LEAST_MS) * 10 // window_ms] += 1
    # A tenth of them in each tenth of the time, within four standard deviations.
    spread = 4 * (count * 0.1 * 0.9) ** 0.5
    assert all(abs(number - count / 10) <= spread for number in tenths), tenths
