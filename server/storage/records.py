"""Rows and entries as the JSON text in which they are stored."""

from operator import attrgetter
from typing import Any, Final

import msgspec

from server.domain.model import Entry, Group, Member, Row
from server.service.ports import Committed, Missed

_ENCODE: Final = msgspec.json.Encoder().encode

_StoredEntry: Final[Any] = msgspec.defstruct(
    "_StoredEntry",
    [(field.name, field.type, field.default) for field in msgspec.structs.fields(Entry)],
    omit_defaults=True,
)
_values_of: Final = attrgetter(*Entry.__struct_fields__)

_position_of: Final = attrgetter("position")

_group: Final = msgspec.json.Decoder(Group)
_member: Final = msgspec.json.Decoder(Member)
_page: Final = msgspec.json.Decoder(list[tuple[int, int, Entry]])


def encode_row(row: Row) -> str:
    """A row as JSON text."""
    return _ENCODE(row).decode()


def decode_group(text: str | bytes) -> Group:
    """The group of which ``text`` is the JSON."""
    return _group.decode(text)


def decode_member(text: str | bytes) -> Member:
    """The member of which ``text`` is the JSON."""
    return _member.decode(text)


def encode_entry(entry: Entry) -> str:
    """An entry as JSON text, without what is at its default."""
    return _ENCODE(_StoredEntry(*_values_of(entry))).decode()


def decode_page(text: str | bytes) -> list[Committed]:
    """Entries, given as a JSON array of [position, seq, entry] in any order, by position."""
    page = [Committed(entry, position, seq) for position, seq, entry in _page.decode(text)]
    page.sort(key=_position_of)
    return page


def missed_page(entries: list[Committed], after: int, upto: int, limit: int) -> Missed:
    """The answer of ``Store.missed`` for its first ``limit + 1`` entries."""
    if len(entries) <= limit:
        return Missed(entries, upto, has_more=False)
    page = entries[:limit]
    return Missed(page, page[-1].position if page else after, has_more=True)
