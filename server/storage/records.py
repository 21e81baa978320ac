"""Rows and entries as the JSON text in which they are stored."""

from collections.abc import Mapping
from operator import attrgetter
from typing import Any, Final

import msgspec

from protocol.results import ApplicationKind
from server.domain.model import (
    Application,
    ApplicationKey,
    ApplicationsSeen,
    ApplicationsSeenKey,
    Attributes,
    AttributesKey,
    Counters,
    CountersKey,
    Entry,
    Group,
    GroupKey,
    KnownUser,
    KnownUserKey,
    Member,
    MemberKey,
    Remembered,
    RememberedKey,
    Revocation,
    RevocationKey,
    Row,
    RowKey,
)
from server.service.ports import Committed, Missed

_ENCODE: Final = msgspec.json.Encoder().encode

_StoredEntry: Final[Any] = msgspec.defstruct(
    "_StoredEntry",
    [(field.name, field.type, field.default) for field in msgspec.structs.fields(Entry)],
    omit_defaults=True,
)
_values_of: Final = attrgetter(*Entry.__struct_fields__)

_position_of: Final = attrgetter("position")

_KINDS: Final[Mapping[type[RowKey], tuple[str, msgspec.json.Decoder[Row]]]] = {
    GroupKey: ("group", msgspec.json.Decoder(Group)),
    MemberKey: ("member", msgspec.json.Decoder(Member)),
    RememberedKey: ("remembered", msgspec.json.Decoder(Remembered)),
    AttributesKey: ("attributes", msgspec.json.Decoder(Attributes)),
    CountersKey: ("counters", msgspec.json.Decoder(Counters)),
    ApplicationKey: ("application", msgspec.json.Decoder(Application)),
    ApplicationsSeenKey: ("seen", msgspec.json.Decoder(ApplicationsSeen)),
    KnownUserKey: ("known", msgspec.json.Decoder(KnownUser)),
    RevocationKey: ("revoked", msgspec.json.Decoder(Revocation)),
}
_entry: Final = msgspec.json.Decoder(Entry)
_page: Final = msgspec.json.Decoder(list[tuple[int, int, Entry]])


def encode_row(row: Row) -> str:
    """A row as JSON text."""
    return _ENCODE(row).decode()


def decode_row(key: RowKey, text: str | bytes | msgspec.Raw) -> Row:
    """The row that ``key`` names, of which ``text`` is the JSON."""
    return _KINDS[type(key)][1].decode(text)


def name_of(key: RowKey) -> tuple[str, str, str]:
    """Kind, group (or application) and user that name a row; "" for what its key does not have."""
    kind, _ = _KINDS[type(key)]
    if isinstance(key, ApplicationKey):
        return (kind, key.application_id, "")
    return (kind, getattr(key, "group_id", ""), getattr(key, "user_id", ""))


def invitee_of(application: Application) -> str | None:
    """The user who decides, None where the group's owner and admins do."""
    is_theirs = application.kind is ApplicationKind.INVITE_NEEDS_INVITEE
    return application.user_id if is_theirs else None


def age_order(application: Application) -> tuple[int, str]:
    """By what applications are put in order, the oldest first."""
    return (application.created_ms, application.application_id)


def encode_entry(entry: Entry) -> str:
    """An entry as JSON text, without what is at its default."""
    return _ENCODE(_StoredEntry(*_values_of(entry))).decode()


def decode_entry(text: str | bytes) -> Entry:
    """The entry of which ``text`` is the JSON."""
    return _entry.decode(text)


def with_data(text: str | bytes, data: object) -> str:
    """The JSON of an entry that says ``data`` instead of what it said."""
    return encode_entry(msgspec.structs.replace(decode_entry(text), data=data))


def decode_page(text: str | bytes) -> list[Committed]:
    """Entries, given as a JSON array of [position, seq, entry] in any order, by position."""
    page = [Committed(entry, position, seq) for position, seq, entry in _page.decode(text)]
    page.sort(key=_position_of)
    return page


def missed_page(entries: list[Committed], after: int, upto: int, limit: int, floor: int) -> Missed:
    """The answer of ``Store.missed`` for its first ``limit + 1`` entries."""
    if len(entries) <= limit:
        return Missed(entries, upto, has_more=False, floor=floor)
    page = entries[:limit]
    return Missed(page, page[-1].position if page else after, has_more=True, floor=floor)
