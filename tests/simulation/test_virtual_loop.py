"""The loop of the simulation: time that jumps, and ends that are noticed."""

import asyncio
import contextvars

import pytest

from tests.simulation.virtual_loop import Deadlock, Process, VirtualLoop, within


def test_time_jumps_and_order_is_that_of_the_timers() -> None:
    loop = VirtualLoop()
    seen: list[tuple[str, float]] = []
    start_s = loop.time()

    async def sleeper(name: str, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        seen.append((name, loop.time() - start_s))

    async def both() -> None:
        await asyncio.gather(sleeper("late", 86_400.0), sleeper("early", 0.5))

    loop.run(both())
    loop.close()
    assert seen == [("early", 0.5), ("late", 86_400.0)]


def test_waiting_for_what_cannot_happen_is_a_deadlock() -> None:
    loop = VirtualLoop()

    async def wait_for_ever() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Deadlock):
        loop.run(wait_for_ever())
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run(asyncio.sleep(0))
    loop.close()


def test_a_process_ends_with_everything_that_it_began() -> None:
    loop = VirtualLoop()
    process = Process("p")
    ended: list[str] = []

    async def child() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            ended.append("child")

    async def parent() -> None:
        began = asyncio.ensure_future(child())
        try:
            await began
        finally:
            ended.append("parent")

    async def scene() -> None:
        context = contextvars.copy_context()
        began = within(process, lambda: loop.create_task(parent()), context)
        other = loop.create_task(asyncio.sleep(2))
        await asyncio.sleep(1)
        process.kill()
        await other
        assert began.cancelled()

    loop.run(scene())
    loop.close()
    assert sorted(ended) == ["child", "parent"]
    assert process.unfinished() == []


def test_an_error_that_nobody_catches_is_kept() -> None:
    loop = VirtualLoop()

    def fail() -> None:
        raise ValueError("oh")

    async def scene() -> None:
        loop.call_soon(fail)
        await asyncio.sleep(0)

    loop.run(scene())
    loop.close()
    assert len(loop.errors) == 1
    assert "oh" in loop.errors[0]
