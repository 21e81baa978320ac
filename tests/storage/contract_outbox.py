"""What waits to be told outside. A part of ``contract``."""

from collections.abc import Sequence
from typing import Protocol, cast

from server.domain.model import GroupKey
from server.service.outbox import Fate, Outbox, OutboxItem, Outgoing, Settled
from server.service.ports import Conflict, Duplicate, Store
from tests.storage.builders import (
    EVERYTHING,
    asked,
    commit,
    disband,
    done,
    founding,
    group,
    join,
    leave,
    message,
    notice,
    write_set,
)


class Both(Store, Outbox, Protocol):
    """A store with its outbox."""


def item(name: str, stream: str = "g", *, lists_members: bool = False) -> OutboxItem:
    return OutboxItem(
        delivery_id=f"id-{name}",
        name=name,
        stream=stream,
        time_ms=7,
        body=f'{{"Name":"{name} ü"}}'.encode(),
        platform="iOS",
        address="10.0.0.1",
        lists_members=lists_members,
    )


async def waiting(store: Outbox, after_id: int = 0) -> list[str]:
    ids = [row.id for row in await store.waiting(after_id, EVERYTHING)]
    rows = await store.outgoing(ids)
    assert ids == sorted(ids) == sorted(rows)
    return [rows[row_id].item.name for row_id in ids]


async def ids(store: Outbox) -> list[int]:
    return [row.id for row in await store.waiting(0, EVERYTHING)]


def names(rows: Sequence[Outgoing]) -> list[str]:
    return [row.item.name for row in rows]


class OutboxContract:
    """The outbox."""

    async def test_items_wait_in_the_order_of_their_commits(self, store: Store) -> None:
        outbox = cast(Both, store)
        await done(store, founding("g", "ann"), write_set(outbox=[item("a"), item("b", "h")]))
        await done(store, write_set(message("m"), outbox=[item("c")]))
        assert await waiting(outbox) == ["a", "b", "c"]
        rows = await outbox.waiting(0, 2)
        assert [(row.stream, row.attempts, row.due_ms) for row in rows] == [
            ("g", 0, 0),
            ("h", 0, 0),
        ]
        assert await waiting(outbox, rows[-1].id) == ["c"]
        assert await outbox.outgoing([]) == await outbox.outgoing([EVERYTHING]) == {}

    async def test_an_item_comes_out_as_it_went_in_with_its_number(self, store: Store) -> None:
        outbox = cast(Both, store)
        await done(store, founding("g", "ann"))
        await done(
            store,
            write_set(notice("n", "ann"), message("m"), outbox=[item("said")]),
            write_set(notice("n", "ann"), outbox=[item("told")]),
        )
        first, second = (await outbox.outgoing(await ids(outbox))).values()
        assert first == Outgoing(id=first.id, item=item("said"), seq=2)
        assert second == Outgoing(id=second.id, item=item("told"))

    async def test_the_members_are_those_that_the_commit_leaves(self, store: Store) -> None:
        outbox = cast(Both, store)
        await done(store, founding("g", "cid", "ann"), founding("h", "dee"))
        await done(
            store,
            join("bob"),
            leave("cid"),
            write_set(*disband().entries, puts=disband().puts, outbox=[item("end"), item("e2")]),
            write_set(outbox=[item("list", lists_members=True)]),
        )
        await done(store, write_set(outbox=[item("none", "nowhere", lists_members=True)]))
        rows = (await outbox.outgoing(await ids(outbox))).values()
        assert [row.member_ids for row in rows] == [None, None, ["ann", "bob"], []]

    async def test_what_is_not_done_leaves_nothing(self, store: Store) -> None:
        outbox = cast(Both, store)
        await done(store, asked("r1", message("m"), outbox=[item("first")]))
        again, stale = await commit(
            store,
            asked("r1", message("m"), outbox=[item("again")]),
            write_set(
                puts={GroupKey("g"): group()}, expect={GroupKey("g"): 99}, outbox=[item("stale")]
            ),
        )
        assert isinstance(again, Duplicate)
        assert isinstance(stale, Conflict)
        assert await waiting(outbox) == ["first"]

    async def test_settled_items_are_gone_or_wait_on_or_are_dead(self, store: Store) -> None:
        outbox = cast(Both, store)
        await done(store, write_set(outbox=[item(name) for name in "abcd"]))
        a, b, c, d = await ids(outbox)
        await outbox.settle(
            [
                Settled(id=b, fate=Fate.AGAIN, attempts=3, due_ms=900, failure="503"),
                Settled(id=a, fate=Fate.DELIVERED),
                Settled(id=c, fate=Fate.DEAD, attempts=9, failure="410"),
                Settled(id=EVERYTHING, fate=Fate.DEAD, attempts=1, failure="unknown"),
            ],
            most_dead=None,
        )
        assert await waiting(outbox) == ["b", "d"]
        first = (await outbox.waiting(0, 1))[0]
        assert (first.id, first.attempts, first.due_ms) == (b, 3, 900)
        row = (await outbox.outgoing([b]))[b]
        assert (row.attempts, row.failure) == (3, "503")
        (dead,) = await outbox.dead(0, EVERYTHING)
        assert (dead.item, dead.attempts, dead.failure) == (item("c"), 9, "410")
        assert d in await ids(outbox)

    async def test_the_dead_are_revived_behind_those_that_wait(self, store: Store) -> None:
        outbox = cast(Both, store)
        await done(store, write_set(message("m"), outbox=[item(name) for name in "abcd"]))
        rows = await ids(outbox)
        await outbox.settle(
            [Settled(id=row, fate=Fate.DEAD, attempts=2, failure="x") for row in rows[:3]],
            most_dead=None,
        )
        assert names(await outbox.dead(0, 2)) == ["a", "b"]
        assert await outbox.revive(["id-b", "id-d", "id-?"]) == 1
        assert await outbox.revive([]) == 0
        assert await waiting(outbox) == ["d", "b"]
        assert await outbox.revive(None) == 2
        assert await waiting(outbox) == ["d", "b", "a", "c"]
        assert not await outbox.dead(0, EVERYTHING)
        revived = (await outbox.outgoing(await ids(outbox))).values()
        assert [(row.attempts, row.failure, row.seq) for row in revived] == [(0, "", 1)] * 4

    async def test_no_id_is_given_twice(self, store: Store) -> None:
        outbox = cast(Both, store)
        seen: list[int] = []
        for _ in range(3):
            await done(store, write_set(outbox=[item("a")]))
            (row,) = await ids(outbox)
            seen.append(row)
            await outbox.settle([Settled(id=row, fate=Fate.DELIVERED)], most_dead=None)
        assert sorted(set(seen)) == seen

    async def test_the_newest_dead_are_kept(self, store: Store) -> None:
        outbox = cast(Both, store)
        await done(store, write_set(outbox=[item(name) for name in "abcde"]))
        rows = await ids(outbox)
        dead = [Settled(id=row, fate=Fate.DEAD, attempts=1, failure="x") for row in rows]
        assert await outbox.settle(dead[:3], most_dead=3) == 0
        assert await outbox.settle(dead[3:], most_dead=3) == 2
        assert names(await outbox.dead(0, EVERYTHING)) == ["c", "d", "e"]
