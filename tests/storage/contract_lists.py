"""History, members, and joined groups. A part of ``contract``."""

import pytest

from protocol.vocabulary import GroupType, Role
from server.domain.model import (
    GroupKey,
    MemberKey,
    Spoke,
)
from server.service.ports import (
    GroupHead,
    Store,
    WriteSet,
)
from tests.storage.builders import (
    EVERYTHING,
    asked,
    commit,
    disband,
    done,
    entry,
    founding,
    group,
    join,
    leave,
    member,
    message,
    names,
    notice,
    say,
    write_set,
)

ANN, BOB = MemberKey("g", "ann"), MemberKey("g", "bob")
G = GroupKey("g")


class ListContract:
    """History, members, joined groups and their version."""

    @pytest.mark.parametrize(
        ("above", "below", "limit", "newest", "expected"),
        [
            (0, EVERYTHING, 3, True, [8, 9, 10]),
            (0, EVERYTHING, 3, False, [1, 2, 3]),
            (0, 6, 3, True, [3, 4, 5]),
            (4, 6, 3, True, [5]),
            (4, EVERYTHING, 3, False, [5, 6, 7]),
            (4, 7, 9, False, [5, 6]),
            (3, 7, 2, True, [5, 6]),
            (9, EVERYTHING, 9, False, [10]),
            (10, EVERYTHING, 9, False, []),
            (10, EVERYTHING, 9, True, []),
            (0, 1, 9, True, []),
            (5, 6, 9, False, []),
            (6, 5, 9, True, []),
            (0, 11, 99, True, list(range(1, 11))),
            (0, EVERYTHING, 0, True, []),
        ],
    )
    async def test_history_goes_both_ways(
        self,
        store: Store,
        above: int,
        below: int,
        limit: int,
        newest: bool,
        expected: list[int],
    ) -> None:
        for n in range(1, 11):
            await done(store, write_set(message(str(n)), message("x", "h"), notice("n", "ann")))
        page = await store.history("g", above, below, limit, newest=newest)
        assert [told.seq for told in page] == expected
        assert names(page) == [str(seq) for seq in expected]

    async def test_the_history_of_an_unknown_group_is_empty(self, store: Store) -> None:
        assert await store.history("g", 0, EVERYTHING, 9, newest=True) == []
        assert await store.history("g", 0, EVERYTHING, 9, newest=False) == []

    async def test_members_are_paged_by_user_id_and_role(self, store: Store) -> None:
        await done(store, founding("g", "ann", "bob", "cat", "dan"), founding("h", "zoe"))
        await done(
            store,
            write_set(
                puts={
                    MemberKey("g", "dan"): member("dan", role=Role.OWNER),
                    MemberKey("g", "bob"): member("bob", role=Role.ADMIN),
                }
            ),
        )

        async def page(after: str, limit: int, *roles: Role, offset: int = 0) -> list[str]:
            states = await store.members("g", after, limit, roles, offset)
            return [state.member.user_id for state in states]

        assert await page("", 3, *Role) == ["ann", "bob", "cat"]
        assert await page("cat", 3, *Role) == ["dan"]
        assert await page("", 9, Role.MEMBER) == ["ann", "cat"]
        assert await page("", 9, Role.OWNER, Role.ADMIN) == ["bob", "dan"]
        assert await page("", 9, Role.OWNER) == ["dan"]
        assert await page("bob", 9, Role.OWNER, Role.ADMIN) == ["dan"]
        assert await page("", 9) == []
        assert await page("", 2, *Role, offset=1) == ["bob", "cat"]
        assert await page("ann", 9, *Role, offset=1) == ["cat", "dan"]
        assert await page("", 9, *Role, offset=4) == []
        assert await page("", 9, Role.MEMBER, offset=1) == ["cat"]
        assert await page("", 9, Role.OWNER, Role.ADMIN, offset=1) == ["dan"]
        assert await store.members("nowhere", "", 9, list(Role)) == []

    async def test_speaking_moves_the_marks(self, store: Store) -> None:
        await done(store, founding("g", "ann", "bob"))
        await done(store, say("a", "ann", time_ms=50), say("b", "bob", time_ms=60))
        states = await store.member_states("g", ["ann", "bob", "cat"])
        assert {
            user_id: (state.read_seq, state.last_message_time_ms)
            for user_id, state in states.items()
        } == {"ann": (2, 50), "bob": (3, 60)}
        assert await store.group_heads(["g", "x"]) == {"g": GroupHead(3, 60), "x": GroupHead()}

    async def test_an_unstored_message_counts_as_said_but_not_as_read(self, store: Store) -> None:
        await done(store, founding("g", "ann"), say("a", "ann", time_ms=50))
        unstored = message("b", is_stored=False)
        (outcome,) = await done(store, write_set(unstored, spoke=Spoke("g", "ann"), time_ms=70))
        assert outcome.position == 2
        state = (await store.member_states("g", ["ann"]))["ann"]
        assert (state.read_seq, state.last_message_time_ms) == (2, 70)
        assert await store.group_heads(["g"]) == {"g": GroupHead(2, 70)}

    async def test_only_messages_set_the_time_of_the_last_message(self, store: Store) -> None:
        await done(store, write_set(message("a"), time_ms=5))
        await done(store, write_set(entry("tip"), notice("n", "ann"), time_ms=9))
        await done(store, write_set(message("b", is_stored=False), time_ms=11))
        assert await store.group_heads(["g"]) == {"g": GroupHead(2, 5)}

    async def test_a_new_member_has_read_everything_so_far(self, store: Store) -> None:
        await done(store, founding("g", "ann"), say("a"), say("b"), join("bob"))
        state = (await store.member_states("g", ["bob"]))["bob"]
        assert (state.joined_position, state.joined_seq, state.read_seq) == (4, 3, 4)
        assert state.member == member("bob")

    async def test_a_changed_row_keeps_the_mark(self, store: Store) -> None:
        await done(store, founding("g", "ann"), say("a", "ann", time_ms=7))
        await done(store, write_set(puts={ANN: member("ann", name_card="A.")}))
        state = (await store.member_states("g", ["ann"]))["ann"]
        assert (state.read_seq, state.last_message_time_ms, state.joined_position) == (2, 7, 1)
        assert state.member.name_card == "A."

    async def test_joined_groups_are_paged_in_the_order_of_joining(self, store: Store) -> None:
        await done(
            store,
            founding("c", "ann"),
            founding("a", "bob"),
            founding("b", "ann", type=GroupType.PUBLIC),
            join("ann", "a"),
            say("hello", "ann", "c", time_ms=40),
        )
        rows = await store.groups_of("ann", 0, 2, None)
        assert [row.group.group_id for row in rows] == ["c", "b"]
        assert rows[0].group == group("c")
        assert rows[0].head == GroupHead(2, 40)
        assert (rows[0].state.read_seq, rows[0].state.member) == (2, member("ann", "c"))
        after = rows[-1].state.joined_position
        rows = await store.groups_of("ann", after, 2, None)
        assert [row.group.group_id for row in rows] == ["a"]
        rows = await store.groups_of("ann", 0, 9, GroupType.PUBLIC)
        assert [row.group.group_id for row in rows] == ["b"]

    @pytest.mark.parametrize(
        ("change", "is_relevant"),
        [
            (say("a", "bob"), True),
            (write_set(message("a", is_stored=False), spoke=Spoke("g", "bob")), True),
            (write_set(entry("tip")), True),
            (write_set(puts={G: group(name="Chess")}), True),
            (write_set(puts={ANN: member("ann", name_card="A.")}), True),
            (join("ann", "h"), True),
            (leave("ann"), True),
            (disband(), True),
            (write_set(puts={BOB: member("bob", name_card="B.")}), False),
            (say("a", "bob", "h"), False),
            (write_set(notice("n", "ann")), False),
            (write_set(puts={GroupKey("h"): group("h")}), False),
            (disband("h"), False),
            (asked("r", counts={"c": 1}), False),
            (write_set(message("a", is_stored=False)), False),
            (write_set(message("a"), expect={G: 99}), False),
        ],
    )
    async def test_the_version_of_the_joined_list_changes_with_it(
        self, store: Store, change: WriteSet, is_relevant: bool
    ) -> None:
        await done(store, founding("g", "ann", "bob"), founding("h", "bob"), founding("x", "ann"))
        before = await store.groups_version("ann")
        await commit(store, change)
        assert (await store.groups_version("ann") != before) is is_relevant

    async def test_a_group_that_was_left_no_longer_changes_the_version(self, store: Store) -> None:
        await done(store, founding("g", "ann", "bob"), leave("ann"))
        before = await store.groups_version("ann")
        await done(store, say("a", "bob"))
        assert await store.groups_version("ann") == before

    async def test_the_version_never_goes_back_to_what_it_was(self, store: Store) -> None:
        await done(store, founding("g", "ann"))
        versions = [await store.groups_version("ann")]
        for change in (say("a"), leave("ann"), join("ann"), disband(), founding("h", "ann")):
            await done(store, change)
            versions.append(await store.groups_version("ann"))
        assert versions == sorted(set(versions))
