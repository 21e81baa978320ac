"""Circles of objects go soon, or at the next look at everything; what is in use stays."""

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from server.collector import Collector


class Node:
    def __init__(self) -> None:
        self.other: Node | None = None


def circle() -> tuple[Node, "weakref.ref[Node]"]:
    one, two = Node(), Node()
    one.other, two.other = two, one
    return one, weakref.ref(two)


@pytest.fixture(autouse=True)
def _no_collection_by_itself() -> Iterator[None]:
    gc.disable()
    yield
    gc.unfreeze()
    gc.enable()


def test_a_circle_that_nobody_uses_goes_with_the_next_step() -> None:
    collector = Collector()
    held, found = circle()
    del held
    assert found() is not None
    collector.step(1.0)
    assert found() is None


def test_a_circle_that_was_set_apart_goes_with_the_next_look_at_everything() -> None:
    collector = Collector(thaw_at_most=2**31)
    held, found = circle()
    collector.step(1.0)
    assert found() is not None
    del held
    collector.step(2.0)
    assert found() is not None, "it is set apart"
    collector.step(700.0)
    assert found() is None


def test_where_too_much_is_set_apart_it_is_not_looked_at() -> None:
    collector = Collector(thaw_at_most=0)
    held, found = circle()
    collector.step(1.0)
    del held
    collector.step(700.0)
    assert found() is not None
    assert gc.get_freeze_count() > 0


async def test_it_leaves_the_collector_as_it_was() -> None:
    before = gc.get_threshold()
    running = asyncio.ensure_future(Collector().run())
    await asyncio.sleep(0)
    assert gc.get_threshold() != before
    running.cancel()
    await asyncio.wait([running])
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0
