"""What the memory store offers to tests."""

import asyncio

import pytest

from server.service.ports import OutcomeUnknown, Unavailable
from server.storage.memory import MemoryStore
from tests.storage.builders import done, log, message, names, write_set


async def test_the_gate_holds_a_commit_back() -> None:
    entered, released = asyncio.Event(), asyncio.Event()

    async def gate() -> None:
        entered.set()
        await released.wait()

    store = MemoryStore(before_commit=gate)
    commit = asyncio.create_task(done(store, write_set(message("a"))))
    await entered.wait()
    assert await log(store) == []
    released.set()
    await commit
    assert names(await log(store)) == ["a"]


async def test_a_failed_commit_changes_nothing() -> None:
    store = MemoryStore()
    store.fail_next_commit(Unavailable("no room"))
    with pytest.raises(Unavailable, match="no room"):
        await store.commit(0, [write_set(message("a"))])
    await done(store, write_set(message("b")))
    assert names(await log(store)) == ["b"]


async def test_an_unknown_outcome_fences() -> None:
    store = MemoryStore()
    store.fail_next_commit(OutcomeUnknown("who knows"))
    for _ in range(2):
        with pytest.raises(OutcomeUnknown, match="who knows"):
            await store.commit(0, [write_set(message("a"))])
    with pytest.raises(OutcomeUnknown):
        await store.heads(0)
