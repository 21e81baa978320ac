"""Questions that wait go together; each is answered as if it were alone."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from server.service.ports import OutcomeUnknown, Unavailable
from server.storage.sqlite_reader import Readers
from server.storage.sqlite_writer import Fence

ECHO = "SELECT ?"
SLOW = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)"
    " SELECT max(i) + ? FROM n"
)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "read.db"
    sqlite3.connect(path).close()
    return path


@pytest_asyncio.fixture(params=[1, 2])
async def readers(request: pytest.FixtureRequest, database: Path) -> AsyncIterator[Readers]:
    readers = await Readers.open(database, request.param, Fence())
    yield readers
    await readers.close()


async def test_whatever_is_asked_together_is_answered_to_each_its_own(readers: Readers) -> None:
    rows = await asyncio.gather(*(readers.row(ECHO, number) for number in range(500)))
    assert rows == [(number,) for number in range(500)]


async def test_a_question_without_a_row_is_answered_none(readers: Readers) -> None:
    assert await readers.row("SELECT 1 WHERE 0") is None


async def test_a_wrong_question_fails_alone(readers: Readers) -> None:
    asked = [
        readers.row("SELECT no_such_column" if number % 3 == 0 else ECHO, *[number][: number % 3])
        for number in range(30)
    ]
    rows = await asyncio.gather(*asked, return_exceptions=True)
    for number, row in enumerate(rows):
        if number % 3 == 0:
            assert isinstance(row, Unavailable)
        else:
            assert row == (number,)


async def test_questions_whose_callers_give_up_do_not_disturb_the_others(readers: Readers) -> None:
    asked = [asyncio.ensure_future(readers.row(ECHO, number)) for number in range(60)]
    await asyncio.sleep(0)
    for question in asked[::2]:
        question.cancel()
    rows = await asyncio.gather(*asked, return_exceptions=True)
    assert rows[1::2] == [(number,) for number in range(1, 60, 2)]
    assert all(isinstance(row, asyncio.CancelledError) for row in rows[::2])
    assert await readers.row(ECHO, "after") == ("after",)


async def test_the_answer_to_a_slow_question_does_not_wait_for_those_behind_it(
    database: Path,
) -> None:
    readers = await Readers.open(database, 1, Fence())
    first, *others = (asyncio.ensure_future(readers.row(SLOW, number)) for number in range(4))
    assert await first == (100_000,)
    assert not any(other.done() for other in others)
    assert await asyncio.gather(*others) == [(100_000 + number,) for number in (1, 2, 3)]
    await readers.close()


async def test_while_one_connection_is_held_up_the_other_one_answers(database: Path) -> None:
    readers = await Readers.open(database, 2, Fence())
    slow = asyncio.ensure_future(readers.row(SLOW.replace("100000", "3000000"), 0))
    await asyncio.sleep(0)
    assert await readers.row(ECHO, 1) == (1,)
    assert not slow.done()
    assert await slow == (3_000_000,)
    await readers.close()


async def test_what_waits_when_it_is_closed_is_refused(database: Path) -> None:
    readers = await Readers.open(database, 1, Fence())
    asked = [asyncio.ensure_future(readers.row(SLOW, number)) for number in range(3)]
    await asyncio.sleep(0)
    await readers.close()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert all(
        row == (100_000 + n,) or isinstance(row, Unavailable) for n, row in enumerate(answers)
    )
    assert isinstance(answers[-1], Unavailable)
    with pytest.raises(Unavailable):
        await readers.row(ECHO, 1)
    await readers.close()


async def test_behind_a_fence_nothing_is_answered(database: Path) -> None:
    fence = Fence()
    readers = await Readers.open(database, 1, fence)
    waiting = asyncio.ensure_future(readers.row(ECHO, 1))
    await asyncio.sleep(0)
    fence.raise_up("test")
    with pytest.raises(OutcomeUnknown):
        await waiting
    with pytest.raises(OutcomeUnknown):
        await readers.row(ECHO, 1)
    await readers.close()
