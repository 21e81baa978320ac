"""Whether a database is sound: everything that must hold of it, each by a check of its own.

Nothing is repaired. A finding is a bug of the server, or somebody else's doing. Works beside a
running server: all checks look at one snapshot.
"""

import json
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from protocol.vocabulary import GroupType
from server.storage import database, schema
from server.storage.audit_bodies import BODY_CHECKS
from server.storage.audit_statements import STATEMENTS
from server.storage.refusal import StoreRefused

MOST_FINDINGS: Final = 20
"""Of one check; what is wrong with one row is often wrong with all of them."""

Check = Callable[[sqlite3.Connection], Iterator[str]]

_COUNTED: Final = ("grp", "member", "membership", "entry", "application", "request")


class Finding(msgspec.Struct, frozen=True):
    """Something that must not be: which check found it, and what it is."""

    check: str
    text: str


class Audit(msgspec.Struct, frozen=True):
    """What was found, and how many rows there were to look at, by name of their table."""

    findings: list[Finding]
    counts: Mapping[str, int]


def audit(path: Path, memberless: Collection[GroupType]) -> Audit:
    """Look at the database at ``path``, in use or not.

    Args:
        path: the file, which is not changed.
        memberless: the types of groups that store no members, and so do not count them.

    Raises:
        StoreRefused: there is none, or it is of another program or version.
    """
    if not path.exists():
        raise StoreRefused(f"{path} does not exist: there is nothing to check")
    try:
        with closing(database.connect_read_only(path)) as connection:
            _refuse_older(connection, path)
            connection.execute("BEGIN")
            return _look(connection, json.dumps(list(memberless)))
    except OSError as error:
        raise StoreRefused(f"{path} cannot be read: {error.strerror}") from error


def _refuse_older(connection: sqlite3.Connection, path: Path) -> None:
    version = schema.version_of(connection)
    if version < schema.SCHEMA_VERSION:
        raise StoreRefused(
            f"{path} has version {version}; start the server once, which brings it to "
            f"{schema.SCHEMA_VERSION}, and check it then"
        )


def _look(connection: sqlite3.Connection, memberless: str) -> Audit:
    for name, check in _FOUNDATIONS.items():
        # What cannot be read, or has not the tables that it should have, says nothing else.
        findings = _findings(name, check, connection)
        if findings:
            return Audit(findings, {})
    checks: dict[str, Check] = {
        name: partial(_rows, statement, memberless) for name, statement in STATEMENTS.items()
    }
    findings = [
        finding
        for name, check in {**checks, **BODY_CHECKS}.items()
        for finding in _findings(name, check, connection)
    ]
    counts = {
        table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
        for table in _COUNTED
    }
    return Audit(findings, counts)


def _findings(name: str, check: Check, connection: sqlite3.Connection) -> list[Finding]:
    found: list[str] = []
    try:
        found.extend(islice(check(connection), MOST_FINDINGS + 1))
    except sqlite3.Error as error:
        found.append(f"cannot be found out: {error}")
    if len(found) > MOST_FINDINGS:
        found[MOST_FINDINGS:] = ["and more"]
    return [Finding(name, text) for text in found]


def _integrity(connection: sqlite3.Connection) -> Iterator[str]:
    for (text,) in connection.execute(f"PRAGMA integrity_check({MOST_FINDINGS + 1})"):
        if text != "ok":
            yield text


def _tables(connection: sqlite3.Connection) -> Iterator[str]:
    """Tables and indexes are those that a new database gets."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as new:
        schema.create(new)
        wanted = _definitions(new)
    found = _definitions(connection)
    for name in sorted(wanted.keys() | found.keys()):
        if name not in found:
            yield f"{name} is missing"
        elif name not in wanted:
            yield f"{name} does not belong here"
        elif wanted[name] != found[name]:
            yield f"{name} is another than it should be: {found[name]}"


def _definitions(connection: sqlite3.Connection) -> dict[str, str]:
    statement = "SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite^_%' ESCAPE '^'"
    return dict(connection.execute(statement))


def _rows(statement: str, memberless: str, connection: sqlite3.Connection) -> Iterator[str]:
    parameters = (memberless,) if "?1" in statement else ()
    for (text,) in connection.execute(statement, parameters):
        yield text


_FOUNDATIONS: Final[Mapping[str, Check]] = {"integrity": _integrity, "schema": _tables}

CHECKS: Final = (*_FOUNDATIONS, *STATEMENTS, *BODY_CHECKS)
"""The names of all checks."""
