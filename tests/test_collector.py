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


class Connections:
    """How many there are, and were."""

    def __init__(self, here: int) -> None:
        self.here = here
        self.gone = 0

    def collector(self) -> Collector:
        return Collector(lambda: self.here, lambda: self.gone)


@pytest.fixture(autouse=True)
def _no_collection_by_itself() -> Iterator[None]:
    gc.disable()
    yield
    gc.unfreeze()
    gc.enable()


def test_a_circle_that_nobody_uses_goes_with_the_next_step() -> None:
    collector = Connections(0).collector()
    held, found = circle()
    del held
    assert found() is not None
    collector.step()
    assert found() is None


@pytest.mark.parametrize(("here", "enough"), [(0, 1_000), (1_000, 1_000), (5_000, 5_000)])
def test_a_circle_that_was_set_apart_goes_when_as_many_have_closed_as_are_open(
    here: int, enough: int
) -> None:
    connections = Connections(here)
    collector = connections.collector()
    held, found = circle()
    collector.step()
    assert gc.get_freeze_count() > 0
    del held
    connections.gone = enough - 1
    collector.step()
    assert found() is not None, "it is set apart"
    connections.gone = enough
    collector.step()
    assert found() is None
    held, found = circle()
    collector.step()
    del held
    connections.gone = 2 * enough - 1
    collector.step()
    assert found() is not None, "those before do not count again"


async def test_it_leaves_the_collector_as_it_was() -> None:
    before = gc.get_threshold()
    running = asyncio.ensure_future(Connections(0).collector().run())
    await asyncio.sleep(0)
    assert gc.get_threshold() != before
    running.cancel()
    await asyncio.wait([running])
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0
