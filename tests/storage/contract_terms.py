"""What opening a store again, and opening copies of it, does to its history. A part of ``contract``."""

from typing import Protocol

from server.service.ports import Heads, Store
from tests.storage.builders import done, message, write_set


class Places(Protocol):
    """Where stores are kept when nobody has them open."""

    async def open(self, place: str, term: str) -> Store:
        """The store at ``place``, made if there is none; its term is ``term`` from now on."""

    def copy(self, source: str, target: str) -> None:
        """Make ``target`` what ``source`` is now, whether it is open or not; it is not open."""


async def say(store: Store, count: int, *, time_ms: int = 1) -> None:
    await done(store, *(write_set(message("m", time_ms=time_ms)) for _ in range(count)))


class TermContract:
    """Terms."""

    async def test_every_opening_begins_a_term_where_the_log_ends(self, places: Places) -> None:
        store = await places.open("a", "first")
        assert await store.heads(0) == Heads("first", 0, 0)
        await say(store, 3)
        await store.close()

        store = await places.open("a", "second")
        assert await store.heads(0) == Heads("second", 3, 0, {"first": 3}, 1)
        await store.close()
        store = await places.open("a", "third")
        await say(store, 2)
        assert await store.heads(0) == Heads("third", 5, 0, {"first": 3, "second": 3}, 1)
        await store.close()

    async def test_the_last_terms_name_goes_on_with_it(self, places: Places) -> None:
        for position in (0, 2, 4):
            store = await places.open("a", "first")
            assert (await store.heads(0)).position == position
            assert (await store.heads(0)).earlier == {}
            await say(store, 2)
            await store.close()

    async def test_a_copy_and_its_original_part_where_it_was_made(self, places: Places) -> None:
        original = await places.open("a", "first")
        await say(original, 3)
        places.copy("a", "b")
        await say(original, 4)
        await original.close()
        copy = await places.open("b", "second")
        assert await copy.heads(0) == Heads("second", 3, 0, {"first": 3}, 1)
        original = await places.open("a", "third")
        assert await original.heads(0) == Heads("third", 7, 0, {"first": 7}, 1)
        await say(copy, 9)
        await copy.close()
        copy = await places.open("b", "fourth")
        assert (await copy.heads(0)).earlier == {"first": 3, "second": 12}
        for store in (original, copy):
            await store.close()

    async def test_terms_outlast_what_was_told_in_them(self, places: Places) -> None:
        store = await places.open("a", "first")
        await say(store, 3)
        await store.close()
        store = await places.open("a", "second")
        await say(store, 3)
        assert await store.trim(0, 5, 5) == 5
        assert await store.heads(0) == Heads("second", 6, 5, {"first": 3}, 1)
        await store.close()

    async def test_the_time_of_the_newest_entry_is_known(self, store: Store) -> None:
        assert (await store.heads(0)).last_time_ms == 0
        await say(store, 1, time_ms=70)
        assert (await store.heads(0)).last_time_ms == 70
        await say(store, 1, time_ms=60)
        assert (await store.heads(0)).last_time_ms == 60
        await store.trim(0, 99, 9)
        assert (await store.heads(0)).last_time_ms == 0
