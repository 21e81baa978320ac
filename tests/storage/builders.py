"""Short ways to say what is stored."""

# ruff: noqa: ANN401 - the fields are those of the struct that is made

from collections.abc import Sequence
from typing import Any

from protocol.results import ApplicationKind
from protocol.vocabulary import (
    ApplyJoinOption,
    EventKind,
    GroupType,
    InviteJoinOption,
    Role,
)
from server.domain.model import (
    Application,
    ApplicationKey,
    Entry,
    Group,
    GroupKey,
    Member,
    MemberKey,
    Row,
    RowKey,
    Spoke,
)
from server.service.ports import Committed, Done, Outcome, RequestKey, Store, WriteSet

EVERYTHING = 1_000_000


def group(group_id: str = "g", **fields: Any) -> Group:
    return Group(
        **{
            "group_id": group_id,
            "type": GroupType.WORK,
            "name": "Tea",
            "owner_id": "ann",
            "create_time_ms": 1,
            "last_info_time_ms": 1,
            "version": 1,
            "member_count": 1,
            "max_member_count": 200,
            "apply_join_option": ApplyJoinOption.FREE_ACCESS,
            "invite_join_option": InviteJoinOption.FREE_ACCESS,
            **fields,
        }
    )


def member(user_id: str, group_id: str = "g", role: Role = Role.MEMBER, **fields: Any) -> Member:
    return Member(group_id=group_id, user_id=user_id, role=role, join_time_ms=1, **fields)


def entry(
    name: str,
    group_id: str = "g",
    kind: EventKind = EventKind.TIP,
    time_ms: int = 1,
    **fields: Any,
) -> Entry:
    data = fields.pop("data", {"name": name})
    return Entry(kind=kind, event=name, group_id=group_id, time_ms=time_ms, data=data, **fields)


def message(text: str, group_id: str = "g", **fields: Any) -> Entry:
    return entry(text, group_id, EventKind.MESSAGE, **fields)


def notice(name: str, user_id: str, group_id: str = "g", **fields: Any) -> Entry:
    return entry(name, group_id, EventKind.NOTICE, inbox_of=user_id, **fields)


def write_set(*entries: Entry, **fields: Any) -> WriteSet:
    return WriteSet(entries=entries, **{"time_ms": 1, **fields})


def join(user_id: str, group_id: str = "g", **fields: Any) -> WriteSet:
    return write_set(
        entry(f"{user_id}-joined", group_id, joined=(user_id,)),
        puts={MemberKey(group_id, user_id): member(user_id, group_id, **fields)},
    )


def leave(user_id: str, group_id: str = "g") -> WriteSet:
    return write_set(
        entry(f"{user_id}-left", group_id, left=(user_id,)),
        puts={MemberKey(group_id, user_id): None},
    )


def disband(group_id: str = "g") -> WriteSet:
    return write_set(
        entry("disbanded", group_id, EventKind.NOTICE, closes=True),
        puts={GroupKey(group_id): group(group_id, closed_ms=5)},
    )


def say(text: str, user_id: str = "ann", group_id: str = "g", time_ms: int = 1) -> WriteSet:
    return write_set(message(text, group_id), spoke=Spoke(group_id, user_id), time_ms=time_ms)


def asked(request_id: str, *entries: Entry, user_id: str = "ann", **fields: Any) -> WriteSet:
    """A write set with a request id; what it remembers is made of the id."""
    return write_set(
        *entries,
        request=RequestKey(user_id, request_id),
        digest=b"digest of " + request_id.encode(),
        reply=b"reply to " + request_id.encode(),
        **fields,
    )


def founding(group_id: str, *user_ids: str, **fields: Any) -> WriteSet:
    """A group with its members, told by one entry in its log."""
    puts: dict[RowKey, Row | None] = {GroupKey(group_id): group(group_id, **fields)}
    puts.update({MemberKey(group_id, user): member(user, group_id) for user in user_ids})
    return write_set(entry("founded", group_id, joined=user_ids), puts=puts)


def staffed(group_id: str, **roles: Role) -> WriteSet:
    """A group with members of these roles."""
    puts: dict[RowKey, Row | None] = {GroupKey(group_id): group(group_id)}
    for user_id, role in roles.items():
        puts[MemberKey(group_id, user_id)] = member(user_id, group_id, role)
    return write_set(entry("founded", group_id, joined=tuple(roles)), puts=puts)


def application(application_id: str, group_id: str = "g", **fields: Any) -> Application:
    return Application(
        **{
            "application_id": application_id,
            "kind": ApplicationKind.JOIN,
            "group_id": group_id,
            "user_id": "zoe",
            "inviter_id": "",
            "message": "please",
            "created_ms": 1,
            **fields,
        }
    )


def apply(*applications: Application) -> list[WriteSet]:
    return [write_set(puts={ApplicationKey(one.application_id): one}) for one in applications]


async def commit(store: Store, *batch: WriteSet) -> Sequence[Outcome]:
    return await store.commit(0, batch)


async def done(store: Store, *batch: WriteSet) -> list[Done]:
    """Commit ``batch``, all of which must be done."""
    outcomes = await store.commit(0, batch)
    result = [outcome for outcome in outcomes if isinstance(outcome, Done)]
    assert len(result) == len(batch), outcomes
    return result


def names(entries: Sequence[Committed]) -> list[str]:
    return [told.entry.event for told in entries]


async def seen(store: Store, user_id: str, after: int = 0) -> list[str]:
    """The names of all that ``user_id`` may see after that position."""
    missed = await store.missed(0, user_id, after, EVERYTHING, EVERYTHING)
    assert not missed.has_more
    return names(missed.entries)


async def log(store: Store, group_id: str = "g") -> list[Committed]:
    return list(await store.history(group_id, 0, EVERYTHING, EVERYTHING, newest=False))
