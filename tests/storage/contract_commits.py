"""How batches are committed. A part of ``contract``."""

import asyncio

import pytest

from protocol.vocabulary import Role
from server.domain.model import (
    GroupKey,
    MemberKey,
)
from server.service.ports import (
    Conflict,
    Done,
    Duplicate,
    Followed,
    Heads,
    RequestKey,
    Store,
    StoredReply,
    Unavailable,
    Version,
)
from tests.storage.builders import (
    asked,
    commit,
    done,
    entry,
    group,
    log,
    member,
    message,
    names,
    notice,
    write_set,
)

ANN, BOB = MemberKey("g", "ann"), MemberKey("g", "bob")
G = GroupKey("g")


class CommitContract:
    """Order, numbers, expectations and request ids."""

    async def test_an_empty_store_has_nothing(self, store: Store) -> None:
        assert await store.heads(0) == Heads(epoch="first", position=0, floor=0)
        assert await store.tail(0, 0, 10) == []
        assert await store.load([G, ANN]) == {G: Version(0, None), ANN: Version(0, None)}
        assert (await store.followed(["ann"]))["ann"] == Followed(0, [], [])
        assert await store.group_counts(["ann"]) == {"ann": 0}
        assert await store.replay(RequestKey("ann", "r")) is None
        assert await store.groups_version("ann") == 0
        assert await store.commit(0, []) == []

    async def test_entries_are_numbered_in_order_without_a_hole(self, store: Store) -> None:
        first, second, third = await done(
            store,
            write_set(message("a"), notice("n", "bob"), message("b")),
            write_set(message("c", "h"), notice("m", "bob")),
            write_set(notice("k", "ann")),
        )
        numbers = [
            (told.entry.event, told.position, told.seq)
            for outcome in (first, second, third)
            for told in outcome.committed
        ]
        assert numbers == [
            ("a", 1, 1),
            ("n", 2, 1),
            ("b", 3, 2),
            ("c", 4, 1),
            ("m", 5, 2),
            ("k", 6, 1),
        ]
        assert [(outcome.position, outcome.seq) for outcome in (first, second, third)] == [
            (3, 1),
            (5, 1),
            (6, None),
        ]

    async def test_numbers_go_on_in_the_next_batch(self, store: Store) -> None:
        await done(store, write_set(message("a")))
        (outcome,) = await done(store, write_set(message("b")))
        assert (outcome.position, outcome.seq) == (2, 2)

    async def test_what_was_committed_is_read_as_it_was(self, store: Store) -> None:
        told = message(
            "hello",
            data={"body": [{"type": "text", "content": {"text": "Zürich \u0000 \U0001f600"}}]},
            op=3,
            actor_id="ann",
            from_id="bob",
            message_id="m1",
            time_ms=77,
            joined=("cat", "dan"),
            left=("eve",),
        )
        (outcome,) = await done(store, write_set(told))
        assert list(outcome.committed) == await log(store)
        assert (await log(store))[0].entry == told

    async def test_an_unstored_entry_comes_back_without_numbers(self, store: Store) -> None:
        (outcome,) = await done(
            store,
            asked("r", message("a", is_stored=False), notice("n", "bob"), tip_b := entry("b")),
        )
        assert [(t.entry.event, t.position, t.seq) for t in outcome.committed] == [
            ("a", 0, 0),
            ("n", 1, 1),
            ("b", 2, 1),
        ]
        assert outcome.committed[2].entry == tip_b
        assert outcome.seq == 1
        assert names(await store.tail(0, 0, 10)) == ["n", "b"]

    async def test_a_write_set_that_stores_nothing_takes_no_position(self, store: Store) -> None:
        await done(store, write_set(message("a")))
        (outcome,) = await done(store, asked("r", message("b", is_stored=False), counts={"c": 1}))
        assert (outcome.position, outcome.seq) == (1, None)
        assert (await store.heads(0)).position == 1
        assert await store.replay(RequestKey("ann", "r")) is not None

    async def test_puts_without_entries_take_one_position(self, store: Store) -> None:
        first, second = await done(
            store, write_set(puts={G: group(), ANN: member("ann")}), write_set(message("a"))
        )
        assert (first.position, second.position, second.seq) == (1, 2, 1)
        assert [told.position for told in await store.tail(0, 0, 10)] == [2]
        assert (await store.missed(0, "ann", 0, 1, 10)).until == 1

    async def test_rows_have_the_position_at_which_their_write_set_ends(self, store: Store) -> None:
        (outcome,) = await done(
            store, write_set(message("a"), message("b"), puts={G: group(), ANN: member("ann")})
        )
        assert outcome.position == 2
        assert await store.load([G, ANN, BOB]) == {
            G: Version(2, group()),
            ANN: Version(2, member("ann")),
            BOB: Version(0, None),
        }

    async def test_a_deleted_row_is_gone(self, store: Store) -> None:
        await done(store, write_set(puts={G: group(), ANN: member("ann")}))
        await done(store, write_set(puts={G: None, ANN: None}))
        assert await store.load([G, ANN]) == {G: Version(0, None), ANN: Version(0, None)}

    async def test_a_row_that_was_replaced_has_the_new_content(self, store: Store) -> None:
        await done(store, write_set(puts={G: group(), ANN: member("ann")}))
        await done(store, write_set(puts={G: group(name="Chess", version=2)}))
        assert (await store.load([G]))[G] == Version(2, group(name="Chess", version=2))

    async def test_a_stale_expectation_is_a_conflict_without_a_trace(self, store: Store) -> None:
        await done(store, write_set(message("a"), puts={G: group()}))
        stale = asked("r", message("b"), expect={G: 7}, puts={ANN: member("ann")}, counts={"c": 1})
        before = await store.groups_version("ann")
        assert await commit(store, stale) == [Conflict()]
        assert (await store.heads(0)).position == 1
        assert names(await log(store)) == ["a"]
        assert await store.replay(RequestKey("ann", "r")) is None
        assert await store.counters(["c"]) == {"c": 0}
        assert (await store.load([ANN]))[ANN] == Version(0, None)
        assert await store.groups_version("ann") == before

    async def test_a_conflict_does_not_disturb_its_neighbours(self, store: Store) -> None:
        outcomes = await commit(
            store,
            write_set(message("a")),
            write_set(message("b"), expect={G: 3}),
            write_set(message("c")),
        )
        assert [type(outcome) for outcome in outcomes] == [Done, Conflict, Done]
        assert [(t.entry.event, t.position, t.seq) for t in await log(store)] == [
            ("a", 1, 1),
            ("c", 2, 2),
        ]

    @pytest.mark.parametrize(("position", "outcome"), [(0, Conflict), (1, Done), (2, Conflict)])
    async def test_an_expectation_holds_for_exactly_one_version(
        self, store: Store, position: int, outcome: type
    ) -> None:
        await done(store, write_set(puts={G: group()}))
        assert [type(o) for o in await commit(store, write_set(expect={G: position}))] == [outcome]

    async def test_expecting_no_row_holds_only_without_one(self, store: Store) -> None:
        await done(store, write_set(expect={ANN: 0}, puts={ANN: member("ann")}))
        assert await commit(store, write_set(expect={ANN: 0})) == [Conflict()]
        await done(store, write_set(puts={ANN: None}))
        await done(store, write_set(expect={ANN: 0}))

    async def test_a_put_within_the_batch_makes_an_older_expectation_stale(
        self, store: Store
    ) -> None:
        await done(store, write_set(puts={G: group()}))
        outcomes = await commit(
            store,
            write_set(expect={G: 1}, puts={G: group(version=2)}),
            write_set(expect={G: 1}, puts={G: group(version=9)}),
        )
        assert [type(outcome) for outcome in outcomes] == [Done, Conflict]
        assert (await store.load([G]))[G] == Version(2, group(version=2))

    async def test_a_row_may_be_expected_as_an_earlier_write_set_leaves_it(
        self, store: Store
    ) -> None:
        outcomes = await commit(
            store,
            write_set(message("a"), puts={G: group()}),
            write_set(message("b"), expect={G: -1}, puts={G: group(version=2)}),
            write_set(message("c"), expect={G: -2}),
            write_set(message("d"), expect={G: -3}),
            write_set(message("e"), expect={G: -1}),
        )
        assert [type(outcome) for outcome in outcomes] == [Done, Done, Done, Done, Conflict]
        assert (await store.load([G]))[G] == Version(2, group(version=2))

    async def test_a_row_may_be_expected_as_an_earlier_write_set_deletes_it(
        self, store: Store
    ) -> None:
        await done(store, write_set(puts={ANN: member("ann")}))
        outcomes = await commit(
            store,
            write_set(puts={ANN: None}),
            write_set(expect={ANN: -1}, puts={ANN: member("ann", role=Role.ADMIN)}),
            write_set(expect={ANN: -1}),
        )
        assert [type(outcome) for outcome in outcomes] == [Done, Done, Conflict]

    async def test_what_rests_on_a_conflict_or_a_duplicate_conflicts_too(
        self, store: Store
    ) -> None:
        await done(store, asked("r"))
        outcomes = await commit(
            store,
            write_set(expect={G: 5}),
            write_set(expect={G: -1}),
            asked("r"),
            write_set(expect={G: -3}),
            write_set(expect={G: -5}),
            write_set(expect={G: -9}),
        )
        assert [type(outcome) for outcome in outcomes] == [
            Conflict,
            Conflict,
            Duplicate,
            Conflict,
            Conflict,
            Conflict,
        ]

    async def test_a_known_request_gives_the_first_reply(self, store: Store) -> None:
        await done(store, asked("r", message("a"), notice("n", "bob")))
        stored = StoredReply(b"digest of r", b"reply to r", 1)
        again = asked("r", message("b"), expect={G: 99}, counts={"c": 1})
        assert await commit(store, again, write_set(message("c"))) == [
            Duplicate(stored),
            Done(3, 2, [(await log(store))[1]]),
        ]
        assert names(await log(store)) == ["a", "c"]
        assert await store.counters(["c"]) == {"c": 0}
        assert await store.replay(RequestKey("ann", "r")) == stored

    async def test_a_request_id_belongs_to_its_user(self, store: Store) -> None:
        await done(store, asked("r"), asked("r", user_id="bob"), asked("s"))
        assert await store.replay(RequestKey("cat", "r")) is None
        assert await store.replay(RequestKey("bob", "r")) is not None

    async def test_a_request_twice_in_a_batch_is_done_once(self, store: Store) -> None:
        outcomes = await commit(
            store, asked("r", message("a")), asked("r", message("b")), asked("s", message("c"))
        )
        assert outcomes[1] == Duplicate(StoredReply(b"digest of r", b"reply to r", 1))
        assert names(await log(store)) == ["a", "c"]

    async def test_a_request_whose_first_try_conflicted_is_not_known(self, store: Store) -> None:
        outcomes = await commit(
            store, asked("r", message("a"), expect={G: 5}), asked("r", message("b"))
        )
        assert [type(outcome) for outcome in outcomes] == [Conflict, Done]
        assert names(await log(store)) == ["b"]

    async def test_a_reply_may_be_any_bytes(self, store: Store) -> None:
        odd = bytes(range(256))
        key = RequestKey("ann", "r'\"\\")
        await done(store, write_set(request=key, digest=odd, reply=odd))
        assert await store.replay(key) == StoredReply(odd, odd, None)

    async def test_the_oldest_requests_are_forgotten(self, store: Store) -> None:
        await done(store, *(asked(f"r{n}", time_ms=n) for n in range(1, 6)))
        assert await store.forget_requests(4, 2) == 2
        assert await store.forget_requests(4, 2) == 1
        assert await store.forget_requests(4, 2) == 0
        left = [await store.replay(RequestKey("ann", f"r{n}")) for n in range(1, 6)]
        assert [stored is not None for stored in left] == [False, False, False, True, True]
        assert [type(o) for o in await commit(store, asked("r1"), asked("r4"))] == [
            Done,
            Duplicate,
        ]

    async def test_counters_add_up(self, store: Store) -> None:
        await done(
            store,
            write_set(counts={"a": 2, "b": -1}),
            write_set(counts={"a": 3}),
        )
        await done(store, write_set(counts={"a": -1}))
        assert await store.counters(["a", "b", "c"]) == {"a": 4, "b": -1, "c": 0}

    async def test_calls_at_the_same_time_are_applied_in_their_order(self, store: Store) -> None:
        outcomes = await asyncio.gather(
            *(done(store, write_set(message(str(n)))) for n in range(20))
        )
        assert [outcome.position for (outcome,) in outcomes] == list(range(1, 21))
        assert names(await log(store)) == [str(n) for n in range(20)]

    async def test_giving_up_the_wait_does_not_disturb_the_commit(self, store: Store) -> None:
        given_up = asyncio.create_task(done(store, write_set(message("a"))))
        after = asyncio.create_task(done(store, write_set(message("b"))))
        await asyncio.sleep(0)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        await after
        assert names(await log(store)) == ["a", "b"]

    async def test_reads_see_what_was_committed_before(self, store: Store) -> None:
        for n in range(1, 30):
            await done(store, write_set(message("a"), puts={G: group(version=n)}))
            heads, rows, tail = await asyncio.gather(
                store.heads(0), store.load([G]), store.tail(0, n - 1, 10)
            )
            assert (heads.position, rows[G].position, len(tail)) == (n, n, 1)

    async def test_what_cannot_be_stored_leaves_no_trace(self, store: Store) -> None:
        odd = asked("r", message("a", data={"what": object()}), puts={G: group()})
        with pytest.raises(TypeError):
            await commit(store, write_set(message("b")), odd)
        assert (await store.heads(0)).position == 0
        assert (await store.load([G]))[G] == Version(0, None)
        await done(store, write_set(message("c")))
        assert [(t.entry.event, t.position, t.seq) for t in await log(store)] == [("c", 1, 1)]

    async def test_a_closed_store_serves_no_more(self, store: Store) -> None:
        begun = asyncio.create_task(done(store, write_set(message("a"))))
        await asyncio.sleep(0)
        await store.close()
        await store.close()
        await begun
        with pytest.raises(Unavailable):
            await store.commit(0, [])
        with pytest.raises(Unavailable):
            await store.heads(0)

    async def test_there_is_one_shard(self, store: Store) -> None:
        with pytest.raises(ValueError, match="shard 0"):
            await store.commit(1, [])
        with pytest.raises(ValueError, match="shard 0"):
            await store.heads(1)

    async def test_a_refusal_changes_nothing_and_is_remembered_nowhere(self, store: Store) -> None:
        await done(store, write_set(puts={G: group("g")}))
        before = await store.heads(0)
        key = RequestKey("ann", "r")
        refusal = write_set(expect={G: 1}, is_refusal=True, request=key)
        (outcome,) = await commit(store, refusal)
        assert outcome == Done(1, None, [])
        assert await store.heads(0) == before
        assert await store.replay(key) is None

    async def test_a_refusal_of_what_was_done_before_is_a_repeat(self, store: Store) -> None:
        await done(store, asked("r"))
        key = RequestKey("ann", "r")
        (outcome,) = await commit(store, write_set(is_refusal=True, request=key, expect={G: 7}))
        assert isinstance(outcome, Duplicate)
        assert outcome.stored.reply == b"reply to r"

    async def test_a_refusal_that_rests_on_rows_that_are_not_so_is_a_conflict(
        self, store: Store
    ) -> None:
        await done(store, write_set(puts={G: group("g")}))
        repeat = asked("r")
        await done(store, repeat)
        outcomes = await commit(
            store,
            write_set(expect={G: 0}, is_refusal=True),
            repeat,
            write_set(expect={G: -2}, is_refusal=True),
        )
        assert [type(outcome) for outcome in outcomes] == [Conflict, Duplicate, Conflict]

    async def test_behind_a_conflict_nothing_of_the_same_user_is_done(self, store: Store) -> None:
        await done(store, asked("r"))
        stale = {G: 5}
        outcomes = await commit(
            store,
            write_set(message("a"), actor_id="ann"),
            write_set(message("b"), actor_id="ann", expect=stale),
            write_set(message("c"), actor_id="bob"),
            write_set(message("d"), actor_id="ann"),
            write_set(actor_id="ann", is_refusal=True),
            asked("r"),
            write_set(message("e"), actor_id=""),
        )
        assert [type(outcome) for outcome in outcomes] == [
            Done, Conflict, Done, Conflict, Conflict, Duplicate, Done
        ]  # fmt: skip
        assert [told.entry.event for told in await log(store)] == ["a", "c", "e"]
