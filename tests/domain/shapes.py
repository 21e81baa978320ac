"""Hypothesis strategies made of the structs themselves: any command, and any slice for it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from hypothesis import strategies as st
from msgspec import inspect

from protocol.commands import ChangingCommand, HandleApplications
from protocol.events import MessageData
from protocol.messages import text_body
from protocol.results import ApplicationKind, ApplicationStatus
from protocol.vocabulary import (
    ApplyJoinOption,
    EventKind,
    GroupType,
    InviteJoinOption,
    Role,
)
from server.domain.decide import Needs, needs_of
from server.domain.model import (
    Actor,
    Application,
    ApplicationsSeen,
    Attributes,
    Case,
    Counters,
    Entry,
    Group,
    Member,
    ReadState,
    Remembered,
    Slice,
)
from tests.domain.building import NOW_MS

MOST: Final = 2**53 - 1
USERS: Final = ("ann", "bob", "cid", "dee", "x" * 33, "")
KEYS: Final = ("topic", "team", "k1", "k2", "")

_users = st.sampled_from([*USERS[:4] * 4, *USERS])
_odd: Final = ("", "a\nb", "a\x00b", "ü" * 60, "x" * 600, "\u202eevil")
_texts = st.one_of(
    st.sampled_from(["x", "two words"] * len(_odd) + list(_odd)),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=6),
)
_ids: Final[Mapping[str, st.SearchStrategy[str]]] = {
    "group_id": st.just("g"),
    "user_id": _users,
    "as_user_id": _users,
    "new_owner_id": _users,
    "successor_id": _users,
}
_lists: Final[Mapping[str, st.SearchStrategy[Any]]] = {
    "user_ids": st.lists(_users, max_size=5),
    "at_user_ids": st.lists(_users, max_size=3) | st.just(["ann"] * 31),
    "application_ids": st.lists(st.sampled_from(["a1", "a2", "a3"] * 3 + ["a4"]), max_size=4),
}
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-MOST, MOST) | _texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_texts, inner, max_size=2),
    max_leaves=4,
)


def structs(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Any value of the struct; fields that have a default are left out at times."""
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    required: dict[str, st.SearchStrategy[Any]] = {}
    optional: dict[str, st.SearchStrategy[Any]] = {}
    for field in info.fields:
        place = required if field.required else optional
        place[field.name] = _named(field.name, field.type)
    return st.fixed_dictionaries(required, optional=optional).map(lambda found: kind(**found))


def _named(name: str, kind: inspect.Type) -> st.SearchStrategy[Any]:
    if name in _lists:
        return _lists[name]
    if name in _ids:
        is_optional = isinstance(kind, inspect.UnionType)
        return _ids[name] | st.none() if is_optional else _ids[name]
    return _values(kind)


def _values(kind: inspect.Type) -> st.SearchStrategy[Any]:
    """Any value of the type, within what the protocol lets through."""
    match kind:
        case inspect.StrType():
            return _texts
        case inspect.BoolType():
            return st.booleans()
        case inspect.NoneType():
            return st.none()
        case inspect.AnyType():
            return _json
        case inspect.IntType(ge=low, le=high):
            low, high = low if low is not None else 0, high if high is not None else MOST
            some = [n for n in (low, 1, 2, 7, 60, high) if low <= n <= high]
            return st.sampled_from(some) | st.integers(low, high)
        case inspect.FloatType(ge=floor, le=ceiling):
            return st.floats(floor, ceiling, allow_nan=False, allow_infinity=False)
        case inspect.EnumType(cls=members):
            return st.sampled_from(list(members))
        case inspect.ListType(item_type=item):
            return st.lists(_values(item), max_size=3)
        case inspect.DictType(key_type=_, value_type=value):
            return st.dictionaries(st.sampled_from(KEYS), _values(value), max_size=3)
        case inspect.UnionType(types=types):
            return st.one_of([_values(one) for one in types])
        case inspect.StructType(cls=cls):
            return structs(cls)
        case _:
            raise AssertionError(f"no values for {kind}")


def _mostly(value: object, *others: object) -> st.SearchStrategy[Any]:
    return st.sampled_from([value, value, value, *others])


_groups = st.builds(
    Group,
    group_id=st.just("g"),
    type=st.sampled_from(GroupType),
    name=st.just("Tea"),
    owner_id=st.sampled_from(["ann", "bob", ""]),
    create_time_ms=st.just(1),
    last_info_time_ms=st.just(2),
    version=st.just(3),
    member_count=st.sampled_from([len(USERS), 9]),
    max_member_count=_mostly(200, 0, len(USERS)),
    apply_join_option=st.sampled_from(ApplyJoinOption),
    invite_join_option=st.sampled_from(InviteJoinOption),
    mute_all=_mostly(False, True),
    custom=st.sampled_from([{}, {"topic": "x"}, {"gone": "y"}]),
    closed_ms=_mostly(0, 0, 0, 0, 0, 5),
)
_memberships: Final = [
    Member(
        group_id="g", user_id="", role=role, join_time_ms=1, mute_until_ms=until_ms, custom=custom
    )
    for role in Role
    for until_ms in (0, NOW_MS - 1, NOW_MS + 1)
    for custom in ({}, {"team": "x"})
]
_members = st.sampled_from([*_memberships, None, None, None])
_waiting = st.builds(
    Application,
    application_id=st.sampled_from(["a1", "a5", "a6"]),
    kind=st.sampled_from(ApplicationKind),
    group_id=st.just("g"),
    user_id=_users,
    inviter_id=_users,
    message=st.just("m"),
    created_ms=st.just(1),
    status=_mostly(ApplicationStatus.PENDING, *ApplicationStatus),
)
_said: Final = [MessageData(body=[]), MessageData(body=text_body("x"), recalled=True)]
_entries: Final = [
    None,
    *(
        Entry(kind=kind, event=event, group_id="g", time_ms=time_ms, from_id=user, data=data)
        for kind, event in (
            (EventKind.MESSAGE, "message"),
            (EventKind.MESSAGE, "message_recalled"),
            (EventKind.TIP, "member_joined"),
        )
        for time_ms in (1, NOW_MS)
        for user in ("ann", "bob", None)
        for data in (*_said, msgspec.to_builtins(_said[0]))
    ),
]
_read: Final = [ReadState(), ReadState(head_seq=9, read_seq=2), ReadState(head_seq=2, read_seq=2)]
_kept: Final = [{}, {"k1": "x"}, {"k1": "x", "k2": "x" * 3999, "": ""}]
_counted: Final = [{}, {"k1": MOST, "k2": -MOST}, {str(number): 1 for number in range(20)}]


@st.composite
def slices(draw: st.DrawFn, command: ChangingCommand, actor: Actor) -> Slice:
    """Anything that reading what the command needs may bring to light."""
    needs = needs_of(command, actor)
    if isinstance(command, HandleApplications):
        found = [
            msgspec.structs.replace(draw(_waiting), application_id=name)
            for name in ("a1", "a2", "a3")
        ]
        return Slice(
            group=None,
            cases={
                one.application_id: Case(one, draw(_shown(needs, [actor.user_id, one.user_id])))
                for one in found
            },
        )
    if needs.seen_by is not None:
        marks = [None, *(ApplicationsSeen(user_id=actor.user_id, up_to_ms=n) for n in (0, MOST))]
        return Slice(group=None, seen=draw(st.sampled_from(marks)))
    return draw(_shown(needs, needs.member_ids))


@st.composite
def _shown(draw: st.DrawFn, needs: Needs, users: Sequence[str]) -> Slice:
    shown = dict.fromkeys([*users, "ann"] if needs.owner else users)
    memories = [None, *(Remembered(group_id="g", user_id="", mute_until_ms=n) for n in (0, MOST))]
    some = st.sampled_from([["ann"], ["ann", "bob"], []])
    group = draw(_groups) if draw(_mostly(True, True, True, False)) else None
    owner_id = group.owner_id if group is not None else ""
    return Slice(
        group=group,
        members={user: _in_role(draw(_members), user, owner_id) for user in shown},
        remembered={
            user: _named_row(draw(st.sampled_from(memories)), user) for user in needs.remembered_ids
        },
        group_counts=draw(st.sampled_from([{}, {"ann": 4999, "bob": 5000}])),
        known_users=draw(_mostly(None, frozenset(), frozenset(USERS))),
        groups_today=draw(_mostly(0, -5, 9_999, 10_000)),
        attributes=Attributes(group_id="g", values=draw(st.sampled_from(_kept)))
        if needs.attributes
        else None,
        counters=Counters(group_id="g", values=draw(st.sampled_from(_counted)))
        if needs.counters
        else None,
        read_state=draw(st.sampled_from(_read)),
        entry=draw(st.sampled_from(_entries)) if needs.entry_seq is not None else None,
        handlers=draw(st.none() | some),
        pending=draw(st.dictionaries(_users, st.lists(_waiting, max_size=2), max_size=1)),
        handlers_of={"g": draw(some)},
        participant_count=draw(st.sampled_from([0, 3])),
        fresh_token="token",
    )


def _in_role(row: Member | None, user_id: str, owner_id: str) -> Member | None:
    """The member with this ID: the owner of a group is one, and nobody else is."""
    if row is None:
        return None
    role = Role.ADMIN if row.role is Role.OWNER else row.role
    if user_id == owner_id:
        return msgspec.structs.replace(row, user_id=user_id, role=Role.OWNER)
    return msgspec.structs.replace(row, user_id=user_id, role=role)


def _named_row(row: Remembered | None, user_id: str) -> Remembered | None:
    return None if row is None else msgspec.structs.replace(row, user_id=user_id)


actors: Final = st.builds(Actor, _users, _mostly(False, True))
