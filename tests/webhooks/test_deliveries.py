"""How the outbox is told: at least once, each group in order, and nobody pays for another."""

import asyncio
import sys
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.limits import default_limits
from server.service.outbox import Outbox, OutboxItem, Outgoing, Waiting
from server.service.ports import OutcomeUnknown, Store, Unavailable, WriteSet
from server.storage.memory import MemoryStore
from server.webhooks.backlog import Backlog
from server.webhooks.deliveries import Deliveries
from server.webhooks.receiver import Answer, Call
from tests.kit.fakes import NOON_MS, FakeClock, HookedStore, until, until_idle
from tests.kit.receivers import DOWN, OK, Reaction, ScriptedReceiver, text_of

EVERYTHING = 1_000_000


def item(text: str, stream: str = "g") -> OutboxItem:
    name = "Group.CallbackAfterGroupFull"
    return OutboxItem(
        delivery_id=f"id-{text}",
        name=name,
        stream=stream,
        time_ms=1,
        body=f'{{"CallbackCommand":"{name}","Name":"{text}"}}'.encode(),
    )


class Rig:
    """Deliveries on a store, moved by hand."""

    def __init__(
        self, store: Store, receiver: ScriptedReceiver, limits: Mapping[str, int], clock: FakeClock
    ) -> None:
        self.store = store
        self.outbox = cast(Outbox, store)
        self.receiver = receiver
        self.clock = clock
        self.deliveries = Deliveries(
            outbox=self.outbox,
            receiver=receiver,
            clock=clock,
            limits=default_limits() | dict(limits),
            jitter=lambda: 1.0,
        )

    async def commit(self, *items: OutboxItem) -> None:
        await self.store.commit(0, [WriteSet(time_ms=1, outbox=items)])
        self.deliveries.committed()

    async def turn(self) -> float:
        """One turn, up to where everything rests or is held."""
        pause_s = await self.deliveries.turn()
        await until(lambda: self.deliveries.is_resting or self.receiver.held)
        return pause_s

    async def work(self) -> None:
        """Turns, until nothing more is told by itself."""
        await self.turn()
        while self.deliveries._ready and not self.deliveries._breaker.wait_s():
            await self.turn()

    async def later(self, ms: int) -> None:
        self.clock.advance(ms)
        await self.work()

    @property
    def told(self) -> list[str]:
        """What was told, with the number of the attempt."""
        return [f"{text_of(call)}{call.attempt}" for call in self.receiver.calls]

    async def waiting(self) -> int:
        return len(await self.outbox.waiting(0, EVERYTHING))

    async def dead(self) -> list[tuple[str, int, str]]:
        rows = await self.outbox.dead(0, EVERYTHING)
        return [(row.item.delivery_id, row.attempts, row.failure) for row in rows]


@asynccontextmanager
async def rig_on(
    store: Store,
    receiver: ScriptedReceiver,
    clock: FakeClock | None = None,
    **limits: int,
) -> AsyncIterator[Rig]:
    rig = Rig(store, receiver, limits, clock or FakeClock())
    try:
        yield rig
    finally:
        await rig.deliveries.stop()


class TestTelling:
    async def test_what_is_told_is_gone(self, store: Store, receiver: ScriptedReceiver) -> None:
        async with rig_on(store, receiver) as rig:
            await rig.commit(item("a"), item("b"), item("c", "h"))
            await rig.work()
            assert sorted(rig.told) == ["a1", "b1", "c1"]
            assert [call.delivery_id for call in receiver.calls if call.delivery_id == "id-a"]
            assert await rig.waiting() == 0
            assert (rig.deliveries.delivered, rig.deliveries.waiting) == (3, 0)

    async def test_a_group_is_told_in_order_one_after_the_other(
        self, store: Store, receiver: ScriptedReceiver
    ) -> None:
        async with rig_on(store, receiver) as rig:
            receiver.script.extend([receiver.hold] * 4)
            await rig.commit(item("a"), item("b"), item("x", "h"), item("y", "h"))
            await rig.turn()
            await until(lambda: len(receiver.held) == 2)
            assert sorted(receiver.held) == ["a", "x"], "the first of each, and no other"
            receiver.answer("x")
            await until(lambda: "y" in receiver.held)
            receiver.answer("y")
            receiver.answer("a")
            await until(lambda: receiver.held == ["b"])
            receiver.answer("b")
            await rig.work()
            assert await rig.waiting() == 0

    async def test_no_more_than_so_many_at_once(
        self, store: Store, receiver: ScriptedReceiver
    ) -> None:
        async with rig_on(store, receiver, WEBHOOK_CONNECTIONS=3) as rig:
            receiver.script.extend([receiver.hold] * 10)
            await rig.commit(*(item(f"m{number}", f"g{number}") for number in range(10)))
            await rig.turn()
            await until(lambda: len(receiver.held) == 3)
            for number in range(10):
                await until(lambda: receiver.held)
                assert len(receiver.held) <= 3
                receiver.answer(receiver.held[0])
                await until(lambda n=number: rig.deliveries.delivered == n + 1)  # type: ignore[misc]
                await rig.deliveries.turn()
            assert sorted(rig.told) == [f"m{number}1" for number in range(10)]

    async def test_a_long_group_does_not_keep_the_others_waiting(
        self, store: Store, receiver: ScriptedReceiver
    ) -> None:
        async with rig_on(store, receiver, WEBHOOK_CONNECTIONS=1) as rig:
            await rig.commit(*(item(f"m{number:03}") for number in range(100)), item("x", "h"))
            await rig.work()
            assert 30 < rig.told.index("x1") < 40
            rest = [text for text in rig.told if text != "x1"]
            assert rest == [f"m{number:03}1" for number in range(100)]

    async def test_what_comes_while_others_are_told_is_told_too(
        self, store: Store, receiver: ScriptedReceiver
    ) -> None:
        async with rig_on(store, receiver) as rig:
            receiver.script.append(receiver.hold)
            await rig.commit(item("a"))
            await rig.turn()
            await rig.commit(item("b"))
            await rig.turn()
            receiver.answer("a")
            await rig.work()
            assert rig.told == ["a1", "b1"]


def all_but(start: str) -> Reaction:
    """A reaction: take all but what begins so."""

    async def moody(call: Call) -> Answer:
        return Answer(500, b"") if text_of(call).startswith(start) else OK

    return moody


FAILURES = {"down": DOWN, "500": Answer(500, b""), "302": Answer(302, b""), "404": Answer(404, b"")}


class TestFailing:
    @pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
    async def test_it_is_tried_again_after_longer_and_longer_times(
        self, store: Store, receiver: ScriptedReceiver, failure: Answer
    ) -> None:
        async with rig_on(store, receiver) as rig:
            receiver.script.extend([failure] * 3)
            await rig.commit(item("a"), item("b"))
            await rig.work()
            for pause_ms in (1_000, 2_000, 4_000):
                count = len(rig.told)
                await rig.later(pause_ms - 1)
                assert len(rig.told) == count, "not before its time"
                await rig.later(1)
            assert rig.told == ["a1", "a2", "a3", "a4", "b1"]
            assert await rig.waiting() == 0
            assert not await rig.dead()

    async def test_pauses_have_a_longest(self, store: Store, receiver: ScriptedReceiver) -> None:
        async with rig_on(
            store, receiver, WEBHOOK_BACKOFF_MS=10, WEBHOOK_BACKOFF_MOST_MS=40
        ) as rig:
            receiver.script.extend([Answer(503, b"")] * 4)
            await rig.commit(item("a"))
            await rig.work()
            for pause_ms in (10, 20, 40, 40):
                await rig.later(pause_ms)
            assert rig.told == ["a1", "a2", "a3", "a4", "a5"]

    async def test_after_so_many_attempts_it_is_dead_and_the_next_one_is_told(
        self, store: Store, receiver: ScriptedReceiver
    ) -> None:
        async with rig_on(store, receiver, WEBHOOK_ATTEMPTS=3, WEBHOOK_BACKOFF_MS=10) as rig:
            receiver.script.extend([Answer(503, b"")] * 3)
            await rig.commit(item("a"), item("b"))
            await rig.work()
            await rig.later(10)
            rig.deliveries.was_asked()
            await rig.later(20)
            assert rig.told == ["a1", "a2", "a3", "b1"]
            assert await rig.dead() == [("id-a", 3, "HTTP 503")]
            assert await rig.waiting() == 0

    @pytest.mark.parametrize("status", [400, 410, 413, 422])
    async def test_a_permanent_answer_is_believed_at_once(
        self, store: Store, receiver: ScriptedReceiver, status: int
    ) -> None:
        async with rig_on(store, receiver) as rig:
            receiver.script.append(Answer(status, b""))
            await rig.commit(item("a"), item("b"))
            await rig.work()
            assert rig.told == ["a1", "b1"]
            assert await rig.dead() == [("id-a", 1, f"HTTP {status}")]

    async def test_what_the_answer_says_does_not_matter(
        self, store: Store, receiver: ScriptedReceiver
    ) -> None:
        async with rig_on(store, receiver) as rig:
            receiver.script.extend([Answer(200, b"garbage"), Answer(204, b""), Answer(200, None)])
            await rig.commit(item("a"), item("b"), item("c"))
            await rig.work()
            assert rig.told == ["a1", "b1", "c1"]

    async def test_a_failing_group_does_not_keep_the_others_waiting(
        self, store: Store, receiver: ScriptedReceiver
    ) -> None:
        async def moody(call: Call) -> Answer:
            return Answer(503, b"") if text_of(call) == "bad" else OK

        receiver.by_name = {"Group.CallbackAfterGroupFull": moody}
        async with rig_on(store, receiver) as rig:
            await rig.commit(item("bad"), item("behind"), item("x", "h"))
            await rig.work()
            for number in range(5):
                await rig.commit(item(f"y{number}", "h"))
                await rig.later(60_000)
            assert [one for one in rig.told if one[0] in "xy"] == [
                "x1",
                *(f"y{n}1" for n in range(5)),
            ]
            assert "behind1" not in rig.told

    @pytest.mark.parametrize("failing", [1, 4])
    async def test_a_group_that_fails_for_ever_holds_back_no_other(
        self, store: Store, receiver: ScriptedReceiver, failing: int
    ) -> None:
        """Found by a reviewer: one that failed alone had the others wait for half a minute, and
        was never given up, as nothing went on while it was tried."""
        receiver.by_name = {"Group.CallbackAfterGroupFull": all_but("bad")}
        async with rig_on(
            store,
            receiver,
            WEBHOOK_ATTEMPTS=8,
            WEBHOOK_BACKOFF_MS=100,
            WEBHOOK_BACKOFF_MOST_MS=300,
        ) as rig:
            await rig.commit(*(item(f"bad{number}", f"g{number}") for number in range(failing)))
            await rig.commit(item("behind", "g0"))
            await rig.work()
            for _ in range(200):
                await rig.later(300)
            assert not await rig.dead(), "it may be the receiver"
            await rig.commit(item("x", "h"))
            await rig.work()
            assert rig.told[-1] == "x1", "at once"
            await rig.later(300)
            assert sorted(name for name, _, _ in await rig.dead()) == [
                f"id-bad{number}" for number in range(failing)
            ]
            await rig.work()
            assert await rig.waiting() == 0

    async def test_the_log_says_that_one_alone_is_told_in_vain(
        self, store: Store, receiver: ScriptedReceiver, caplog: pytest.LogCaptureFixture
    ) -> None:
        receiver.by_name = {"Group.CallbackAfterGroupFull": all_but("bad")}
        async with rig_on(store, receiver) as rig:
            await rig.commit(item("bad"))
            await rig.work()
            for number in range(8):
                await rig.later(600_000)
                assert bool(caplog.messages) is (number >= 3)
        assert [message.split(": ", 1)[1] for message in caplog.messages] == [
            "1 (1 Group.CallbackAfterGroupFull: HTTP 500)"
        ]

    async def test_whose_questions_are_answered_works(
        self, store: Store, receiver: ScriptedReceiver
    ) -> None:
        receiver.by_name = {"Group.CallbackAfterGroupFull": all_but("bad")}
        async with rig_on(store, receiver, WEBHOOK_ATTEMPTS=3) as rig:
            await rig.commit(*(item(f"bad{number}", f"g{number}") for number in range(9)))
            await rig.work()
            for _ in range(50):
                await rig.later(600_000)
            assert not await rig.dead()
            for _ in range(50):
                rig.deliveries.was_asked()
                await rig.later(600_000)
            assert len(await rig.dead()) == 9

    async def test_what_is_taken_while_an_attempt_lasts_says_nothing_about_it(
        self, store: Store, receiver: ScriptedReceiver
    ) -> None:
        """It may hang since a time in which nothing was taken."""
        async with rig_on(store, receiver, WEBHOOK_ATTEMPTS=2) as rig:
            receiver.script.extend([DOWN] * 9)
            await rig.commit(item("a"))
            await rig.work()
            for _ in range(8):
                await rig.later(600_000)
            receiver.script.append(receiver.hold)
            rig.clock.advance(600_000)
            await rig.turn()
            await until(lambda: receiver.held)
            await rig.commit(item("x", "h"))
            await rig.deliveries.turn()
            await until(lambda: rig.deliveries.delivered == 1)
            receiver.answer("a", DOWN)
            await rig.work()
            assert not await rig.dead()
            receiver.script.append(DOWN)
            await rig.later(600_000)
            assert [name for name, _, _ in await rig.dead()] == ["id-a"], "now it does"

    async def test_one_alone_is_given_up_after_a_day(
        self, store: Store, receiver: ScriptedReceiver
    ) -> None:
        """Nobody can say then whether it is this one or the receiver."""
        receiver.by_name = {"Group.CallbackAfterGroupFull": all_but("bad")}
        async with rig_on(store, receiver, WEBHOOK_BACKOFF_MOST_MS=3_600_000) as rig:
            await rig.commit(item("bad"), item("behind"))
            await rig.work()
            for _ in range(23):
                await rig.later(3_600_000)
            assert not await rig.dead()
            await rig.later(3_600_000)
            assert rig.told[-1] == "behind1"
            assert len(await rig.dead()) == 1

    async def test_of_a_receiver_that_comes_back_after_days_all_are_told(
        self, store: Store, receiver: ScriptedReceiver
    ) -> None:
        async with rig_on(store, receiver, WEBHOOK_ATTEMPTS=3) as rig:
            receiver.by_name = {"Group.CallbackAfterGroupFull": Answer(502, b"")}
            await rig.commit(*(item(f"m{number}", f"g{number % 7}") for number in range(21)))
            await rig.work()
            for _ in range(72 * 6):
                await rig.later(600_000)
            assert not await rig.dead()
            # It takes one, and is down again: that says nothing of the others.
            receiver.by_name = {}
            receiver.script.extend([OK, *[Answer(502, b"")] * 40])
            while receiver.script:
                await rig.later(30_000)
            assert len(await rig.dead()) <= 4, "that fail before it is seen to be down"
            gone = len(await rig.dead())
            for _ in range(5):
                await rig.later(600_000)
            assert await rig.waiting() == 0
            assert len(await rig.dead()) == gone

    async def test_the_try_for_all_is_made_with_one_that_has_not_failed(
        self, store: Store, receiver: ScriptedReceiver
    ) -> None:
        receiver.by_name = {"Group.CallbackAfterGroupFull": all_but("bad")}
        async with rig_on(store, receiver, WEBHOOK_BACKOFF_MOST_MS=1_000) as rig:
            await rig.commit(*(item(f"bad{number}", f"g{number}") for number in range(9)))
            await rig.work()
            for _ in range(3):
                await rig.later(30_000)
            await rig.commit(item("x", "h"), item("y", "i"))
            told = len(rig.told)
            await rig.later(30_000)
            assert rig.told[told] == "x1"
            assert "y1" in rig.told[told:]

    async def test_a_dead_receiver_is_tried_from_time_to_time_only(
        self, store: Store, receiver: ScriptedReceiver
    ) -> None:
        receiver.by_name = {"Group.CallbackAfterGroupFull": DOWN}
        async with rig_on(store, receiver, WEBHOOK_CONNECTIONS=1) as rig:
            await rig.commit(*(item(f"m{number}", f"g{number}") for number in range(200)))
            await rig.work()
            assert len(rig.told) == 5
            for minute in range(10):
                await rig.later(30_000)
                assert len(rig.told) == 6 + minute
            receiver.by_name = {}
            await rig.later(30_000)
            assert rig.deliveries.delivered >= 184, "all but those that wait for their own time"
            await rig.later(600_000)
            assert await rig.waiting() == 0
            assert not await rig.dead()

    async def test_while_nothing_at_all_is_taken_nothing_is_given_up(
        self, store: Store, receiver: ScriptedReceiver
    ) -> None:
        """Found by reading: over a night without a receiver some of each group were dead."""
        receiver.by_name = {"Group.CallbackAfterGroupFull": DOWN}
        async with rig_on(store, receiver, WEBHOOK_ATTEMPTS=6) as rig:
            await rig.commit(item("a"), item("b"))
            await rig.work()
            for _ in range(100):
                await rig.later(600_000)
            assert len(rig.told) == 101
            assert not await rig.dead()

            async def moody(call: Call) -> Answer:
                return Answer(503, b"") if text_of(call) == "a" else OK

            receiver.by_name = {"Group.CallbackAfterGroupFull": moody}
            await rig.commit(item("x", "h"))
            await rig.later(30_000)
            await rig.later(600_000)
            assert rig.told[-2:] == [f"a{102}", "b1"], "others are taken: it is this one"
            assert await rig.dead() == [("id-a", 102, "HTTP 503")]

    async def test_an_unreadable_outbox_is_read_later(
        self, store: Store, receiver: ScriptedReceiver
    ) -> None:
        hooked = HookedStore(store)
        async with rig_on(hooked.store, receiver) as rig:
            hooked.fail("waiting", Unavailable("busy"))
            await rig.commit(item("a"))
            await rig.deliveries.turn()
            assert not rig.told
            hooked.fail("outgoing", Unavailable("busy"))
            await rig.work()
            await rig.later(1_000)
            assert rig.told == ["a1"]

    async def test_a_group_that_is_slow_gives_way_to_the_others(
        self, store: Store, receiver: ScriptedReceiver
    ) -> None:
        async with rig_on(store, receiver, WEBHOOK_CONNECTIONS=1) as rig:

            async def slow(call: Call) -> Answer:
                rig.clock.advance(4_000 if text_of(call).startswith("slow") else 1)
                return OK

            receiver.by_name = {"Group.CallbackAfterGroupFull": slow}
            await rig.commit(*(item(f"slow{n}") for n in range(5)), item("x", "h"))
            await rig.work()
            assert rig.told.index("x1") == 1
            assert await rig.waiting() == 0

    async def test_of_a_group_that_fails_one_alone_is_read_again(
        self, store: Store, receiver: ScriptedReceiver
    ) -> None:
        hooked = HookedStore(store)
        read: list[int] = []
        outgoing = store.outgoing  # type: ignore[attr-defined]

        async def noted(ids: Collection[int]) -> Mapping[int, Outgoing]:
            read.append(len(ids))
            return await outgoing(ids)  # type: ignore[no-any-return]

        store.outgoing = noted  # type: ignore[attr-defined]
        async with rig_on(hooked.store, receiver) as rig:
            receiver.script.extend([DOWN] * 2)
            await rig.commit(*(item(str(number)) for number in range(10)))
            await rig.work()
            await rig.later(1_000)
            await rig.later(2_000)
            assert read == [10, 1, 1, 9]
            assert await rig.waiting() == 0

    async def test_an_answer_that_the_address_is_wrong_buries_nothing(
        self, store: Store, receiver: ScriptedReceiver
    ) -> None:
        async with rig_on(store, receiver) as rig:
            statuses = (404, 405, 414, 415)
            receiver.script.extend(Answer(status, b"") for status in statuses)
            await rig.commit(item("a"))
            await rig.work()
            for _ in statuses:
                await rig.later(10_000)
            assert rig.told == ["a1", "a2", "a3", "a4", "a5"]
            assert not await rig.dead()

    async def test_a_bug_of_ours_does_not_keep_the_others_waiting(
        self, store: Store, receiver: ScriptedReceiver, caplog: pytest.LogCaptureFixture
    ) -> None:
        hooked = HookedStore(store)
        async with rig_on(hooked.store, receiver, WEBHOOK_CONNECTIONS=1) as rig:
            receiver.script.extend([DOWN] * 5)
            await rig.commit(*(item(str(number), f"g{number}") for number in range(6)))
            await rig.work()
            hooked.fail("outgoing", ValueError("a row that nobody understands"))
            await rig.later(1_000)  # for the one that is let through
            assert rig.deliveries.delivered == 5, "another one is let through in its place"
            caplog.clear()

    async def test_a_clock_that_was_put_back_puts_nothing_off(
        self, store: Store, receiver: ScriptedReceiver
    ) -> None:
        """Found by the simulation: while the wall clock stood still nothing was tried again, and
        the server looked a thousand times a second whether it was time."""
        async with rig_on(store, receiver) as rig:
            receiver.script.append(DOWN)
            await rig.commit(item("a"))
            await rig.work()
            rig.clock.pass_unseen(999)
            assert await rig.turn() == pytest.approx(0.001)
            rig.clock.pass_unseen(1)
            await rig.work()
            assert rig.told == ["a1", "a2"]


class TestRestart:
    async def test_a_clock_that_was_wrong_puts_nothing_off_for_ever(
        self, store: Store, receiver: ScriptedReceiver
    ) -> None:
        wrong = FakeClock(NOON_MS + 400 * 86_400_000)
        async with rig_on(store, receiver, wrong) as rig:
            receiver.script.append(DOWN)
            await rig.commit(item("a"))
            await rig.work()
        async with rig_on(store, receiver) as rig:
            await rig.work()
            await rig.later(600_000)
            assert rig.told == ["a1", "a2"]

    async def test_what_was_not_noted_is_told_again_under_the_same_id(
        self, store: Store, receiver: ScriptedReceiver
    ) -> None:
        hooked = HookedStore(store)
        async with rig_on(hooked.store, receiver) as rig:
            hooked.fail("settle", Unavailable("killed"), times=2)
            await rig.commit(item("a"), item("b"))
            await rig.work()
        async with rig_on(store, receiver) as rig:
            await rig.work()
            assert rig.told == ["a1", "b1", "a1", "b1"]
            assert await rig.waiting() == 0

    async def test_attempts_and_times_are_remembered(
        self, store: Store, receiver: ScriptedReceiver
    ) -> None:
        clock = FakeClock()
        async with rig_on(store, receiver, clock) as rig:
            receiver.script.extend([DOWN] * 2)
            await rig.commit(item("a"), item("b"))
            await rig.work()
            await rig.later(1_000)
        async with rig_on(store, receiver, clock) as rig:
            await rig.work()
            assert rig.told == ["a1", "a2"]
            await rig.later(2_000)
            assert rig.told == ["a1", "a2", "a3", "b1"]

    async def test_the_revived_are_told_behind_what_waits(
        self, store: Store, receiver: ScriptedReceiver
    ) -> None:
        async with rig_on(store, receiver) as rig:
            receiver.script.append(Answer(410, b""))
            await rig.commit(item("a"), item("b"))
            await rig.work()
            await rig.outbox.revive(None)
            rig.deliveries.committed()
            await rig.work()
            assert rig.told == ["a1", "b1", "a1"]

    async def test_who_cannot_note_what_was_told_ends_the_process(
        self, store: Store, receiver: ScriptedReceiver
    ) -> None:
        """It would tell all there is, again and again, without a note of it."""
        hooked = HookedStore(store)
        async with rig_on(hooked.store, receiver) as rig:
            ends: list[bool] = []
            rig.deliveries.on_fatal = lambda: ends.append(True)
            hooked.fail("settle", OutcomeUnknown("a write failed in the middle"))
            await rig.commit(item("a"))
            await rig.work()
            assert ends == [True]


class TestBounds:
    async def test_of_too_much_that_waits_the_oldest_is_dead(
        self, store: Store, receiver: ScriptedReceiver
    ) -> None:
        async with rig_on(store, receiver, WEBHOOK_OUTBOX=5, WEBHOOK_CONNECTIONS=1) as rig:
            receiver.script.append(receiver.hold)
            await rig.commit(*(item(f"m{n}", f"g{n % 3}") for n in range(4)))
            await rig.turn()
            await rig.commit(*(item(f"m{n}", f"g{n % 3}") for n in range(4, 10)))
            await rig.deliveries.turn()
            (held,) = receiver.held
            assert held == "m0"
            receiver.answer("m0")
            await rig.work()
            dead = [delivery_id for delivery_id, _, _ in await rig.dead()]
            assert dead == ["id-m1", "id-m2", "id-m3", "id-m4", "id-m5"]
            assert sorted(rig.told) == ["m01", "m61", "m71", "m81", "m91"]
            assert await rig.waiting() == 0

    @given(data=st.data())
    @settings(max_examples=40)
    def test_what_is_left_of_too_much_is_the_newest(self, data: st.DataObject) -> None:
        """Held against a plain list, whatever of it is told or on its way in between."""
        backlog, ids = Backlog(), list(range(1, data.draw(st.integers(1, 30)) + 1))
        names = st.sampled_from("abc")
        streams = {
            row_id: backlog.add(Waiting(row_id, data.draw(names), 0, 0, row_id))[0]
            for row_id in ids
        }
        for stream in data.draw(st.lists(st.sampled_from(list(streams.values())), max_size=3)):
            stream.told_id = next((one for one in stream.items if isinstance(one, int)), 0)
        for stream in data.draw(st.lists(st.sampled_from(list(streams.values())), max_size=3)):
            backlog.add_passing(Outgoing(id=0, item=item("p", stream.name)))
        on_the_way = {stream.told_id for stream in streams.values()}
        count = data.draw(st.integers(0, 35))
        dropped = backlog.drop_oldest(count)
        assert dropped == [one for one in ids if one not in on_the_way][:count]
        left = [one for one in ids if one not in dropped]
        assert backlog.stored == len(left)
        assert backlog.oldest_ms == (left[0] if left else None)
        for stream in set(streams.values()):
            own = [one for one in stream.items if isinstance(one, int)]
            assert own == [one for one in left if streams[one] is stream]

    async def test_a_full_outbox_of_a_dead_receiver_costs_by_what_comes(
        self, receiver: ScriptedReceiver
    ) -> None:
        """Of 20,000 that wait only what comes and what is dead for it is looked at."""
        receiver.by_name = {"Group.CallbackAfterGroupFull": DOWN}
        full = 20_000
        async with rig_on(MemoryStore(), receiver, WEBHOOK_OUTBOX=full) as rig:
            await rig.commit(*(item(str(number), f"g{number % 100}") for number in range(full)))
            await rig.work()
            steps = 0

            def count(_frame: object, event: str, _arg: object) -> None:
                nonlocal steps
                steps += event in ("call", "c_call")

            await rig.store.commit(0, [WriteSet(time_ms=1, outbox=[item("new")])])
            rig.deliveries.committed()
            sys.setprofile(count)
            try:
                await rig.deliveries.turn()
            finally:
                sys.setprofile(None)
            assert rig.deliveries.waiting == full
            assert steps < 1_000

    async def test_many_notes_are_written_in_several_transactions(
        self, store: Store, receiver: ScriptedReceiver
    ) -> None:
        hooked = HookedStore(store)
        async with rig_on(hooked.store, receiver, WEBHOOK_OUTBOX=1) as rig:
            receiver.script.append(receiver.hold)
            await rig.commit(*(item(str(number)) for number in range(2_001)))
            await rig.turn()
            await until(lambda: rig.deliveries._settling.is_done)
            assert hooked.calls["settle"] >= 2
            assert len(await rig.dead()) == 2_000
            receiver.answer(receiver.held[0])

    async def test_what_passes_is_bounded_and_lost_with_the_process(
        self, store: Store, receiver: ScriptedReceiver
    ) -> None:
        async with rig_on(store, receiver) as rig:
            for number in range(10_005):
                rig.deliveries.say(item(f"p{number}", "\nalice"))
            assert (rig.deliveries.waiting, rig.deliveries.buried) == (10_000, 5)
        async with rig_on(store, receiver) as rig:
            await rig.work()
            assert not rig.told

    async def test_what_passes_comes_behind_what_was_committed_before_it(
        self, store: Store, receiver: ScriptedReceiver
    ) -> None:
        hooked = HookedStore(store)
        async with rig_on(hooked.store, receiver) as rig:

            async def say() -> None:
                hooked.before.clear()
                rig.deliveries.say(item("q"))

            hooked.before["waiting"] = say
            await rig.commit(item("a"), item("b"))
            rig.deliveries.say(item("p"))
            await rig.work()
            assert rig.told == ["a1", "b1", "p1", "q1"]
            assert rig.deliveries.waiting == 0

    async def test_what_passes_is_told_in_order_with_what_is_stored(
        self, store: Store, receiver: ScriptedReceiver
    ) -> None:
        async with rig_on(store, receiver) as rig:
            receiver.script.extend([DOWN] * 4)
            rig.deliveries.say(item("p"))
            await rig.work()
            await rig.commit(item("a"))
            for pause_ms in (1_000, 2_000, 4_000, 8_000):
                await rig.later(pause_ms)
            assert rig.told == ["p1", "p2", "p3", "p4", "p5", "a1"]
            receiver.script.extend([DOWN] * 5)
            rig.deliveries.say(item("q"))
            await rig.work()
            for pause_ms in (1_000, 2_000, 4_000, 8_000, 60_000):
                await rig.later(pause_ms)
            assert rig.told[-5:] == ["q1", "q2", "q3", "q4", "q5"], "and then no more"
            assert rig.deliveries.waiting == 0
            assert not await rig.dead()


class TestEnding:
    async def test_news_that_come_with_the_end_do_not_keep_it_from_ending(
        self, store: Store, receiver: ScriptedReceiver
    ) -> None:
        async with rig_on(store, receiver) as rig:
            work = asyncio.ensure_future(rig.deliveries.run())
            await until_idle()
            rig.deliveries.committed()
            await asyncio.sleep(0)  # the wake-up is on its way
            work.cancel()
            await until_idle()
            assert work.cancelled()
