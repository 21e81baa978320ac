"""What is let go of. A part of ``contract``."""

import msgspec

from protocol.results import ApplicationStatus
from protocol.vocabulary import GroupType, Role
from server.domain.model import (
    ApplicationKey,
    Attributes,
    AttributesKey,
    Counters,
    CountersKey,
    GroupKey,
    MemberKey,
    ReadState,
    Redaction,
    Remembered,
    RememberedKey,
    Row,
    RowKey,
)
from server.service.ports import (
    GroupHead,
    Store,
)
from tests.storage.builders import (
    EVERYTHING,
    application,
    apply,
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
    notice,
    say,
    seen,
    staffed,
    write_set,
)

ANN, BOB = MemberKey("g", "ann"), MemberKey("g", "bob")
G = GroupKey("g")


class HousekeepingContract:
    """What is let go of."""

    async def test_what_was_missed_says_from_where_on_it_is_whole(self, store: Store) -> None:
        await done(store, founding("g", "ann"))
        for n in range(2, 8):
            await done(store, write_set(message(f"m{n}", time_ms=n)))
        assert (await store.missed(0, "ann", 0, 99, 1)).floor == 0
        await store.trim(0, 5, 99)
        missed = await store.missed(0, "ann", 0, 99, 99)
        assert missed.floor == (await store.heads(0)).floor > 0
        assert missed.entries[0].position == missed.floor + 1

    async def test_trim_takes_the_oldest_and_leaves_the_rest_dense(self, store: Store) -> None:
        await done(store, founding("g", "ann"), write_set(puts={BOB: member("bob")}))
        for n in range(2, 8):
            await done(store, write_set(message(f"m{n}", time_ms=n), notice("n", "ann", time_ms=n)))
        assert await store.trim(0, 5, 4) == 4
        assert (await store.heads(0)).floor == 5
        assert await store.trim(0, 5, 99) == 3
        assert await store.trim(0, 5, 99) == 0
        heads = await store.heads(0)
        assert (heads.floor, heads.position) == (8, 14)
        assert [told.seq for told in await log(store)] == [5, 6, 7]
        assert await store.group_heads(["g", "x"]) == {"g": GroupHead(7, 1, 5), "x": GroupHead()}
        assert (await store.groups_of("ann", 0, 9, None))[0].head == GroupHead(7, 1, 5)
        assert await store.history("g", 0, 5, 9, newest=True) == []
        assert await store.history("g", 0, 5, 9, newest=False) == []
        oldest = await store.history("g", 0, EVERYTHING, 1, newest=False)
        assert [told.seq for told in oldest] == [5]
        assert len(await seen(store, "ann", 8)) == 6
        assert await store.missed_count(0, "ann", 8, EVERYTHING) == 6
        await done(store, write_set(message("more", time_ms=9), redactions=[Redaction("g", 1, {})]))
        assert (await log(store))[-1].seq == 8

    async def test_trim_stops_at_the_first_that_is_not_old(self, store: Store) -> None:
        for time_ms in (1, 9, 1):
            await done(store, write_set(message("m", time_ms=time_ms)))
        assert await store.trim(0, 5, 99) == 1
        assert (await store.heads(0)).floor == 1

    async def test_a_log_that_was_trimmed_to_nothing_goes_on(self, store: Store) -> None:
        await done(store, founding("g", "ann"), say("a"), write_set(notice("n", "ann", time_ms=9)))
        assert await store.trim(0, 5, 99) == 2
        assert await store.group_heads(["g"]) == {"g": GroupHead(2, 1, 3)}
        assert await store.missed_count(0, "ann", 2, EVERYTHING) == 1
        (outcome,) = await done(store, say("b"))
        assert outcome.seq == 3
        assert await seen(store, "ann", 2) == ["n", "b"]
        assert await store.missed_count(0, "ann", 2, EVERYTHING) == 2

    async def test_a_closed_group_is_purged_once_its_log_is_gone(self, store: Store) -> None:
        ann_g, g_attributes = RememberedKey("g", "ann"), AttributesKey("g")
        await done(store, founding("g", "ann", "bob"), founding("h", "ann"), leave("bob"), say("a"))
        rows: dict[RowKey, Row | None] = {
            ann_g: Remembered(group_id="g", user_id="ann"),
            g_attributes: Attributes(group_id="g", values={}),
            CountersKey("g"): Counters(group_id="g", values={}),
            ApplicationKey("a1"): application("a1"),
            AttributesKey("h"): Attributes(group_id="h", values={}),
        }
        await done(store, write_set(puts=rows), disband("g"))
        versions = [await store.groups_version("ann"), await store.groups_version("bob")]
        assert await store.purge(9, 9) == 0
        assert await store.trim(0, 9, 99) == 5
        assert await store.purge(5, 9) == 0
        assert await store.purge(6, 0) == 0
        assert await store.purge(6, 9) == 1
        found = await store.load([G, ANN, *rows])
        assert [key for key, version in found.items() if version.row is not None] == [
            AttributesKey("h")
        ]
        assert await store.group_heads(["g"]) == {"g": GroupHead()}
        assert await store.read_states([ANN]) == {ANN: ReadState()}
        assert (await store.followed(["ann"]))["ann"].group_ids == ["h"]
        after = [await store.groups_version("ann"), await store.groups_version("bob")]
        assert all(new > old for new, old in zip(after, versions, strict=True))

        await done(store, founding("g", "cat"))
        assert [told.seq for told in await log(store)] == [1]
        assert await store.group_counts(["ann", "bob", "cat"]) == {"ann": 1, "bob": 0, "cat": 1}
        assert await seen(store, "bob") == []
        assert await seen(store, "cat") == ["founded"]

    async def test_handled_applications_are_purged(self, store: Store) -> None:
        await done(
            store,
            staffed("g", ann=Role.OWNER),
            *apply(
                *(
                    application(f"a{n}", status=ApplicationStatus.APPROVED, handled_ms=n)
                    for n in range(1, 6)
                ),
                application("p"),
            ),
        )
        assert await store.purge(5, 3) == 3
        assert await store.purge(5, 3) == 1
        assert await store.purge(5, 3) == 0
        found = await store.applications_for("ann", None, 9)
        assert [one.application_id for one in found] == ["p", "a5"]

    async def test_a_group_in_which_something_passes_is_not_idle(self, store: Store) -> None:
        await done(store, founding("g", "ann"), founding("h", "ann"))
        await done(store, write_set(message("p", is_passing=True, time_ms=60), time_ms=60))
        assert await store.idle_groups(60, 9) == ["h"]
        assert await store.idle_groups(61, 9) == ["g", "h"]

    async def test_what_was_quiet_is_let_go_of_with_the_rest(self, store: Store) -> None:
        hush = [message(f"q{n}", is_quiet=True, time_ms=n) for n in (1, 2)]
        await done(store, founding("g", "ann", "bob"), *(write_set(one) for one in hush))
        assert await store.trim(0, 2, 9) == 2
        assert await store.quiet_above("g", 0) == 1
        (row,) = await store.groups_of("bob", 0, 9, None)
        assert (row.head.quiet, row.unread) == (2, 0), "what nobody can count any more"
        await done(store, disband())
        assert await store.trim(0, 99, 9) > 0
        assert await store.quiet_above("g", 0) == 0
        assert await store.purge(99, 9) == 1
        assert await store.group_heads(["g"]) == {"g": GroupHead()}

    async def test_idle_groups_had_neither_message_nor_change(self, store: Store) -> None:
        for n, group_id in enumerate("abcdef"):
            founded = founding(group_id, "ann")
            await done(store, msgspec.structs.replace(founded, time_ms=10 + n))
        await done(store, say("m", "ann", "b", time_ms=50), disband("c"))
        await done(store, write_set(puts={GroupKey("d"): group("d", version=2)}, time_ms=51))
        await done(store, write_set(entry("tip", "e"), time_ms=52))
        assert await store.idle_groups(50, 9) == ["a", "e", "f"]
        assert await store.idle_groups(50, 2) == ["a", "e"]
        assert await store.idle_groups(51, 9) == ["a", "b", "e", "f"]
        assert await store.idle_groups(10, 9) == []

    async def test_groups_by_id_with_their_number(self, store: Store) -> None:
        assert await store.group_ids(None, 0, 9) == ([], 0)
        for group_id in "dbca":
            kind = GroupType.PUBLIC if group_id in "bd" else GroupType.WORK
            await done(store, founding(group_id, "ann", type=kind))
        await done(store, disband("c"))
        assert await store.group_ids(None, 0, 9) == (["a", "b", "d"], 3)
        assert await store.group_ids(None, 1, 1) == (["b"], 3)
        assert await store.group_ids(None, 3, 9) == ([], 3)
        assert await store.group_ids(GroupType.PUBLIC, 1, 9) == (["d"], 2)
        assert await store.group_ids(GroupType.COMMUNITY, 0, 9) == ([], 0)

    async def test_who_is_muted_is_a_member_or_remembered(self, store: Store) -> None:
        await done(store, founding("g", "ann"), founding("h", "ann"))
        await done(store, join("cat", mute_until_ms=60), join("bob", mute_until_ms=50))
        dan = Remembered(group_id="g", user_id="dan", mute_until_ms=70)
        await done(store, write_set(puts={RememberedKey("g", "dan"): dan}))
        assert await store.muted("g", 49, 0, 9) == [("bob", 50), ("cat", 60), ("dan", 70)]
        assert await store.muted("g", 50, 0, 9) == [("cat", 60), ("dan", 70)]
        assert await store.muted("h", 0, 0, 9) == []
        assert await store.muted("g", 49, 0, 2) == [("bob", 50), ("cat", 60)]
        assert await store.muted("g", 49, 1, 1) == [("cat", 60)]
        assert await store.muted("g", 49, 2, 9) == [("dan", 70)]
        assert await store.muted("g", 49, 3, 9) == []
        eve = Remembered(group_id="g", user_id="eve", banned_until_ms=80)
        await done(store, write_set(puts={RememberedKey("g", "eve"): eve}))
        assert await store.banned("g", 79, 0, 9) == [("eve", 80)]
        assert await store.banned("g", 80, 0, 9) == await store.banned("h", 0, 0, 9) == []
        assert await store.muted("g", 50, 0, 9) == [("cat", 60), ("dan", 70)]
        fay = Remembered(group_id="g", user_id="fay", banned_until_ms=90)
        await done(store, write_set(puts={RememberedKey("g", "fay"): fay}))
        assert await store.banned("g", 0, 0, 1) == [("eve", 80)]
        assert await store.banned("g", 0, 1, 1) == [("fay", 90)]
        assert await store.banned("g", 0, 2, 1) == []
        await done(store, disband("g"))
        assert await store.muted("g", 0, 0, 9) == await store.banned("g", 0, 0, 9) == []
