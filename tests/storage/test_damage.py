"""A database that was damaged, locked or made read-only from outside: refused, or served rightly.

``test_sqlite`` has what must not be served at all, ``tests/system/test_refused_starts.py`` the
same on the whole server.
"""

import random
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

import msgspec
import pytest

from protocol.vocabulary import GroupType
from server.service.ports import Committed, OutcomeUnknown, RequestKey, Unavailable
from server.storage import database
from server.storage.audit import audit
from server.storage.refusal import StoreRefused
from server.storage.sqlite import SqliteStore, open_sqlite
from tests.storage.builders import asked, commit, done, founding, log, message, names, write_set
from tests.storage.conftest import Opening

FLIPS = 80
SEED = 20_251_125

SAID_NO = (OutcomeUnknown, Unavailable, msgspec.MsgspecError, UnicodeError)
"""What a read says that finds damage: the caller gets an error, nobody gets a wrong answer."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def file(data: Path) -> Path:
    return data / database.DATABASE_NAME


async def told(store: SqliteStore) -> Sequence[Committed]:
    """All entries, by both ways to read them, which must agree."""
    entries = await store.tail(0, 0, 1000)
    assert list(entries) == await log(store)
    return entries


def flipped(content: bytes, offset: int, bit: int) -> bytes:
    return content[:offset] + bytes([content[offset] ^ (1 << bit)]) + content[offset + 1 :]


@pytest.mark.parametrize("name", ["muster.db", "muster.db-wal"])
async def test_any_flipped_bit_is_refused_or_seen_or_does_not_matter(
    data: Path, tmp_path: Path, name: str
) -> None:
    """The exception is a bit of a text within an entry: SQLite has no checksums of its pages."""
    original = tmp_path / "original"
    store = await open_sqlite(original)
    await done(store, founding("g", "ann", "bob"))
    for n in range(0, 60, 20):
        await done(store, *(asked(f"r{k}", message(f"m{k}")) for k in range(n, n + 20)))
    whole = list(await told(store))
    if name == "muster.db":
        await store.close()
    # Of a store that is not closed, what was done last is only in the log.
    shutil.copytree(original, data)
    await store.close()
    content = (data / name).read_bytes()
    dice = random.Random(SEED)
    refused = 0
    for _ in range(FLIPS):
        # Half of them at the beginnings of pages, where what holds them together is.
        page = dice.randrange(len(content) // 4096) * 4096
        offset = page + dice.choice([dice.randrange(24), dice.randrange(4096)])
        copy = tmp_path / "copy"
        shutil.copytree(data, copy)
        (copy / name).write_bytes(flipped(content, offset, dice.randrange(8)))
        try:
            store = await open_sqlite(copy)
        except StoreRefused:
            refused += 1
        else:
            with suppress(*SAID_NO):
                assert_right(await told(store), whole, may_lack_the_end=name.endswith("-wal"))
            with suppress(*SAID_NO):
                assert await store.replay(RequestKey("ann", "never")) is None
            await store.close()
        shutil.rmtree(copy)
    assert name.endswith("-wal") or refused > FLIPS // 10


def assert_right(
    entries: Sequence[Committed], whole: Sequence[Committed], *, may_lack_the_end: bool
) -> None:
    """No entry is double, missing or out of order; of a torn log the end counts as never written."""
    assert len(entries) == len(whole) or may_lack_the_end
    expected = whole[: len(entries)]
    assert [told.position for told in entries] == [told.position for told in expected]
    assert [told.seq for told in entries] == [told.seq for told in expected]
    others = sum(told != right for told, right in zip(entries, expected, strict=True))
    assert others <= 1


async def test_another_databases_log_is_refused_or_found_by_the_check(
    opening: Opening, data: Path, tmp_path: Path
) -> None:
    """SQLite cannot tell; so nothing of ours ever leaves one beside another database."""
    store = await opening(tmp_path / "other")
    await done(store, founding("h", "eve"), *(write_set(message("x", "h")) for _ in range(50)))
    shutil.copytree(tmp_path / "other", tmp_path / "killed")
    await store.close()
    store = await opening(data)
    await done(store, founding("g", "ann"), *(write_set(message("y")) for _ in range(900)))
    await store.close()
    shutil.copyfile(tmp_path / "killed" / "muster.db-wal", data / "muster.db-wal")
    try:
        store = await opening(data)
    except StoreRefused:
        return
    await store.close()
    assert audit(data / database.DATABASE_NAME, [GroupType.AVCHATROOM]).findings


async def test_a_database_that_others_hold_at_the_start_is_refused_and_opens_later(
    opening: Opening, data: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await opening(data)
    await done(store, write_set(message("a")))
    await store.close()
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.0)
    for begin in ("BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"):
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute(begin)
            with pytest.raises(StoreRefused, match=f"{file} cannot be used: .*end the other"):
                await open_sqlite(data)
            other.execute("ROLLBACK")
        store = await opening(data)
        assert names(await log(store)) == ["a"]
        await store.close()


async def test_a_database_that_cannot_be_written_is_read_and_recovers(
    opening: Opening, data: Path
) -> None:
    store = await opening(data)
    await done(store, write_set(message("a")))

    def set_query_only(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA query_only = 1")

    await store._writer.transact(set_query_only)
    for _ in range(2):
        with pytest.raises(Unavailable, match="readonly"):
            await commit(store, asked("r", message("b")))
        with pytest.raises(Unavailable, match="readonly"):
            await store.trim(0, 99, 9)
        assert names(await log(store)) == ["a"]
        assert (await store.heads(0)).position == 1
    store._writer._connection.execute("PRAGMA query_only = 0")
    await done(store, asked("r", message("b")))
    assert names(await log(store)) == ["a", "b"]
    await store.close()


async def test_a_term_that_cannot_be_written_is_a_start_that_is_refused(
    opening: Opening, data: Path, file: Path
) -> None:
    """Nobody is given a cursor of a term of which nothing would be known after the next start."""
    store = await opening(data)
    await done(store, write_set(message("a")))
    await store.close()
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute(
            "CREATE TRIGGER no BEFORE INSERT ON term BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    with pytest.raises(StoreRefused, match="cannot be read: no"):
        await open_sqlite(data)
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("DROP TRIGGER no")
    store = await open_sqlite(data)
    assert (await store.heads(0)).earlier == {"first": 1}
    await store.close()
