"""What must hold of the JSON in the tables: it decodes, and the columns beside it say the same."""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final

import msgspec

from server.domain.model import (
    Application,
    ApplicationKey,
    ApplicationsSeenKey,
    AttributesKey,
    CountersKey,
    Group,
    GroupKey,
    KnownUserKey,
    Member,
    MemberKey,
    RememberedKey,
    RevocationKey,
    RowKey,
)
from server.storage.changes import log_of
from server.storage.records import decode_entry, decode_row, invitee_of

_KEY_OF_KIND: Final[Mapping[str, Callable[[str, str], RowKey]]] = {
    "remembered": RememberedKey,
    "attributes": lambda group_id, _user_id: AttributesKey(group_id),
    "counters": lambda group_id, _user_id: CountersKey(group_id),
    "seen": lambda _group_id, user_id: ApplicationsSeenKey(user_id),
    "known": lambda _group_id, user_id: KnownUserKey(user_id),
    "revoked": lambda _group_id, user_id: RevocationKey(user_id),
}

_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError, LookupError)


def _group(group_id: str, type_: str, closed_ms: int, body: str) -> str | None:
    row = decode_row(GroupKey(group_id), body)
    assert isinstance(row, Group)
    columns, fields = (group_id, type_, closed_ms), (row.group_id, row.type, row.closed_ms)
    if columns != fields:
        return f"says {fields}"
    if row.version < 1 or row.member_count < 0:
        return f"has version {row.version} and {row.member_count} members"
    return None


def _member(group_id: str, user_id: str, rank: int, body: str) -> str | None:
    row = decode_row(MemberKey(group_id, user_id), body)
    assert isinstance(row, Member)
    fields = (row.group_id, row.user_id, row.role.rank)
    return None if fields == (group_id, user_id, rank) else f"says {fields}"


def _detail(kind: str, group_id: str, user_id: str, body: str) -> str | None:
    row = decode_row(_KEY_OF_KIND[kind](group_id, user_id), body)
    fields = (getattr(row, "group_id", ""), getattr(row, "user_id", ""))
    return None if fields == (group_id, user_id) else f"says {fields}"


def _application(application_id: str, *others: object) -> str | None:
    *columns, body = others
    assert isinstance(body, str)
    row = decode_row(ApplicationKey(application_id), body)
    assert isinstance(row, Application)
    fields = [row.group_id, invitee_of(row), row.status, row.created_ms, row.handled_ms]
    if row.application_id == application_id and fields == columns:
        return None
    return f"says {row.application_id} {fields}"


def _entry(_position: int, log: str, kind: str, body: str) -> str | None:
    entry = decode_entry(body)
    fields = (log_of(entry), entry.kind)
    if fields != (log, kind):
        return f"says {fields}"
    return None if entry.is_stored else "says that it is not stored"


def _request(_request_id: str, _user_id: str, reply: bytes) -> str | None:
    decoded = msgspec.json.decode(reply)
    return None if isinstance(decoded, dict) else f"remembers {decoded!r}"


def _bodies(
    statement: str, fault: Callable[..., str | None], connection: sqlite3.Connection
) -> Iterator[str]:
    """The rows with which something is wrong; the last column is the body, the others name it."""
    for row in connection.execute(statement):
        try:
            text = fault(*row)
        except _UNREADABLE as error:
            text = f"cannot be decoded: {error}"
        if text is not None:
            yield f"{row[:-1]} {text}"


_BODIES: Final[Mapping[str, tuple[str, str, Callable[..., str | None]]]] = {
    "group_bodies": ("group_id, type, closed_ms, body", "grp", _group),
    "member_bodies": ("group_id, user_id, rank, body", "member", _member),
    "detail_bodies": ("kind, group_id, user_id, body", "detail", _detail),
    "application_bodies": (
        "application_id, group_id, invitee_id, status, created_ms, handled_ms, body",
        "application",
        _application,
    ),
    "entry_bodies": ("position, log, kind, body", "entry", _entry),
    "replies": ("request_id, user_id, reply", "request", _request),
}

BODY_CHECKS: Final[Mapping[str, Callable[[sqlite3.Connection], Iterator[str]]]] = {
    name: partial(_bodies, f"SELECT {columns} FROM {table}", fault)  # noqa: S608 - constants
    for name, (columns, table, fault) in _BODIES.items()
}
"""By name: the texts of what is wrong."""
