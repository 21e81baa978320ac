"""Who sees what. A part of ``contract``."""

from protocol.vocabulary import ReceiveOption, Role
from server.domain.model import (
    GroupKey,
    MemberKey,
)
from server.service.ports import (
    Followed,
    Store,
)
from tests.storage.builders import (
    EVERYTHING,
    disband,
    done,
    entry,
    founding,
    group,
    join,
    leave,
    log,
    member,
    message,
    names,
    notice,
    say,
    seen,
    write_set,
)

BOB = MemberKey("g", "bob")
G = GroupKey("g")


class MembershipContract:
    """Who sees what: intervals, discards, paging."""

    async def test_a_member_sees_from_the_joining_to_the_leaving_entry(self, store: Store) -> None:
        await done(store, founding("g", "ann"), write_set(message("before")))
        await done(store, join("bob"), write_set(message("during")), leave("bob"))
        await done(store, write_set(message("after")))
        assert await seen(store, "bob") == ["bob-joined", "during", "bob-left"]
        assert await seen(store, "ann") == [
            "founded",
            "before",
            "bob-joined",
            "during",
            "bob-left",
            "after",
        ]
        assert await seen(store, "cat") == []

    async def test_a_rejoin_is_another_interval_with_a_fresh_mark(self, store: Store) -> None:
        await done(store, founding("g", "ann"), join("bob"), say("mine", "bob", time_ms=9))
        await done(store, leave("bob"), write_set(message("unseen")), join("bob"))
        await done(store, write_set(message("again")))
        assert await seen(store, "bob") == ["bob-joined", "mine", "bob-left", "bob-joined", "again"]
        state = (await store.member_states("g", ["bob"]))["bob"]
        assert (state.joined_position, state.joined_seq) == (6, 5)
        assert (state.read_seq, state.last_message_time_ms) == (6, 0)

    async def test_joining_and_leaving_within_one_batch(self, store: Store) -> None:
        await done(
            store,
            founding("g", "ann"),
            join("bob"),
            say("1", "bob"),
            leave("bob"),
            write_set(message("2")),
            join("bob"),
            say("3", "bob", time_ms=8),
            join("cat"),
            leave("cat"),
        )
        assert await seen(store, "bob") == [
            "bob-joined",
            "1",
            "bob-left",
            "bob-joined",
            "3",
            "cat-joined",
            "cat-left",
        ]
        assert await seen(store, "cat") == ["cat-joined", "cat-left"]
        states = await store.member_states("g", ["bob", "cat"])
        assert list(states) == ["bob"]
        assert (states["bob"].read_seq, states["bob"].last_message_time_ms) == (7, 8)
        assert await store.group_counts(["ann", "bob", "cat"]) == {"ann": 1, "bob": 1, "cat": 0}

    async def test_an_inbox_entry_may_say_that_somebody_joined_or_left(self, store: Store) -> None:
        await done(store, founding("g", "ann"))
        await done(
            store,
            write_set(
                notice("invited", "bob", joined=("bob",)),
                entry("tip"),
                puts={BOB: member("bob")},
            ),
        )
        state = (await store.member_states("g", ["bob"]))["bob"]
        assert (state.joined_position, state.joined_seq, state.read_seq) == (2, 1, 1)
        await done(
            store,
            write_set(notice("kicked", "bob", left=("bob",)), entry("tip2"), puts={BOB: None}),
        )
        assert await seen(store, "bob") == ["invited", "tip", "kicked"]

    async def test_an_unstored_entry_moves_those_whose_rows_are_put(self, store: Store) -> None:
        await done(store, founding("g", "ann"))
        await done(
            store,
            write_set(
                notice("joined", "bob"),
                entry("tip", joined=("bob", "cat"), is_stored=False),
                puts={BOB: member("bob")},
            ),
            write_set(message("a")),
        )
        assert (await store.followed(["bob"]))["bob"].group_ids == ["g"]
        assert (await store.followed(["cat"]))["cat"].group_ids == []
        assert await seen(store, "bob") == ["joined", "a"]
        state = (await store.member_states("g", ["bob"]))["bob"]
        assert (state.joined_position, state.joined_seq) == (2, 1)
        await done(
            store,
            write_set(entry("tip", left=("bob", "ann"), is_stored=False), puts={BOB: None}),
            write_set(message("b")),
        )
        assert await seen(store, "bob") == ["joined", "a"]
        assert (await seen(store, "ann"))[-1] == "b"

    async def test_joining_twice_makes_one_membership_after_the_other(self, store: Store) -> None:
        await done(store, founding("g", "ann"), join("bob"))
        await done(store, write_set(message("a")), join("bob"), join("bob"))
        assert await seen(store, "bob") == ["bob-joined", "a", "bob-joined", "bob-joined"]
        assert await store.group_counts(["bob"]) == {"bob": 1}

    async def test_a_disbanded_group_tells_it_to_everybody_and_is_left_out(
        self, store: Store
    ) -> None:
        await done(store, founding("g", "ann", "bob"), founding("h", "ann"), leave("bob"))
        await done(store, disband(), write_set(notice("later", "ann")))
        assert await seen(store, "ann") == ["founded", "founded", "bob-left", "disbanded", "later"]
        assert await seen(store, "bob") == ["founded", "bob-left"]
        assert await store.group_counts(["ann", "bob"]) == {"ann": 1, "bob": 0}
        assert (await store.followed(["ann"]))["ann"] == Followed(5, ["h"], [])
        assert [row.group.group_id for row in await store.groups_of("ann", 0, 9, None)] == ["h"]
        assert await store.members("g", "", 9, list(Role)) == []
        assert await store.members("g", "", 9, [Role.OWNER]) == []
        assert await store.member_states("g", ["ann"]) == {}
        assert (await store.load([G]))[G].row == group(closed_ms=5)
        assert names(await log(store))[-1] == "disbanded"

    async def test_a_closed_group_stays_closed(self, store: Store) -> None:
        await done(store, founding("g", "ann", "bob"), disband(), founding("g", "cat"))
        assert await store.group_counts(["ann", "cat"]) == {"ann": 0, "cat": 0}
        assert await store.members("g", "", 9, list(Role)) == []

    async def test_messages_of_a_discarded_group_are_left_out(self, store: Store) -> None:
        await done(store, founding("g", "ann"), join("bob", receive_option=ReceiveOption.DISCARD))
        await done(store, write_set(message("a")), write_set(entry("tip")), founding("h", "bob"))
        assert await seen(store, "bob") == ["bob-joined", "tip", "founded"]
        assert await store.missed_count(0, "bob", 0, EVERYTHING) == 3
        await done(store, write_set(puts={BOB: member("bob")}))
        assert await seen(store, "bob") == ["bob-joined", "a", "tip", "founded"]
        discarding = member("bob", receive_option=ReceiveOption.DISCARD)
        await done(store, write_set(puts={BOB: discarding}), leave("bob"), join("bob"))
        assert await seen(store, "bob") == [
            "bob-joined",
            "tip",
            "founded",
            "bob-left",
            "bob-joined",
        ]

    async def test_missed_merges_the_logs_in_commit_order_page_by_page(self, store: Store) -> None:
        await done(store, founding("g", "ann"), founding("h", "ann"), founding("i", "bob"))
        for n in range(4):
            await done(
                store,
                write_set(message(f"g{n}")),
                write_set(message(f"i{n}", "i"), notice(f"n{n}", "ann")),
                write_set(notice(f"b{n}", "bob")),
                write_set(message(f"h{n}", "h")),
            )
        expected = [f"{where}{n}" for n in range(4) for where in "gnh"]
        upto = (await store.heads(0)).position
        pages: list[str] = []
        after = 3
        while True:
            page = await store.missed(0, "ann", after, upto, 5)
            assert [told.position for told in page.entries] == sorted(
                told.position for told in page.entries
            )
            assert all(after < told.position <= page.until for told in page.entries)
            pages.extend(names(page.entries))
            after = page.until
            if not page.has_more:
                break
        assert pages == expected
        assert after == upto

    async def test_missed_ends_where_it_is_asked_to(self, store: Store) -> None:
        await done(store, founding("g", "ann"), *(write_set(message(str(n))) for n in range(9)))
        page = await store.missed(0, "ann", 3, 5, 10)
        assert (names(page.entries), page.until, page.has_more) == (["2", "3"], 5, False)
        page = await store.missed(0, "ann", 3, 5, 2)
        assert (names(page.entries), page.until, page.has_more) == (["2", "3"], 5, False)
        page = await store.missed(0, "ann", 3, 5, 1)
        assert (names(page.entries), page.until, page.has_more) == (["2"], 4, True)
        page = await store.missed(0, "ann", 10, 10, 1)
        assert (names(page.entries), page.until, page.has_more) == ([], 10, False)

    async def test_missed_never_says_more_than_there_is(self, store: Store) -> None:
        await done(store, founding("g", "ann"))
        assert (await store.missed(0, "ann", 0, EVERYTHING, 10)).until == 1
        assert (await store.missed(0, "nobody", 0, EVERYTHING, 10)).until == 1

    async def test_missed_count_is_about_what_missed_gives(self, store: Store) -> None:
        await done(store, founding("g", "ann"), founding("h", "ann", "bob"), join("bob"))
        for n in range(20):
            await done(store, write_set(message(str(n)), message(str(n), "h"), notice("n", "bob")))
        await done(store, leave("bob"), write_set(message("x")), disband("h"))
        head = (await store.heads(0)).position
        for user_id in ("ann", "bob", "cat"):
            for after in range(0, head + 1, 3):
                for upto in range(after, head + 1, 7):
                    exact = len((await store.missed(0, user_id, after, upto, 999)).entries)
                    count = await store.missed_count(0, user_id, after, upto)
                    assert exact <= 2 * count
                    assert count <= 2 * exact

    async def test_tail_gives_every_log_in_order(self, store: Store) -> None:
        await done(store, founding("g", "ann"), write_set(notice("n", "bob")))
        await done(store, write_set(puts={G: group()}), write_set(message("m", "h")))
        assert [t.position for t in await store.tail(0, 0, 10)] == [1, 2, 4]
        assert names(await store.tail(0, 1, 1)) == ["n"]
        assert names(await store.tail(0, 2, 10)) == ["m"]
        assert await store.tail(0, 4, 10) == []
