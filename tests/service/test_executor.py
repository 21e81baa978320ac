"""Order, group commit, exactly once, and what becomes of commands when something fails."""

import logging
from collections.abc import AsyncIterator

import msgspec
import pytest

from protocol.errors import ERRORS, ErrorCode
from protocol.vocabulary import GroupType
from server.domain.rules import RIGHTS, Operation, Rulebook
from server.service.executor import MAX_BATCH
from server.service.ports import OutcomeUnknown, RequestKey, Store, Unavailable
from server.storage.memory import MemoryStore
from tests.kit.devices import EPOCH, body
from tests.kit.fakes import until, until_idle
from tests.service.bench import Answer, Bench, bench_on


@pytest.fixture
async def bench(store: Store) -> AsyncIterator[Bench]:
    async with bench_on(store) as running:
        await running.group("g", "bob")
        running.trace.clear()
        running.hooked.batches.clear()
        yield running


@pytest.fixture
async def in_memory() -> AsyncIterator[Bench]:
    async with bench_on(MemoryStore(epoch=EPOCH)) as running:
        await running.group("g", "bob")
        running.trace.clear()
        running.hooked.batches.clear()
        yield running


def say(
    bench: Bench, user_id: str, text: str, group_id: str = "g", request_id: str | None = None
) -> Answer:
    return bench.submit(
        user_id, "send_message", request_id=request_id, group_id=group_id, body=body(text)
    )


async def all_answered(bench: Bench) -> None:
    await until(lambda: all(answer.count for answer in bench.answers))


# Order and group commit.


async def test_commands_take_effect_in_the_order_of_submit(bench: Bench) -> None:
    await bench.group("h", "bob")
    expected: dict[str, list[str]] = {"g": [], "h": []}
    for number in range(60):
        group_id = "gh"[number % 3 == 0]
        say(bench, ("alice", "bob")[number % 2], str(number), group_id)
        expected[group_id].append(str(number))
        if number % 7 == 0:
            await all_answered(bench)
    await all_answered(bench)
    assert {group_id: await bench.texts(group_id) for group_id in "gh"} == expected


async def test_what_is_submitted_while_a_batch_is_synced_shares_the_next_commit(
    in_memory: Bench,
) -> None:
    bench = in_memory
    bench.gate.shut(["before commit"])
    say(bench, "alice", "first")
    await until_idle()
    for number in range(100):
        say(bench, "bob", str(number))
    bench.gate.open()
    await until_idle()
    assert bench.hooked.batches == [1, 100]
    assert await bench.texts("g") == ["first", *map(str, range(100))]


async def test_a_batch_is_bounded(in_memory: Bench) -> None:
    bench = in_memory
    for number in range(MAX_BATCH + 1):
        say(bench, "alice", str(number))
    await until_idle()
    assert bench.hooked.batches == [MAX_BATCH, 1]
    assert await bench.texts("g") == [str(number) for number in range(MAX_BATCH + 1)]


async def test_nothing_is_published_or_answered_before_it_is_synced(in_memory: Bench) -> None:
    bench = in_memory
    bench.gate.shut(["after commit"])
    said = say(bench, "alice", "1")
    await until_idle()
    assert bench.trace == ["commit"]
    assert not said.count
    bench.gate.open()
    await until_idle()
    assert bench.trace == ["commit", "publish", "answer"]


async def test_all_of_a_batch_is_published_before_anything_of_it_is_answered(
    in_memory: Bench,
) -> None:
    bench = in_memory
    for number in range(5):
        say(bench, "alice", str(number))
    say(bench, "carol", "not a member")
    await until_idle()
    assert bench.trace == ["commit", "publish", *["answer"] * 6]


async def test_every_command_is_answered_once(bench: Bench) -> None:
    for number in range(10):
        say(bench, ("alice", "carol")[number % 2], str(number))
    await all_answered(bench)
    await bench.executor.settled()
    assert [answer.count for answer in bench.answers[1:]] == [1] * 10


async def test_a_decision_rests_on_those_before_it_in_its_batch(bench: Bench) -> None:
    invited = bench.submit("alice", "invite_members", group_id="g", user_ids=["carol"])
    said = say(bench, "carol", "here")
    removed = bench.submit("alice", "remove_members", group_id="g", user_ids=["carol"])
    too_late = say(bench, "carol", "gone")
    await all_answered(bench)
    assert [invited.code, said.code, removed.code] == [None] * 3
    assert too_late.code == "NO_PERMISSION"
    assert await bench.texts("g") == ["here"]


async def test_quotas_count_what_is_before_in_the_batch(store: Store) -> None:
    rules = Rulebook(limits=dict(Rulebook().limits) | {"GROUPS_PER_USER": 2, "GROUPS_PER_DAY": 3})
    async with bench_on(store, rules) as bench:
        made = [bench.submit(u, "create_group", type="Work", name="-") for u in ("a", "a", "a")]
        made += [bench.submit(u, "create_group", type="Work", name="-") for u in ("b", "b")]
        await all_answered(bench)
        codes = [answer.code for answer in made]
        assert codes == [None, None, "TOO_MANY_GROUPS", None, "TOO_MANY_REQUESTS"]


async def test_the_newest_number_of_a_batch_is_in_each_reply(bench: Bench) -> None:
    said = [say(bench, "alice", str(number)) for number in range(3)]
    await all_answered(bench)
    assert [answer.map["seq"] for answer in said] == [1, 2, 3]


# Exactly once.


async def test_a_copy_in_flight_gets_the_same_answer_and_has_no_effect(bench: Bench) -> None:
    copies = [say(bench, "alice", "once", request_id="x") for _ in range(3)]
    await all_answered(bench)
    assert len({str(copy.map) for copy in copies}) == 1
    assert await bench.texts("g") == ["once"]


async def test_a_copy_in_flight_of_a_refused_command_is_refused_alike(bench: Bench) -> None:
    copies = [say(bench, "carol", "no", request_id="x") for _ in range(2)]
    await all_answered(bench)
    assert [copy.code for copy in copies] == ["NO_PERMISSION"] * 2


async def test_other_content_under_an_id_in_flight_is_refused_at_once(bench: Bench) -> None:
    said = say(bench, "alice", "one", request_id="x")
    other = say(bench, "alice", "two", request_id="x")
    assert other.code == "REQUEST_ID_CONFLICT"
    assert other.refusal is not None
    assert other.refusal.detail["request_id"] == "x"
    await all_answered(bench)
    assert said.code is None
    assert await bench.texts("g") == ["one"]


async def test_a_repeated_request_gets_the_first_reply_and_changes_nothing(bench: Bench) -> None:
    first = await bench.do("alice", "send_message", request_id="x", group_id="g", body=body("once"))
    before = await bench.everything()
    bench.world.clock.advance(1000)
    again = await bench.do("alice", "send_message", request_id="x", group_id="g", body=body("once"))
    assert again.map == first.map
    assert first.map["seq"] == 1
    assert await bench.everything() == before


async def test_other_content_under_a_known_id_is_refused(bench: Bench) -> None:
    await bench.do("alice", "send_message", request_id="x", group_id="g", body=body("one"))
    other = await bench.do("alice", "send_message", request_id="x", group_id="g", body=body("two"))
    assert other.code == "REQUEST_ID_CONFLICT"
    unlike = await bench.do("alice", "quit_group", request_id="x", group_id="g")
    assert unlike.code == "REQUEST_ID_CONFLICT"
    assert await bench.texts("g") == ["one"]


async def test_an_id_is_its_users_alone(bench: Bench) -> None:
    for user_id in ("alice", "bob"):
        said = await bench.do(
            user_id, "send_message", request_id="x", group_id="g", body=body(user_id)
        )
        assert said.code is None
    assert await bench.texts("g") == ["alice", "bob"]


async def test_what_would_be_refused_now_but_was_done_before_gets_the_first_reply(
    bench: Bench,
) -> None:
    params = {"type": "Work", "name": "-", "group_id": "chosen"}
    first = await bench.do("alice", "create_group", request_id="x", **params)
    again = await bench.do("alice", "create_group", request_id="x", **params)
    assert again.map == first.map
    other = await bench.do("alice", "create_group", request_id="x", **params | {"name": "other"})
    assert other.code == "REQUEST_ID_CONFLICT"
    new = await bench.do("alice", "create_group", request_id="y", **params)
    assert new.code == "GROUP_ID_TAKEN_BY_YOU"


async def test_a_refused_command_leaves_no_trace_and_is_judged_anew(bench: Bench) -> None:
    before = await bench.everything()
    params = {"group_id": "g", "body": body("hi")}
    refused = await bench.do("carol", "send_message", request_id="x", **params)
    assert refused.code == "NO_PERMISSION"
    assert await bench.everything() == before
    assert await bench.hooked.inner.replay(RequestKey("carol", "x")) is None
    await bench.do("alice", "invite_members", group_id="g", user_ids=["carol"])
    again = await bench.do("carol", "send_message", request_id="x", **params)
    assert again.code is None


async def test_a_refusal_that_rests_on_a_repeat_is_judged_again(bench: Bench) -> None:
    """The repeat changes nothing, so what it once did must not count for those behind it."""
    await bench.do("bob", "quit_group", request_id="q", group_id="g")
    await bench.do("alice", "invite_members", group_id="g", user_ids=["bob"])
    again = bench.submit("bob", "quit_group", request_id="q", group_id="g")
    said = say(bench, "bob", "still here")
    await all_answered(bench)
    assert again.code is None
    assert said.code is None
    assert await bench.texts("g") == ["still here"]


@pytest.mark.parametrize("is_refused", [True, False])
async def test_what_is_decided_again_still_comes_before_what_the_user_sent_after_it(
    in_memory: Bench, is_refused: bool
) -> None:
    """It rests on a repeat that turns out to be one: on what it undid, or on what it changed."""
    bench = in_memory
    await bench.group("h", "bob", "carol")
    undoing = "remove_members" if is_refused else "update_member"
    params = {"user_ids": ["bob"]} if is_refused else {"user_id": "bob", "name_card": "Bob"}
    await bench.do("alice", undoing, request_id="r", group_id="g", **params)
    if is_refused:
        await bench.do("alice", "invite_members", group_id="g", user_ids=["bob"])
    else:
        await bench.do("alice", "update_member", group_id="g", **params | {"name_card": "Robert"})
    again = bench.submit("alice", undoing, request_id="r", group_id="g", **params)
    sent = [
        say(bench, "bob", "first", "g"),
        say(bench, "bob", "second", "h"),
        say(bench, "carol", "at any time", "h"),
    ]
    await all_answered(bench)
    assert [command.code for command in (again, *sent)] == [None] * 4
    places = {
        told.entry.data["body"][0]["content"]["text"]: told.position
        for told in await bench.told("message")
    }
    assert places["first"] < places["second"]
    assert places["at any time"] < places["first"], "nobody else waits for it"


async def test_a_repeated_join_of_a_room_lets_nobody_in(in_memory: Bench) -> None:
    bench = in_memory
    await bench.group("room", group_type="AVChatRoom")
    bob = await bench.world.online("bob")
    await bench.do("bob", "join_group", request_id="j", group_id="room")
    await bench.do("bob", "quit_group", group_id="room")
    again = bench.submit("bob", "join_group", request_id="j", group_id="room")
    said = say(bench, "bob", "not there", "room")
    await until_idle()
    assert again.code is None
    assert said.code == "NO_PERMISSION"
    assert bob.texts("room") == []


async def test_a_repeated_quit_of_a_room_puts_nobody_out(in_memory: Bench) -> None:
    bench = in_memory
    await bench.group("room", group_type="AVChatRoom")
    bob = await bench.world.online("bob")
    await bench.do("bob", "join_group", group_id="room")
    await bench.do("bob", "quit_group", request_id="q", group_id="room")
    await bench.do("bob", "join_group", group_id="room")
    again = bench.submit("bob", "quit_group", request_id="q", group_id="room")
    said = say(bench, "bob", "still here", "room")
    await until_idle()
    assert again.code is None
    assert said.code is None
    assert bob.texts("room") == ["still here"]


# Rooms without stored membership.


async def test_join_and_say_may_be_sent_together_in_a_room(in_memory: Bench) -> None:
    bench = in_memory
    await bench.group("room", group_type="AVChatRoom")
    bob = await bench.world.online("bob")
    joined = bench.submit("bob", "join_group", group_id="room")
    said = say(bench, "bob", "hello", "room")
    left = bench.submit("bob", "quit_group", group_id="room")
    too_late = say(bench, "bob", "gone", "room")
    await until_idle()
    assert [joined.code, said.code, left.code] == [None] * 3
    assert too_late.code == "NO_PERMISSION"
    assert bob.texts("room") == ["hello"]


async def test_those_who_join_a_room_together_are_all_counted(in_memory: Bench) -> None:
    bench = in_memory
    alice = await bench.world.online("alice")
    await bench.group("room", group_type="AVChatRoom")
    for name in ("bob", "carol", "dave"):
        await bench.world.online(name)
    for name in ("bob", "carol", "dave"):
        bench.submit(name, "join_group", group_id="room")
    await until_idle()
    tips = [event for event in alice.events if event.event == "member_joined"]
    assert [tip.data["member_count"] for tip in tips] == [2, 3, 4]
    for name in ("bob", "carol"):
        bench.submit(name, "quit_group", group_id="room")
    await until_idle()
    tips = [event for event in alice.events if event.event == "member_quit"]
    assert [tip.data["member_count"] for tip in tips] == [3, 2]


# Failures.


@pytest.mark.parametrize("method", ["load", "commit"])
async def test_what_the_store_cannot_do_now_may_be_tried_again(
    in_memory: Bench, method: str
) -> None:
    bench = in_memory
    before = await bench.everything()
    bench.hooked.fail(method, Unavailable("the disk is full"))
    commands = [
        say(bench, "alice", "1", request_id="x"),
        bench.submit("alice", "create_group", type="Work", name="-", group_id="new"),
    ]
    await until_idle()
    for command in commands:
        assert command.code == "UNAVAILABLE"
    assert ERRORS[ErrorCode.UNAVAILABLE].retryable
    assert await bench.everything() == before
    assert "publish" not in bench.trace
    assert bench.world.fatal == 0
    again = say(bench, "alice", "1", request_id="x")
    await until_idle()
    assert again.code is None
    assert await bench.texts("g") == ["1"]


async def test_a_refusal_that_cannot_be_checked_for_a_repeat_may_be_tried_again(
    in_memory: Bench,
) -> None:
    bench = in_memory
    bench.hooked.fail("commit", Unavailable("busy"))
    refused = say(bench, "carol", "1")
    await until_idle()
    assert refused.code == "UNAVAILABLE"
    again = say(bench, "carol", "1")
    await until_idle()
    assert again.code == "NO_PERMISSION"


@pytest.mark.parametrize("error", [OutcomeUnknown("EIO"), RuntimeError("a bug of ours")])
async def test_when_the_outcome_is_unknown_the_process_ends_and_the_callers_are_told(
    in_memory: Bench, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "server.service.executor")
    bench = in_memory
    bench.hooked.fail("commit", error)
    commands = [say(bench, "alice", str(number)) for number in range(3)]
    await until_idle()
    assert [command.code for command in commands] == ["OUTCOME_UNKNOWN"] * 3
    assert bench.world.fatal == 1
    assert bench.trace == ["answer"] * 3


async def test_behind_a_fence_everything_is_still_answered() -> None:
    store = MemoryStore(epoch=EPOCH)
    async with bench_on(store) as bench:
        await bench.group("g")
        store.fail_next_commit(OutcomeUnknown("EIO"))
        for number in range(3):
            say(bench, "alice", str(number))
            await until_idle()
        assert {answer.code for answer in bench.answers[1:]} == {"OUTCOME_UNKNOWN"}
        assert bench.world.fatal >= 1


async def test_a_bug_in_a_rule_harms_only_its_own_command(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL, "server.service.executor")
    holed = {kind: dict(row) for kind, row in RIGHTS.items()}
    del holed[Operation.DISBAND][GroupType.WORK]
    async with bench_on(MemoryStore(epoch=EPOCH), Rulebook(rights=holed)) as bench:
        await bench.group("g", "bob")
        before = say(bench, "alice", "before")
        broken = bench.submit("alice", "disband_group", group_id="g")
        after = say(bench, "bob", "after")
        await until_idle()
        assert broken.code == "INTERNAL"
        assert [before.code, after.code] == [None, None]
        assert bench.world.fatal == 0
        assert await bench.texts("g") == ["before", "after"]


async def test_a_command_without_a_request_id_is_not_remembered(in_memory: Bench) -> None:
    bench = in_memory
    bob = await bench.world.online("bob")
    await bench.group("room", group_type="AVChatRoom")
    await bench.do("bob", "join_group", group_id="room")
    bob.drop()
    await until_idle()
    assert bench.world.hub.participant_since_ms("room", "bob") is None


async def test_settled_waits_for_all_that_was_submitted(in_memory: Bench) -> None:
    bench = in_memory
    for number in range(5):
        say(bench, "alice", str(number))
    await bench.executor.settled()
    assert all(answer.count for answer in bench.answers)
    await bench.executor.settled()


# Several processes on one store.


@pytest.fixture
async def two(store: Store) -> AsyncIterator[tuple[Bench, Bench]]:
    """Two processes: what one writes the other's memory knows nothing of."""
    async with (
        bench_on(store, is_only_writer=False) as one,
        bench_on(store, is_only_writer=False) as other,
    ):
        await one.group("g", "bob")
        yield one, other


async def warm(bench: Bench, *user_ids: str) -> None:
    """Have the rows of these users in memory."""
    for user_id in user_ids:
        await bench.do(user_id, "update_member", group_id="g", user_id=user_id)


async def test_a_decision_on_rows_that_have_changed_is_made_again(two: tuple[Bench, Bench]) -> None:
    one, other = two
    await warm(other, "alice")
    await one.do("alice", "invite_members", group_id="g", user_ids=["carol"])
    invited = await other.do("alice", "invite_members", group_id="g", user_ids=["carol", "dave"])
    results = [row["result"] for row in invited.map["members"]]
    assert results == ["already_member", "added"]
    joined = await one.hooked.inner.groups_of("dave", 0, 10, None)
    assert joined[0].group.member_count == 4


async def test_a_refusal_on_rows_that_have_changed_is_made_again(two: tuple[Bench, Bench]) -> None:
    one, other = two
    await other.do("carol", "send_message", group_id="g", body=body("not yet"))
    await one.do("alice", "invite_members", group_id="g", user_ids=["carol"])
    said = await other.do("carol", "send_message", group_id="g", body=body("now"))
    assert said.code is None


async def test_a_repeat_at_another_process_gets_the_first_reply(two: tuple[Bench, Bench]) -> None:
    one, other = two
    said = {"group_id": "g", "body": body("once")}
    first = await one.do("alice", "send_message", request_id="x", **said)
    again = await other.do("alice", "send_message", request_id="x", **said)
    assert again.map == first.map
    assert await one.texts("g") == ["once"]


async def test_conflicts_keep_the_order_of_submit(two: tuple[Bench, Bench]) -> None:
    one, other = two
    await warm(other, "alice", "bob")
    await one.do("alice", "invite_members", group_id="g", user_ids=["carol"])
    commands = [
        say(other, "bob", "1"),
        other.submit("bob", "quit_group", group_id="g"),
        say(other, "bob", "2"),
        say(other, "alice", "3"),
    ]
    await all_answered(other)
    assert [command.code for command in commands] == [None, None, "NO_PERMISSION", None]
    assert await one.texts("g") == ["1", "3"]


async def test_rows_that_keep_changing_are_given_up_with_a_retryable_error() -> None:
    store = MemoryStore(epoch=EPOCH)
    async with bench_on(store) as one, bench_on(store, is_only_writer=False) as other:
        await one.group("g", "bob")
        count = 0

        async def change() -> None:
            nonlocal count
            count += 1
            if count < 50:
                await one.do("alice", "update_group", group_id="g", name=f"name {count}")

        other.hooked.before["commit"] = change
        said = await other.do("bob", "send_message", group_id="g", body=body("?"))
        assert said.code == "UNAVAILABLE"
        count = 50
        said = await other.do("bob", "send_message", group_id="g", body=body("!"))
        assert said.code is None


async def test_what_other_processes_do_to_another_group_is_no_conflict(
    two: tuple[Bench, Bench],
) -> None:
    one, other = two
    await one.group("h", "bob")
    await warm(other, "alice")
    await one.do("alice", "update_group", group_id="h", name="new")
    commits = other.hooked.calls["commit"]
    said = await other.do("alice", "send_message", group_id="g", body=body("hi"))
    assert said.code is None
    assert other.hooked.calls["commit"] == commits + 1


async def test_a_decision_is_encoded_as_it_travels(bench: Bench) -> None:
    made = await bench.do("alice", "create_group", request_id="x", type="Work", name="-")
    again = await bench.do("alice", "create_group", request_id="x", type="Work", name="-")
    assert msgspec.to_builtins(again.result) == made.map
