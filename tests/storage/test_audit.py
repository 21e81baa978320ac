"""Every check finds what it is for, and nothing in a database in which everything has happened."""

import asyncio
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from protocol.vocabulary import GroupType
from server.storage import backup, database, schema
from server.storage.audit import CHECKS, MOST_FINDINGS, Audit, audit
from server.storage.refusal import StoreRefused
from tests.storage.builders import done, say
from tests.storage.busy import make_busy
from tests.storage.conftest import Opening
from tests.storage.harm import first_version, overwrite

MEMBERLESS = [GroupType.AVCHATROOM]


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("busy") / "data"
    asyncio.run(make_busy(directory))
    return directory / database.DATABASE_NAME


@pytest.fixture
def file(busy: Path, tmp_path: Path) -> Path:
    """A copy of it to break."""
    copy = tmp_path / "muster.db"
    shutil.copyfile(busy, copy)
    return copy


def look(file: Path) -> Audit:
    return audit(file, MEMBERLESS)


def checks_of(result: Audit) -> list[str]:
    return [finding.check for finding in result.findings]


def test_a_sound_database_has_no_findings(busy: Path) -> None:
    before = busy.read_bytes()
    result = look(busy)
    assert result.findings == []
    assert min(result.counts.values()) >= 3, "there is something of everything"
    assert busy.read_bytes() == before
    with closing(sqlite3.connect(busy)) as connection:
        for table in ("detail", "counter", "term", "mark"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0], table
        kinds = {row[0] for row in connection.execute("SELECT DISTINCT kind FROM detail")}
        assert kinds == {"seen", "remembered", "attributes", "counters"}
        assert connection.execute("SELECT floor, purged > 0 FROM shard").fetchone() == (12, 1)


NAMED = "json_object('CallbackCommand', 'A')"
ITEM = "'A', 'g', 1, '', '', {body}, NULL, NULL, 0, 0, ''"
"""The columns of an item of the outbox after its ids."""

HARMS = [
    ("outbox", f"INSERT INTO outbox VALUES (1, 'i', {ITEM.format(body='char(120)')})"),
    ("outbox", f"INSERT INTO outbox_dead VALUES (1, 'i', {ITEM.format(body='json_object()')})"),
    ("outbox", f"INSERT INTO outbox VALUES (1, 'i', {ITEM.format(body=NAMED)});"
     f"INSERT INTO outbox_dead VALUES (9, 'i', {ITEM.format(body=NAMED)})"),
    ("schema", "DROP INDEX grp_closed"),
    ("schema", "CREATE TABLE mine (x)"),
    ("schema", "DROP INDEX member_in_charge; CREATE INDEX member_in_charge ON member (rank)"),
    ("shard", "UPDATE shard SET purged = change + 1"),
    ("terms", "UPDATE term SET start_position = 65 WHERE id = 2"),
    ("terms", "INSERT INTO term (name, start_position) VALUES ('back', 59)"),
    ("positions", "UPDATE shard SET floor = 13"),
    ("versions", "UPDATE grp SET version = 65 WHERE group_id = 'p'"),
    ("versions", "UPDATE grp SET version = 0 WHERE group_id = 'p'"),
    ("versions", "UPDATE member SET version = 65 WHERE group_id = 'p' AND user_id = 'bob'"),
    ("versions", "UPDATE detail SET version = 65 WHERE kind = 'seen'"),
    ("versions", "UPDATE application SET version = 65 WHERE status = 'pending'"),
    ("numbers", "UPDATE entry SET seq = 4 WHERE position = 13"),
    ("numbers", "DELETE FROM entry WHERE log = 'g:w' AND seq = 3"),
    ("log_ends", "UPDATE log_head SET seq = 18 WHERE log = 'u:ann'"),
    ("log_ends", "UPDATE log_head SET last_position = 60 WHERE log = 'g:w'"),
    ("log_ends", "DELETE FROM log_head WHERE log = 'u:dan'"),
    ("log_ends", "DELETE FROM entry WHERE log = 'g:p'; DELETE FROM quiet; UPDATE membership SET joined_position = 1"
     " WHERE joined_position = 56; UPDATE mark SET joined_position = 1"
     " WHERE joined_position = 56"),
    ("log_ends", "UPDATE log_head SET changed = 99 WHERE log = 'g:w'"),
    ("log_ends", "UPDATE log_head SET seq = 1 WHERE log = 'g:a'"),
    ("log_ends", "UPDATE log_head SET closed_position = 99 WHERE log = 'g:d';"
     "UPDATE entry SET body = json_remove(body, '$.closes') WHERE position = 52"),
    ("group_logs", "INSERT INTO log_head VALUES ('g:nowhere', 0, 0, 0, 0, NULL, 0)"),
    ("group_logs", "INSERT INTO grp SELECT 'x', version, type, changed_ms, closed_ms,"
     " json_set(body, '$.group_id', 'x', '$.owner_id', '', '$.member_count', 0)"
     " FROM grp WHERE group_id = 'p'"),
    ("closed", "UPDATE grp SET closed_ms = 0, body = json_remove(body, '$.closed_ms')"
     " WHERE group_id = 'd'; UPDATE grp SET body = json_set(body, '$.member_count', 2)"
     " WHERE group_id = 'd'"),
    ("closed", "UPDATE log_head SET closed_position = 61 WHERE log = 'g:a'"),
    ("memberships", "UPDATE membership SET left_position = 4 WHERE user_id = 'cat'"
     " AND joined_position = 5; UPDATE entry SET body = json_remove(body, '$.left')"
     " WHERE position = 31"),
    ("memberships", "UPDATE membership SET discards = 2 WHERE user_id = 'eve'"),
    ("memberships", "UPDATE membership SET changed = 99 WHERE user_id = 'eve'"),
    ("memberships", "UPDATE membership SET joined_seq = 14 WHERE user_id = 'eve'"),
    ("memberships", "INSERT INTO membership VALUES ('eve', 1, 'nowhere', 0, 2, 0, 1)"),
    ("overlaps", "INSERT INTO membership VALUES ('bob', 3, 'w', 0, 4, 0, 1)"),
    ("overlaps", "INSERT INTO membership VALUES ('dan', 2, 'd', 0, 12, 0, 1);"
     "INSERT INTO membership VALUES ('dan', 4, 'd', 0, 5, 0, 1)"),
    ("members", "DELETE FROM membership WHERE user_id = 'bob' AND group_id = 'p';"
     "UPDATE entry SET body = json_remove(body, '$.joined') WHERE position = 56"),
    ("members", "INSERT INTO membership VALUES ('eve', 7, 'w', 0, NULL, 0, 1);"
     "DELETE FROM membership WHERE user_id = 'eve' AND joined_position = 35;"
     "UPDATE entry SET body = json_set(body, '$.joined', json_array('cat')) WHERE position = 35;"
     "UPDATE entry SET body = json_remove(body, '$.left') WHERE position = 36"),
    ("members", "INSERT INTO member SELECT 'nowhere', user_id, version, rank,"
     " json_set(body, '$.group_id', 'nowhere') FROM member WHERE group_id = 'p' AND rank = 1;"
     "INSERT INTO mark VALUES ('nowhere', 'bob', 1, 0, 0, 0, 0)"),
    ("member_counts", "UPDATE grp SET body = json_set(body, '$.member_count', 7)"
     " WHERE group_id = 'p'"),
    ("owners", "UPDATE grp SET body = json_set(body, '$.owner_id', 'bob') WHERE group_id = 'p'"),
    ("owners", "UPDATE member SET rank = 3, body = json_set(body, '$.role', 'owner')"
     " WHERE group_id = 'p' AND user_id = 'bob'"),
    ("owners", "UPDATE grp SET body = json_set(body, '$.owner_id', 'bob') WHERE group_id = 'w'"),
    ("marks", "DELETE FROM mark WHERE group_id = 'p' AND user_id = 'bob'"),
    ("marks", "INSERT INTO mark VALUES ('w', 'eve', 35, 6, 7, 0, 0)"),
    ("marks", "UPDATE mark SET read_seq = 14 WHERE group_id = 'w' AND user_id = 'bob'"),
    ("marks", "UPDATE mark SET read_seq = -1 WHERE group_id = 'w' AND user_id = 'cat'"),
    ("marks", "UPDATE mark SET joined_position = 5 WHERE group_id = 'w' AND user_id = 'cat'"),
    ("quiet", "DELETE FROM quiet WHERE seq = 2; UPDATE log_head SET quiet = 1 WHERE log = 'g:p';"
     "UPDATE mark SET read_quiet = 1 WHERE group_id = 'p' AND user_id = 'bob'"),
    ("quiet", "INSERT INTO quiet VALUES ('g:w', 13, 61); UPDATE log_head SET quiet = 1"
     " WHERE log = 'g:w'; UPDATE mark SET read_quiet = 1 WHERE group_id = 'w' AND user_id = 'bob'"),
    ("quiet", "UPDATE log_head SET quiet = 3 WHERE log = 'g:p'; UPDATE mark SET read_quiet = 3"
     " WHERE group_id = 'p' AND user_id = 'bob'; UPDATE mark SET read_quiet = 1, read_seq = 1"
     " WHERE group_id = 'p' AND user_id = 'ann'"),
    ("quiet", "UPDATE log_head SET quiet = 20 WHERE log = 'u:ann'"),
    ("quiet", "UPDATE mark SET read_quiet = 3 WHERE group_id = 'p' AND user_id = 'bob'"),
    ("quiet", "UPDATE mark SET read_quiet = 1 WHERE group_id = 'p' AND user_id = 'bob'"),
    ("quiet", "UPDATE mark SET read_quiet = 1 WHERE group_id = 'p' AND user_id = 'ann'"),
    ("edges", "UPDATE entry SET body = json_set(body, '$.joined', json_array('cat', 'eve', 'bob'))"
     " WHERE position = 35"),
    ("edges", "UPDATE entry SET body = json_set(body, '$.left', json_array('eve', 'bob'))"
     " WHERE position = 36"),
    ("edges", "UPDATE entry SET body = json_set(body, '$.joined', json_array('cat'))"
     " WHERE position = 35"),
    ("edges", "UPDATE entry SET body = json_remove(body, '$.left') WHERE position = 36"),
    ("closings", "UPDATE log_head SET closed_position = 51 WHERE log = 'g:d'"),
    ("details", "INSERT INTO detail VALUES ('attributes', 'nowhere', '', 1,"
     " '{\"group_id\":\"nowhere\",\"values\":{}}')"),
    ("applications", "UPDATE application SET group_id = 'nowhere',"
     " body = json_set(body, '$.group_id', 'nowhere') WHERE status = 'pending'"),
    ("applications", "UPDATE application SET handled_ms = 5,"
     " body = json_set(body, '$.handled_ms', 5) WHERE status = 'pending'"),
    ("requests", "UPDATE request SET at_ms = 0 WHERE id = 7"),
    ("requests", "UPDATE request SET seq = 0 WHERE id = 7"),
    ("requests", "UPDATE request SET digest = x'' WHERE id = 7"),
    ("requests", "UPDATE shard SET purged = 0; UPDATE request SET seq = 14 WHERE id = 7"),
    ("counters", "UPDATE counter SET value = 1 << 53"),
    ("counters", "INSERT INTO counter VALUES ('', 1)"),
    ("group_bodies", "UPDATE grp SET body = '{}' WHERE group_id = 'a'"),
    ("group_bodies", "UPDATE grp SET body = json_set(body, '$.version', 0) WHERE group_id = 'a'"),
    ("group_bodies", "UPDATE grp SET type = 'Public' WHERE group_id = 'm'"),
    ("member_bodies", "UPDATE member SET body = 'x' WHERE group_id = 'p' AND user_id = 'bob'"),
    ("member_bodies", "UPDATE member SET rank = 2 WHERE group_id = 'p' AND user_id = 'bob'"),
    ("detail_bodies", "UPDATE detail SET body = '[]' WHERE kind = 'counters'"),
    ("detail_bodies", "UPDATE detail SET kind = 'unheard of' WHERE kind = 'counters'"),
    ("detail_bodies", "UPDATE detail SET user_id = 'bob' WHERE kind = 'seen'"),
    ("application_bodies", "UPDATE application SET created_ms = 1 WHERE status = 'pending'"),
    ("application_bodies", "UPDATE application SET body = '{}' WHERE status = 'pending'"),
    ("entry_bodies", "UPDATE entry SET body = json_remove(body, '$.kind') WHERE position = 24"),
    ("entry_bodies", "UPDATE entry SET kind = 'tip' WHERE position = 24"),
    ("entry_bodies", "UPDATE entry SET body = json_set(body, '$.is_stored', json('false'))"
     " WHERE position = 24"),
    ("replies", "UPDATE request SET reply = x'ff00' WHERE id = 7"),
    ("replies", "UPDATE request SET reply = CAST('7' AS BLOB) WHERE id = 7"),
]  # fmt: skip


@pytest.mark.parametrize(("check", "harm"), HARMS)
def test_what_is_broken_is_found_by_its_check_alone(file: Path, check: str, harm: str) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.executescript(harm)
    result = look(file)
    assert checks_of(result) == [check], result.findings
    assert result.findings[0].text


@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE shard SET floor = -1",
        "UPDATE shard SET floor = 1",
        "INSERT INTO shard VALUES (1, 0, 0, 0, 0)",
        "DELETE FROM shard",
    ],
)
async def test_where_the_log_begins_and_ends_is_said_once(
    opening: Opening, tmp_path: Path, harm: str
) -> None:
    store = await opening(tmp_path / "data")
    await store.close()
    file = tmp_path / "data" / database.DATABASE_NAME
    assert look(file).findings == []
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute(harm)
    assert checks_of(look(file)) == ["shard"]


def test_every_check_is_tested() -> None:
    assert {check for check, _ in HARMS} | {"integrity"} == set(CHECKS)


def test_damaged_pages_are_findings(file: Path) -> None:
    overwrite(file, file.stat().st_size // 4096 // 2)
    result = look(file)
    assert set(checks_of(result)) == {"integrity"}


def test_what_is_wrong_with_all_rows_is_not_told_of_all(file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("UPDATE entry SET body = '{}'")
        connection.execute("UPDATE request SET at_ms = 0")
    result = look(file)
    for check in ("entry_bodies", "requests"):
        texts = [finding.text for finding in result.findings if finding.check == check]
        assert len(texts) == MOST_FINDINGS + 1
        assert texts[-1] == "and more"


def test_a_body_that_no_statement_can_read_is_a_finding_of_each(file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("UPDATE entry SET body = 'no JSON' WHERE position = 35")
    result = look(file)
    assert {"edges", "closings", "entry_bodies"} == set(checks_of(result))


async def test_a_database_in_use_is_looked_at_as_of_one_moment(
    opening: Opening, tmp_path: Path
) -> None:
    store = await opening(tmp_path / "data")
    file = tmp_path / "data" / database.DATABASE_NAME
    await done(store, say("a"))
    assert "group_logs" in checks_of(look(file)), "builders write no groups for messages"
    await done(store, say("b"))
    await store.close()


def test_a_backup_is_sound(busy: Path, tmp_path: Path) -> None:
    backup.back_up(busy.parent, tmp_path / "b")
    assert look(tmp_path / "b").findings == []
    backup.restore(tmp_path / "b", tmp_path / "restored")
    assert look(tmp_path / "restored" / database.DATABASE_NAME).findings == []


def test_what_cannot_be_checked_is_refused(tmp_path: Path, file: Path) -> None:
    with pytest.raises(StoreRefused, match="nothing to check"):
        look(tmp_path / "nothing")
    (tmp_path / "empty").touch()
    with pytest.raises(StoreRefused, match="no SQLite database"):
        look(tmp_path / "empty")
    first_version(tmp_path / "old")
    with pytest.raises(StoreRefused, match="has version 1; start the server once"):
        look(tmp_path / "old")
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")
    with pytest.raises(StoreRefused, match="use the newer program"):
        look(file)
    with pytest.raises(StoreRefused, match="cannot be read"):
        look(tmp_path)
