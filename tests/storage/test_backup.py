"""Copies of the database, and the way back."""

# ruff: noqa: ASYNC240 - nothing else waits for the loop of a test

import errno
import fcntl
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from server.service.ports import Heads, Store
from server.storage import backup, database, schema
from server.storage.lock import DirectoryLock
from server.storage.refusal import StoreRefused
from server.storage.sqlite import open_sqlite
from tests.storage.builders import done, founding, join, log, message, names, say, write_set
from tests.storage.conftest import Opening
from tests.storage.harm import files_limited_to, first_version, overwrite


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "backups" / "monday.db"


@pytest.fixture(autouse=True)
def _backups(target: Path) -> None:
    target.parent.mkdir()


async def fill(store: Store) -> None:
    await done(store, founding("g", "ann", "bob"), say("a"), say("b"), founding("h", "ann"))


async def filled(opening: Opening, data: Path) -> None:
    store = await opening(data)
    await fill(store)
    await store.close()


def left_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


class TestBackingUp:
    async def test_it_is_one_private_whole_file_without_terms(
        self, opening: Opening, data: Path, target: Path
    ) -> None:
        before = os.umask(0)
        try:
            store = await opening(data)
            await fill(store)
            content = backup.back_up(data, target)
            await store.close()
        finally:
            os.umask(before)
        assert left_in(target.parent) == ["monday.db"]
        assert target.stat().st_mode & 0o777 == 0o600
        assert content == backup.Content(2, 2, 4, 4, target.stat().st_size)
        with closing(sqlite3.connect(f"{target.as_uri()}?mode=ro&immutable=1", uri=True)) as copy:
            assert copy.execute("PRAGMA journal_mode").fetchone() == ("delete",)
            assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert copy.execute("SELECT count(*) FROM term").fetchone() == (0,)

    async def test_the_original_is_left_as_it_was(
        self, opening: Opening, data: Path, target: Path, tmp_path: Path
    ) -> None:
        """Also one that was killed, whose last commits are only in the log."""
        store = await opening(data)
        await fill(store)
        killed = tmp_path / "killed"
        shutil.copytree(data, killed)
        await store.close()
        files = ("muster.db", "muster.db-wal")
        content = {name: (killed / name).read_bytes() for name in files}
        assert len(content["muster.db-wal"]) > 0
        assert backup.back_up(killed, target).position == 4
        assert {name: (killed / name).read_bytes() for name in files} == content

    async def test_it_goes_on_beside_commits_and_has_a_beginning_of_them(
        self, opening: Opening, data: Path, target: Path
    ) -> None:
        store = await opening(data)
        await fill(store)
        backup.back_up(data, target)
        await done(store, say("c"))
        assert names(await log(store)) == ["founded", "a", "b", "c"]
        await store.close()

    async def test_one_of_version_1_is_brought_up_to_date(self, data: Path, target: Path) -> None:
        data.mkdir()
        first_version(data / database.DATABASE_NAME)
        assert backup.back_up(data, target).position == 2
        with closing(sqlite3.connect(target)) as copy:
            assert schema.version_of(copy) == schema.SCHEMA_VERSION
            assert copy.execute("SELECT count(*) FROM term").fetchone() == (0,)

    async def test_what_a_killed_backup_left_behind_is_replaced(
        self, opening: Opening, data: Path, target: Path
    ) -> None:
        await filled(opening, data)
        for name in ("monday.db.part", "monday.db.part-journal"):
            (target.parent / name).write_bytes(b"half a backup" * 1000)
        backup.back_up(data, target)
        assert left_in(target.parent) == ["monday.db"]


Harm = Callable[[Path, Path], None]


def there_is_one(_data: Path, target: Path) -> None:
    target.write_text("older")


def there_is_a_dangling_link(_data: Path, target: Path) -> None:
    target.symlink_to("nowhere")


def nothing_to_back_up(data: Path, _target: Path) -> None:
    (data / database.DATABASE_NAME).unlink()


def no_directory(data: Path, _target: Path) -> None:
    shutil.rmtree(data)


def nowhere_to_put_it(_data: Path, target: Path) -> None:
    target.parent.rmdir()


def damaged(data: Path, _target: Path) -> None:
    overwrite(data / database.DATABASE_NAME, 3)


def of_another_program(data: Path, _target: Path) -> None:
    (data / database.DATABASE_NAME).unlink()
    with closing(sqlite3.connect(data / database.DATABASE_NAME)) as connection:
        connection.execute("CREATE TABLE recipe (name TEXT)")


class TestRefusedBackups:
    @pytest.mark.parametrize(
        ("harm", "reason"),
        [
            (there_is_one, "monday.db exists already"),
            (there_is_a_dangling_link, "monday.db exists already"),
            (nothing_to_back_up, "has no muster.db"),
            (no_directory, "has no muster.db"),
            (nowhere_to_put_it, "monday.db.part cannot be used: No such file"),
            (damaged, "muster.db is damaged|muster.db cannot be read"),
            (of_another_program, "another program"),
        ],
    )
    async def test_it_says_why_and_leaves_nothing(
        self, opening: Opening, data: Path, target: Path, harm: Harm, reason: str
    ) -> None:
        await filled(opening, data)
        harm(data, target)
        before = left_in(target.parent) if target.parent.exists() else []
        with pytest.raises(StoreRefused, match=reason):
            backup.back_up(data, target)
        assert (left_in(target.parent) if target.parent.exists() else []) == before

    async def test_without_room_nothing_is_left(
        self, opening: Opening, data: Path, target: Path
    ) -> None:
        await filled(opening, data)
        with files_limited_to(40_000), pytest.raises(StoreRefused, match="cannot be written"):
            backup.back_up(data, target)
        assert left_in(target.parent) == []
        backup.back_up(data, target)

    async def test_two_at_once_do_not_write_to_one_file(
        self, opening: Opening, data: Path, target: Path
    ) -> None:
        await filled(opening, data)
        unfinished = target.with_name("monday.db.part")
        with unfinished.open("wb") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            with pytest.raises(StoreRefused, match="another backup"):
                backup.back_up(data, target)
            assert unfinished.exists()
        backup.back_up(data, target)

    async def test_a_file_that_comes_up_meanwhile_is_not_replaced(
        self, opening: Opening, data: Path, target: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await filled(opening, data)
        migrate = schema.migrate

        def meanwhile(connection: sqlite3.Connection) -> None:
            target.write_text("of somebody else")
            migrate(connection)

        monkeypatch.setattr(schema, "migrate", meanwhile)
        with pytest.raises(StoreRefused, match="exists already"):
            backup.back_up(data, target)
        assert target.read_text() == "of somebody else"
        assert left_in(target.parent) == ["monday.db"]

    async def test_a_lock_that_stays_is_not_waited_for_for_ever(
        self, opening: Opening, data: Path, target: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await filled(opening, data)
        monkeypatch.setattr(backup, "_PATIENCE_S", 0.0)
        monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.0)
        with closing(sqlite3.connect(data / database.DATABASE_NAME)) as other:
            other.execute("PRAGMA locking_mode = EXCLUSIVE")
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(StoreRefused, match="locked"):
                backup.back_up(data, target)
            other.rollback()
        assert left_in(target.parent) == []


class TestRestoring:
    async def test_it_is_what_was_backed_up_under_a_history_of_its_own(
        self, opening: Opening, data: Path, target: Path
    ) -> None:
        await filled(opening, data)
        backup.back_up(data, target)
        store = await opening(data)
        await done(store, say("c"), join("cat"))
        await store.close()
        later = (data / database.DATABASE_NAME).read_bytes()

        restored = backup.restore(target, data)
        assert restored.content.position == 4
        assert restored.kept is not None
        assert restored.kept.read_bytes() == later
        store = await opening(data)
        assert await store.heads(0) == Heads("first", 4, 0, {}, 1)
        assert names(await log(store)) == ["founded", "a", "b"]
        await done(store, say("another c"))
        await store.close()
        assert (data / database.DATABASE_NAME).stat().st_mode & 0o777 == 0o600

    async def test_a_log_left_by_a_kill_goes_with_its_database(
        self, opening: Opening, data: Path, target: Path, tmp_path: Path
    ) -> None:
        """Beside another database it would be applied to that."""
        store = await opening(tmp_path / "running")
        await fill(store)
        backup.back_up(tmp_path / "running", target)
        await done(store, say("c"))
        shutil.copytree(tmp_path / "running", data)
        await store.close()
        assert (data / "muster.db-wal").stat().st_size > 0

        kept = backup.restore(target, data).kept
        assert kept is not None
        assert not (data / "muster.db-wal").exists()
        store = await open_sqlite(data)
        assert names(await log(store)) == ["founded", "a", "b"]
        await store.close()

        whole = tmp_path / "whole"
        whole.mkdir()
        for suffix in ("", "-wal"):
            shutil.copy(f"{kept}{suffix}", whole / f"muster.db{suffix}")
        store = await open_sqlite(whole)
        assert names(await log(store)) == ["founded", "a", "b", "c"]
        await store.close()

    async def test_a_new_machine_has_nothing_to_keep(
        self, opening: Opening, data: Path, target: Path, tmp_path: Path
    ) -> None:
        await filled(opening, data)
        backup.back_up(data, target)
        new = tmp_path / "new" / "data"
        assert backup.restore(target, new).kept is None
        assert new.stat().st_mode & 0o777 == 0o700
        assert left_in(new) == ["muster.db", "muster.initialised", "muster.lock"]
        (new / "muster.db").unlink()
        with pytest.raises(StoreRefused, match="is missing"):
            await opening(new)
        backup.restore(target, new)
        store = await opening(new)
        assert (await store.heads(0)).position == 4
        await store.close()

    async def test_a_plain_copy_with_its_log_can_be_restored_too(
        self, opening: Opening, data: Path, tmp_path: Path
    ) -> None:
        store = await opening(data)
        await fill(store)
        shutil.copytree(data, tmp_path / "copy")
        await store.close()
        assert (
            backup.restore(tmp_path / "copy" / "muster.db", tmp_path / "new").content.entries == 4
        )

    async def test_a_directory_in_use_is_refused(
        self, opening: Opening, data: Path, target: Path
    ) -> None:
        store = await opening(data)
        await fill(store)
        backup.back_up(data, target)
        with pytest.raises(StoreRefused, match="in use by another server"):
            backup.restore(target, data)
        await done(store, say("c"))
        await store.close()

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (None, "does not exist"),
            (b"", "no SQLite database"),
            (b"Dear diary", "no SQLite database"),
            (b"SQLite format 3\0" + b"\xa5" * 9000, "cannot be read"),
        ],
    )
    async def test_what_is_no_backup_is_refused_and_changes_nothing(
        self, opening: Opening, data: Path, target: Path, content: bytes | None, reason: str
    ) -> None:
        await filled(opening, data)
        before = {
            path.name: path.read_bytes() for path in data.iterdir() if "lock" not in path.name
        }
        if content is not None:
            target.write_bytes(content)
        with pytest.raises(StoreRefused, match=reason):
            backup.restore(target, data)
        after = {path.name: path.read_bytes() for path in data.iterdir() if "lock" not in path.name}
        assert after == before

    async def test_damaged_and_newer_backups_are_refused(
        self, opening: Opening, data: Path, target: Path
    ) -> None:
        await filled(opening, data)
        backup.back_up(data, target)
        with closing(sqlite3.connect(target)) as connection:
            connection.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")
        with pytest.raises(StoreRefused, match="use the newer program"):
            backup.restore(target, data)
        overwrite(target, 3)
        with pytest.raises(StoreRefused, match=r"damaged|cannot be read"):
            backup.restore(target, data)
        store = await opening(data)
        assert (await store.heads(0)).position == 4
        await store.close()

    async def test_without_room_the_old_one_stays(
        self, opening: Opening, data: Path, target: Path
    ) -> None:
        await filled(opening, data)
        backup.back_up(data, target)
        before = left_in(data)
        with files_limited_to(40_000), pytest.raises(StoreRefused, match="cannot be written"):
            backup.restore(target, data)
        assert left_in(data) == before
        store = await opening(data)
        assert (await store.heads(0)).position == 4
        await store.close()

    @pytest.mark.parametrize("renames", range(3))
    async def test_cut_off_between_its_steps_nothing_wrong_is_served(
        self,
        opening: Opening,
        data: Path,
        target: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        renames: int,
    ) -> None:
        """It may be refused then; restoring again puts it right."""
        store = await opening(tmp_path / "running")
        await fill(store)
        backup.back_up(tmp_path / "running", target)
        await done(store, say("c"))
        shutil.copytree(tmp_path / "running", data)
        await store.close()
        rename, left = Path.rename, renames

        def rename_so_often(path: Path, to: Path) -> Path:
            nonlocal left
            if left == 0:
                raise OSError(errno.EIO, "cut off")
            left -= 1
            return rename(path, to)

        monkeypatch.setattr(Path, "rename", rename_so_often)
        with pytest.raises(StoreRefused, match="cut off"):
            backup.restore(target, data)
        monkeypatch.undo()
        if renames == 0:
            assert (data / "muster.db-wal").stat().st_size > 0
        else:
            with pytest.raises(StoreRefused, match="is missing"):
                await opening(data)
        backup.restore(target, data)
        store = await opening(data)
        assert names(await log(store)) == ["founded", "a", "b"]
        await store.close()

    async def test_the_lock_is_let_go_of(self, opening: Opening, data: Path, target: Path) -> None:
        await filled(opening, data)
        with pytest.raises(StoreRefused):
            backup.restore(target, data)
        backup.back_up(data, target)
        backup.restore(target, data)
        DirectoryLock(data).release()


async def test_backups_of_a_store_that_never_said_anything(
    opening: Opening, data: Path, target: Path
) -> None:
    store = await opening(data)
    await store.close()
    assert backup.back_up(data, target).position == 0
    backup.restore(target, data)
    store = await opening(data)
    await done(store, write_set(message("a")))
    await store.close()
