"""Reading, redacting, and rows of every kind. A part of ``contract``."""

import msgspec
import pytest

from protocol.vocabulary import ReceiveOption
from server.domain.model import (
    ApplicationKey,
    ApplicationsSeen,
    ApplicationsSeenKey,
    Attributes,
    AttributesKey,
    Counters,
    CountersKey,
    GroupKey,
    KnownUser,
    KnownUserKey,
    MemberKey,
    PlaceAt,
    ReadState,
    ReadUpTo,
    Redaction,
    Remembered,
    RememberedKey,
    Revocation,
    RevocationKey,
    Row,
    RowKey,
    Spoke,
)
from server.service.ports import (
    Committed,
    Conflict,
    Done,
    GroupHead,
    Store,
    Version,
)
from tests.storage.builders import (
    EVERYTHING,
    application,
    asked,
    commit,
    done,
    entry,
    founding,
    group,
    join,
    log,
    member,
    message,
    names,
    notice,
    say,
    write_set,
)

ANN = MemberKey("g", "ann")
G = GroupKey("g")


class RevocationContract:
    """What was issued for whom is good no longer."""

    async def test_revocations_are_told_all_at_once(self, store: Store) -> None:
        assert await store.revocations() == {}
        rows = [Revocation(user_id=name, up_to_s=n) for n, name in enumerate(("ann", "bob"), 7)]
        puts: dict[RowKey, Row | None] = {RevocationKey(row.user_id): row for row in rows}
        await done(store, write_set(puts=puts))
        assert await store.revocations() == {"ann": 7, "bob": 8}
        later = Revocation(user_id="ann", up_to_s=20)
        await done(store, write_set(puts={RevocationKey("ann"): later}))
        assert await store.revocations() == {"ann": 20, "bob": 8}


class MarkContract:
    """Reading up to somewhere, and taking back what was said."""

    async def test_reading_moves_the_mark_and_never_back(self, store: Store) -> None:
        await done(store, founding("g", "ann", "bob"), say("a", "ann", time_ms=9), say("b", "ann"))
        before = await store.groups_version("bob")
        (outcome,) = await done(store, asked("r", reads=ReadUpTo("g", "bob", 3)))
        assert outcome.position == 3
        assert await store.groups_version("bob") != before
        await done(
            store,
            asked("s", reads=ReadUpTo("g", "bob", 2)),
            asked("t", reads=ReadUpTo("g", "ann", 1)),
        )
        bob, nobody = MemberKey("g", "bob"), MemberKey("x", "bob")
        assert await store.read_states([bob, ANN, nobody]) == {
            bob: ReadState(head_seq=3, read_seq=3),
            ANN: ReadState(head_seq=3, read_seq=3, last_message_time_ms=1),
            nobody: ReadState(),
        }
        state = (await store.member_states("g", ["bob"]))["bob"]
        assert (state.read_seq, state.last_message_time_ms, state.joined_position) == (3, 0, 1)

    async def test_reading_changes_only_the_own_list(self, store: Store) -> None:
        await done(store, founding("g", "ann", "bob"), say("a"))
        before = await store.groups_version("ann")
        await done(store, asked("r", reads=ReadUpTo("g", "bob", 2)))
        assert await store.groups_version("ann") == before

    async def test_reading_and_joining_in_one_batch(self, store: Store) -> None:
        await done(store, founding("g", "ann"), say("a"))
        await done(store, join("bob"), say("b"), write_set(reads=ReadUpTo("g", "bob", 4)))
        bob = MemberKey("g", "bob")
        assert (await store.read_states([bob]))[bob] == ReadState(head_seq=4, read_seq=4)

    async def test_a_place_is_set_also_back(self, store: Store) -> None:
        await done(store, founding("g", "ann", "bob"), say("a", "ann", time_ms=9), say("b", "ann"))
        bob = MemberKey("g", "bob")
        await done(store, asked("r", reads=ReadUpTo("g", "bob", 3)))
        before = await store.groups_version("bob")
        await done(store, write_set(places=[PlaceAt("g", "bob", 1), PlaceAt("g", "ann", 0)]))
        assert await store.groups_version("bob") != before
        states = await store.read_states([bob, ANN])
        assert states[bob] == ReadState(head_seq=3, read_seq=1)
        assert states[ANN] == ReadState(head_seq=3, read_seq=0, last_message_time_ms=1)
        state = (await store.member_states("g", ["bob"]))["bob"]
        assert (state.read_seq, state.joined_position) == (1, 1), "where it joined stays"
        back_and_on = (
            write_set(places=[PlaceAt("g", "bob", 0)]),
            write_set(reads=ReadUpTo("g", "bob", 2)),
        )
        await done(store, *back_and_on)
        assert (await store.read_states([bob]))[bob].read_seq == 2

    async def test_quiet_messages_are_counted_apart(self, store: Store) -> None:
        """Up to the end of the log, and up to where each member has read."""
        await done(store, founding("g", "ann", "bob"))
        hush = [message(f"q{n}", is_quiet=True) for n in range(3)]
        await done(store, say("a"), write_set(hush[0]), write_set(hush[1]), say("b"), join("cat"))
        await done(store, write_set(hush[2], notice("n", "bob"), message("u", is_stored=False)))
        cat = MemberKey("g", "cat")
        bob = MemberKey("g", "bob")
        assert await store.read_states([bob, ANN, cat]) == {
            bob: ReadState(head_seq=7, head_quiet=3, read_seq=1),
            ANN: ReadState(
                head_seq=7, head_quiet=3, read_seq=5, read_quiet=2, last_message_time_ms=1
            ),
            cat: ReadState(head_seq=7, head_quiet=3, read_seq=6, read_quiet=2),
        }
        above = [await store.quiet_above("g", seq) for seq in range(8)]
        assert above == [3, 3, 3, 2, 1, 1, 1, 0]
        assert await store.quiet_above("h", 0) == 0
        assert (await store.group_heads(["g"]))["g"].quiet == 3
        rows = {
            user: (await store.groups_of(user, 0, 9, None))[0] for user in ("ann", "bob", "cat")
        }
        assert {user: row.unread for user, row in rows.items()} == {"ann": 1, "bob": 3, "cat": 0}

    async def test_reading_moves_what_was_quiet_too(self, store: Store) -> None:
        bob = MemberKey("g", "bob")
        await done(store, founding("g", "ann", "bob"), write_set(message("q", is_quiet=True)))
        await done(store, write_set(reads=ReadUpTo("g", "bob", 2, 1)))
        await done(store, write_set(reads=ReadUpTo("g", "bob", 1, 0)), say("a"))
        state = (await store.read_states([bob]))[bob]
        assert (state.read_seq, state.read_quiet) == (2, 1)
        await done(store, write_set(places=[PlaceAt("g", "bob", 1, 0)]))
        state = (await store.read_states([bob]))[bob]
        assert (state.read_seq, state.read_quiet) == (1, 0)
        assert (await store.member_states("g", ["bob"]))["bob"].read_quiet == 0

    async def test_nobody_has_read_beyond_the_end(self, store: Store) -> None:
        """A decision may rest on messages that turn out to be repeats."""
        bob = MemberKey("g", "bob")
        await done(store, founding("g", "ann", "bob"), asked("r", message("a")))
        again = asked("r", message("a"))
        await commit(store, again, write_set(reads=ReadUpTo("g", "bob", 3, 1)))
        assert (await store.read_states([bob]))[bob] == ReadState(head_seq=2, read_seq=2)
        await done(store, write_set(places=[PlaceAt("g", "bob", 3, 1)]))
        assert (await store.read_states([bob]))[bob] == ReadState(head_seq=2, read_seq=2)

    async def test_a_passing_message_is_not_the_groups_last(self, store: Store) -> None:
        await done(store, founding("g", "ann"), say("a", time_ms=50))
        passing = message("p", is_passing=True)
        before = await store.groups_version("ann")
        await done(store, write_set(passing, spoke=Spoke("g", "ann"), time_ms=70))
        assert await store.groups_version("ann") != before
        assert await store.group_heads(["g"]) == {"g": GroupHead(3, 50)}
        state = (await store.member_states("g", ["ann"]))["ann"]
        assert (state.read_seq, state.last_message_time_ms) == (3, 70)

    async def test_a_place_of_who_has_just_come(self, store: Store) -> None:
        await done(store, founding("g", "ann"), say("a"), say("b"))
        joined = join("bob")
        placed = msgspec.structs.replace(joined, places=[PlaceAt("g", "bob", 1)])
        await done(store, placed)
        state = (await store.member_states("g", ["bob"]))["bob"]
        assert (state.read_seq, state.joined_seq) == (1, 3)

    async def test_a_redacted_entry_keeps_its_numbers(self, store: Store) -> None:
        await done(store, founding("g", "ann"), write_set(message("h", "h")))
        for n in range(5):
            await done(store, write_set(message(f"m{n}"), notice("n", "ann")))
        before = await log(store)
        recall = write_set(entry("recalled"), redactions=[Redaction("g", 4, {"gone": True})])
        (outcome,) = await done(store, recall)
        after = await log(store)
        assert outcome.position == before[-1].position + 2
        assert after[3] == Committed(
            entry=msgspec.structs.replace(before[3].entry, data={"gone": True}),
            position=before[3].position,
            seq=4,
        )
        assert after[:3] + after[4:-1] == before[:3] + before[4:]
        missed = await store.missed(0, "ann", 0, EVERYTHING, EVERYTHING)
        assert after[3] in missed.entries

    async def test_what_is_not_kept_is_not_redacted(self, store: Store) -> None:
        await done(
            store,
            write_set(message("a")),
            write_set(redactions=[Redaction("g", 2, {}), Redaction("x", 1, {})]),
        )
        assert names(await log(store)) == ["a"]

    async def test_an_entry_of_the_same_batch_can_be_redacted(self, store: Store) -> None:
        await done(store, write_set(message("a")), write_set(redactions=[Redaction("g", 1, "x")]))
        assert [told.entry.data for told in await log(store)] == ["x"]

    @pytest.mark.parametrize(
        ("key", "row", "other"),
        [
            (
                RememberedKey("g", "ann"),
                Remembered(group_id="g", user_id="ann", mute_until_ms=5),
                Remembered(group_id="g", user_id="ann", receive_option=ReceiveOption.DISCARD),
            ),
            (
                AttributesKey("g"),
                Attributes(group_id="g", values={"a": "b"}),
                Attributes(group_id="g", values={}),
            ),
            (
                CountersKey("g"),
                Counters(group_id="g", values={"a": 2**53 - 1}),
                Counters(group_id="g", values={"a": -5}),
            ),
            (ApplicationKey("a1"), application("a1"), application("a1", handler_id="bob")),
            (
                ApplicationsSeenKey("ann"),
                ApplicationsSeen(user_id="ann", up_to_ms=5),
                ApplicationsSeen(user_id="ann", up_to_ms=6),
            ),
            (
                KnownUserKey("ann"),
                KnownUser(user_id="ann", since_ms=5),
                KnownUser(user_id="ann", since_ms=6),
            ),
        ],
    )
    async def test_rows_of_every_kind_have_versions(
        self, store: Store, key: RowKey, row: Row, other: Row
    ) -> None:
        await done(store, founding("g", "ann"), write_set(expect={key: 0}, puts={key: row}))
        assert await store.load([key, G, ANN]) == {
            key: Version(2, row),
            G: Version(1, group()),
            ANN: Version(1, member("ann")),
        }
        outcomes = await commit(
            store,
            write_set(expect={key: 1}),
            write_set(expect={key: 2}, puts={key: other}),
            write_set(expect={key: -2}),
        )
        assert [type(outcome) for outcome in outcomes] == [Conflict, Done, Done]
        assert await store.load([key]) == {key: Version(3, other)}
        await done(store, write_set(puts={key: None}))
        assert await store.load([key]) == {key: Version(0, None)}
