"""SQLite beyond the contract: files, faults, plans."""

# ruff: noqa: ASYNC220, ASYNC221, ASYNC240 - nothing else waits for the loop of a test

import asyncio
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from protocol.vocabulary import Role
from server.service.ports import Duplicate, Heads, OutcomeUnknown, RequestKey, Unavailable
from server.storage import (
    application_queries,
    database,
    schema,
    sqlite_batch,
    sqlite_housekeeping,
    sqlite_outbox,
    sqlite_queries,
    sqlite_writes,
    terms,
)
from server.storage.audit import audit
from server.storage.bulk import ManyRows
from server.storage.refusal import StoreRefused
from server.storage.sqlite import SqliteStore, open_sqlite
from tests.storage.builders import (
    EVERYTHING,
    asked,
    commit,
    done,
    founding,
    join,
    log,
    message,
    names,
    notice,
    say,
    seen,
    write_set,
)
from tests.storage.conftest import Opening
from tests.storage.harm import files_limited_to, first_version, overwrite, third_version

ROOT = Path(__file__).parents[2]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def file(data: Path) -> Path:
    return data / database.DATABASE_NAME


async def filled(opening: Opening, data: Path) -> None:
    """A store with enough in it to have many pages."""
    store = await opening(data)
    await done(store, founding("g", "ann", "bob"))
    await done(store, *(asked(f"r{n}", message("x" * 500)) for n in range(200)))
    await store.close()


class TestReopening:
    async def test_everything_is_as_it_was(self, opening: Opening, data: Path) -> None:
        store = await opening(data)
        await done(store, founding("g", "ann"), asked("r", message("a"), counts={"c": 2}))
        await done(store, say("b"), write_set(notice("n", "ann")), join("bob"))
        epoch, states = await store.heads(0), await store.members("g", "", 9, list(Role))
        version = await store.groups_version("ann")
        await store.close()

        store = await opening(data)
        assert await store.heads(0) == epoch
        assert await store.members("g", "", 9, list(Role)) == states
        assert await store.groups_version("ann") == version
        assert await store.counters(["c"]) == {"c": 2}
        assert await seen(store, "ann") == ["founded", "a", "b", "n", "bob-joined"]
        again, _ = await commit(store, asked("r"), write_set(message("c")))
        assert isinstance(again, Duplicate)
        assert [told.seq for told in await log(store)] == [1, 2, 3, 4, 5]
        await store.close()

    async def test_each_opening_is_another_term_than_all_others(self, tmp_path: Path) -> None:
        epochs = set()
        for name in ("a", "b", "a", "b"):
            store = await open_sqlite(tmp_path / name)
            epochs.add((await store.heads(0)).epoch)
            await store.close()
        assert len(epochs) == 4

    def test_the_name_of_a_term_that_is_over_is_refused(self) -> None:
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
            schema.create(connection)
            terms.begin(connection, "first")
            terms.begin(connection, "second")
            with pytest.raises(sqlite3.IntegrityError):
                terms.begin(connection, "first")

    def test_only_so_many_terms_are_kept(self) -> None:
        most = terms.MOST_TERMS
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
            schema.create(connection)
            for n in range(most + 5):
                terms.begin(connection, f"t{n}")
            kept = [row[0] for row in connection.execute("SELECT name FROM term ORDER BY id")]
        assert kept == [f"t{n}" for n in range(5, most + 5)]

    def test_migrating_runs_each_step_once(self) -> None:
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
            for _ in range(2):
                schema.migrate(connection)
                assert schema.version_of(connection) == schema.SCHEMA_VERSION
            assert "entry" in tables_of(connection)

    async def test_a_database_of_version_1_becomes_one_of_now(
        self, opening: Opening, data: Path, file: Path
    ) -> None:
        data.mkdir()
        first_version(file)
        store = await opening(data)
        assert await store.heads(0) == Heads("first", 2, 0, {"k7f2": 2}, 7)
        assert names(await log(store)) == ["a", "b"]
        await done(store, write_set(message("c")))
        await store.close()
        store = await opening(data)
        assert await store.heads(0) == Heads("first", 3, 0, {"k7f2": 2}, 1)
        await store.close()
        with closing(sqlite3.connect(file)) as connection:
            assert schema.version_of(connection) == schema.SCHEMA_VERSION
            assert "meta" not in tables_of(connection)

    async def test_what_was_unread_in_version_3_is_unread_now(
        self, opening: Opening, data: Path, file: Path
    ) -> None:
        data.mkdir()
        third_version(file)
        store = await opening(data)
        (row,) = await store.groups_of("bob", 0, 9, None)
        assert (row.unread, row.state.read_seq, row.head.quiet) == (2, 2, 0)
        await done(store, write_set(message("d", is_quiet=True)), say("e"))
        (row,) = await store.groups_of("bob", 0, 9, None)
        assert (row.unread, row.head.seq, row.head.quiet) == (3, 6, 1)
        await store.close()
        assert audit(file, []).findings == []

    async def test_an_unfinished_creation_is_begun_again(
        self, opening: Opening, data: Path, file: Path
    ) -> None:
        data.mkdir()
        file.with_name(file.name + ".new").write_bytes(b"half a database")
        store = await opening(data)
        await done(store, write_set(message("a")))
        await store.close()

    async def test_only_the_owner_may_read(self, opening: Opening, data: Path) -> None:
        before = os.umask(0)
        try:
            store = await opening(data / "new")
            await done(store, write_set(message("a")))
            modes = {path.name: path.stat().st_mode & 0o777 for path in (data / "new").iterdir()}
            await store.close()
        finally:
            os.umask(before)
        assert (data / "new").stat().st_mode & 0o777 == 0o700
        assert len(modes) == 5
        assert set(modes.values()) == {0o600}


class TestLock:
    async def test_a_second_opening_is_refused_by_name_and_process(
        self, opening: Opening, data: Path
    ) -> None:
        store = await opening(data)
        with pytest.raises(StoreRefused, match=f"{data} is in use .*process {os.getpid()}"):
            await opening(data)
        await done(store, write_set(message("a")))
        await store.close()
        store = await opening(data)
        assert names(await log(store)) == ["a"]
        await store.close()

    async def test_a_lock_dies_with_its_process(self, opening: Opening, data: Path) -> None:
        data.mkdir()
        program = (
            "import sys, pathlib; from server.storage.lock import DirectoryLock;"
            "lock = DirectoryLock(pathlib.Path(sys.argv[1])); print('held', flush=True);"
            "sys.stdin.read()"
        )
        with subprocess.Popen(
            [sys.executable, "-c", program, str(data)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == b"held\n"
            with pytest.raises(StoreRefused, match=f"process {other.pid}"):
                await opening(data)
            other.kill()
            other.wait()
        store = await opening(data)
        await store.close()


def newer(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")


def foreign(file: Path) -> None:
    file.unlink()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE recipe (name TEXT)")


def no_database(file: Path) -> None:
    file.write_text("Dear diary,\n")


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def truncated(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def damaged(file: Path) -> None:
    overwrite(file, file.stat().st_size // 4096 // 2)


def damaged_at_the_start(file: Path) -> None:
    overwrite(file, 0, offset=100)


def missing(file: Path) -> None:
    file.unlink()


def missing_with_its_log(file: Path) -> None:
    (file.parent / database.MARKER_NAME).unlink()
    file.rename(file.with_name(file.name + "-wal"))


class TestKilling:
    async def test_what_was_answered_is_there_after_a_kill(
        self, opening: Opening, data: Path
    ) -> None:
        program = str(Path(__file__).with_name("endless_commits.py"))
        for least in (1, 20, 40):
            with subprocess.Popen(
                [sys.executable, program, str(data)],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
            ) as server:
                assert server.stdout is not None
                answered = [int(server.stdout.readline()) for _ in range(least)]
                server.kill()
                answered += [int(line) for line in server.stdout if line.endswith(b"\n")]
            store = await opening(data)
            entries = await log(store)
            assert len(entries) >= answered[-1]
            assert [told.seq for told in entries] == list(range(1, len(entries) + 1))
            for told in entries:
                assert await store.replay(RequestKey("ann", f"r{told.seq}")) is not None
            assert await store.replay(RequestKey("ann", f"r{len(entries) + 1}")) is None
            await store.close()


class TestRefusals:
    @pytest.mark.parametrize(
        ("harm", "reason"),
        [
            (newer, "use the newer program"),
            (foreign, "another program"),
            (no_database, "no SQLite database"),
            (emptied, "no SQLite database"),
            (truncated, "damaged|malformed"),
            (damaged, "damaged"),
            (damaged_at_the_start, "cannot be read|damaged"),
            (missing, "is missing"),
            (missing_with_its_log, "is missing"),
        ],
    )
    async def test_what_must_not_be_served_is_refused_and_left_alone(
        self, opening: Opening, data: Path, file: Path, harm: Callable[[Path], None], reason: str
    ) -> None:
        await filled(opening, data)
        copy = data.with_name("copy")
        shutil.copytree(data, copy)
        harm(file)
        content = file.read_bytes() if file.exists() else None
        with pytest.raises(StoreRefused, match=reason) as refused:
            await opening(data)
        assert str(file) in str(refused.value)
        assert (file.read_bytes() if file.exists() else None) == content

        shutil.rmtree(data)
        shutil.copytree(copy, data)
        store = await opening(data)
        assert len(await log(store)) == 201
        await store.close()

    async def test_a_directory_that_cannot_be_made_is_refused(
        self, opening: Opening, tmp_path: Path
    ) -> None:
        (tmp_path / "occupied").write_text("")
        with pytest.raises(StoreRefused, match="cannot be made"):
            await opening(tmp_path / "occupied")


async def on_writer(store: SqliteStore, statement: str) -> None:
    def execute(connection: sqlite3.Connection) -> None:
        connection.execute(statement)

    await store._writer.transact(execute)


class TestFaults:
    async def test_a_full_database_refuses_and_recovers(self, opening: Opening, data: Path) -> None:
        store = await opening(data)
        await done(store, write_set(message("a")))
        await on_writer(store, "PRAGMA max_page_count = 1")
        large = asked("r", message("b", data="x" * 200_000))
        with pytest.raises(Unavailable):
            await commit(store, write_set(message("c")), large)
        assert names(await log(store)) == ["a"]
        await done(store, write_set(message("d")))
        await on_writer(store, "PRAGMA max_page_count = 1000000")
        await done(store, large)
        assert names(await log(store)) == ["a", "d", "b"]
        await store.close()

    async def test_a_full_disk_refuses_and_recovers(self, opening: Opening, tmp_path: Path) -> None:
        program = str(Path(__file__).with_name("full_disk.py"))
        arguments = [str(tmp_path), sys.executable, program, str(tmp_path)]
        result = subprocess.run(
            ["unshare", "-rm", "sh", "-c", MOUNTED, "sh", *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=50,
        )
        if result.returncode == CANNOT_MOUNT:
            pytest.skip("no file system of one's own may be mounted here")
        assert result.returncode == 0, result.stderr
        assert result.stdout.splitlines()[-1] == "recovered"

    async def test_a_commit_that_fails_at_its_end_fences(
        self, opening: Opening, data: Path, file: Path
    ) -> None:
        store = await opening(data)
        await done(store, write_set(message("a")))
        large = asked("r", message("b", data="x" * 200_000))
        with files_limited_to(100_000), pytest.raises(OutcomeUnknown):
            await commit(store, large)
        with pytest.raises(OutcomeUnknown):
            await commit(store, write_set(message("c")))
        with pytest.raises(OutcomeUnknown):
            await store.heads(0)
        with pytest.raises(OutcomeUnknown):
            await store.forget_requests(0, 1)
        await store.close()

        store = await opening(data)
        is_there = await store.replay(RequestKey("ann", "r")) is not None
        assert names(await log(store)) == ["a", "b"][: 1 + is_there]
        await done(store, write_set(message("d")))
        await store.close()

    async def test_an_error_of_unknown_kind_at_the_end_fences(
        self, opening: Opening, data: Path
    ) -> None:
        store = await opening(data)
        with pytest.raises(OutcomeUnknown):
            await store._writer.transact(lambda connection: connection.close())
        with pytest.raises(OutcomeUnknown):
            await store.heads(0)
        await store.close()

    async def test_a_database_locked_by_another_refuses_and_recovers(
        self, opening: Opening, data: Path, file: Path
    ) -> None:
        store = await opening(data)
        await on_writer(store, "PRAGMA busy_timeout = 1")
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(Unavailable, match="locked"):
                await commit(store, write_set(message("a")))
            assert (await store.heads(0)).position == 0
            other.execute("ROLLBACK")
        await done(store, write_set(message("b")))
        assert names(await log(store)) == ["b"]
        await store.close()

    async def test_a_page_that_is_damaged_while_serving_fences(
        self, opening: Opening, data: Path, file: Path
    ) -> None:
        await filled(opening, data)
        store = await opening(data)
        for page in range(1, file.stat().st_size // 4096):
            overwrite(file, page)
        with pytest.raises(OutcomeUnknown):
            await store.tail(0, 0, 1000)
        with pytest.raises(OutcomeUnknown):
            await store.heads(0)
        await store.close()


CANNOT_MOUNT = 77
MOUNTED = f'mount -t tmpfs -o size=2m tmpfs "$1" || exit {CANNOT_MOUNT}; shift; exec "$@"'


MODULES = (
    sqlite_queries,
    application_queries,
    sqlite_batch,
    sqlite_writes,
    sqlite_housekeeping,
    sqlite_outbox,
)


FROM_THE_OLDEST = {
    "OLDEST",
    "FORGET_REQUESTS",
    "LET_GO",
    "REVIVE_ALL",
    "LISTED_WAITING",
    "LISTED_DEAD",
    "COUNT_DEAD",
}
"""These go through a table in the order of its key until they have seen what they may take."""

WHOLE_LISTS = {"GROUP_IDS"}
"""These answer with all there is of something; an operator asks, once a second at most."""


def statements() -> dict[str, str]:
    """Every statement that the store executes while it serves, by name."""
    found: dict[str, str] = {}
    for module in MODULES:
        for name, value in vars(module).items():
            if name.startswith("_") or not name.isupper() or name == "NAMED_ROWS":
                continue
            if isinstance(value, ManyRows):
                found[name] = value.example
            elif isinstance(value, tuple):
                found.update({f"{name}[{place}]": part for place, part in enumerate(value)})
            elif isinstance(value, str):
                found[name] = value
    return found


def tables_of(connection: sqlite3.Connection) -> set[str]:
    return {
        row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
    }


class TestTheLog:
    async def test_no_read_keeps_it_from_being_used_again(
        self, opening: Opening, data: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """F28. A read that is over, also one that was given up, holds nothing back.

        Whoever held a read transaction open would make the log grow with all that is written.
        """
        monkeypatch.setattr(database, "_CHECKPOINT_PAGES", 100)
        store = await opening(data)
        await done(store, founding("g", "ann"), *(say("." * 500) for _ in range(500)))
        wal = data / f"{database.DATABASE_NAME}-wal"
        sizes = []
        for _ in range(60):
            given_up = [asyncio.create_task(store.tail(0, 0, 100)) for _ in range(4)]
            await store.missed(0, "ann", 0, EVERYTHING, 100)
            for task in given_up:
                task.cancel()
            await asyncio.gather(*given_up, return_exceptions=True)
            await store.replay(RequestKey("ann", "none"))
            await done(store, *(say("." * 3000) for _ in range(30)))
            sizes.append(wal.stat().st_size)
        written = 60 * 30 * 3000
        assert max(sizes) < written / 4


class TestPlans:
    async def test_no_statement_looks_at_every_row_of_a_table(
        self, opening: Opening, data: Path, file: Path
    ) -> None:
        await filled(opening, data)
        assert len(statements()) >= 50
        with closing(sqlite3.connect(file)) as connection:
            for name, statement in statements().items():
                plan = explain(connection, statement)
                scans = any(is_scan_of_table(connection, statement, step) for step in plan)
                assert scans is (name in FROM_THE_OLDEST | WHOLE_LISTS), (name, plan)

    async def test_missed_costs_what_moved_and_no_more(
        self, opening: Opening, data: Path, file: Path
    ) -> None:
        store = await opening(data)
        groups = [f"g{n}" for n in range(100)]
        await done(store, *(founding(group_id, "ann") for group_id in groups))
        costs = []
        for _ in range(3):
            for _ in range(5):
                await done(store, *(write_set(message("m", group_id)) for group_id in groups))
            after = (await store.heads(0)).position
            await done(store, *(write_set(message("m", group_id)) for group_id in groups[:5]))
            assert len(await seen(store, "ann", after)) == 5
            costs.append(steps(file, sqlite_queries.MISSED, "ann", after, EVERYTHING, 100))
        assert max(costs) < 1.1 * min(costs)
        assert max(costs) < 40 * len(groups)
        await store.close()


def explain(connection: sqlite3.Connection, statement: str) -> list[str]:
    """The steps of a statement's plan."""
    numbers = [int(number) for number in re.findall(r"\?([1-9])", statement)]
    values = [None] * max(numbers, default=statement.count("?"))
    rows = connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)
    return [row[3] for row in rows]


def is_scan_of_table(connection: sqlite3.Connection, statement: str, step: str) -> bool:
    """Whether ``step`` goes through a stored table from end to end.

    Lists that came as parameters and results of other steps are read in full, and so are shard,
    which has one row, and term, of which no more than so many are kept.
    """
    if not step.startswith("SCAN ") or "VIRTUAL TABLE" in step:
        return False
    name = step.split()[1]
    tables = tables_of(connection) - {"shard", "term"}
    aliased = {
        alias for table, alias in re.findall(r"(\w+) AS (\w)\b", statement) if table in tables
    }
    return name in tables | aliased


def steps(file: Path, statement: str, *parameters: object) -> int:
    """How many instructions of SQLite's machine the statement takes."""
    counted = 0

    def count() -> int:
        nonlocal counted
        counted += 1
        return 0

    with closing(sqlite3.connect(file)) as connection:
        connection.set_progress_handler(count, 1)
        connection.execute(statement, parameters).fetchall()
    return counted
