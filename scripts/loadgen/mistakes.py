"""Requests that the rules do not allow, with the code that each must be refused with."""

from collections.abc import Callable
from random import Random
from typing import Any, Final

from protocol.errors import ErrorCode
from protocol.vocabulary import GroupType
from scripts.loadgen.people import Group, People
from scripts.loadgen.plan import Act, Expects, Kind

_Mistake = Callable[[Random, Group, People], Act | None]
_TEXT: Final = [{"type": "text", "content": {"text": "let me in"}}]


def mistake(random: Random, group: Group, people: People) -> Act | None:
    """A request by somebody connected that must be refused; None where none fits the group."""
    return random.choice(_MISTAKES)(random, group, people)


def _wrong(
    user: int,
    group: Group | None,
    method: str,
    params: dict[str, Any],
    code: ErrorCode,
    targets: tuple[int, ...] = (),
) -> Act:
    return Act(
        kind=Kind.WRONG,
        user=user,
        group=-1 if group is None else group.index,
        method=method,
        params=params,
        targets=targets,
        expects=Expects.REFUSED,
        code=code,
    )


def _outsider_speaks(_random: Random, group: Group, people: People) -> Act | None:
    outsider = people.one(people.outsiders(group, 5))
    if outsider is None:
        return None
    return _wrong(outsider, group, "send_message", {"body": _TEXT}, ErrorCode.NO_PERMISSION)


def _member_kicks(random: Random, group: Group, people: People) -> Act | None:
    actor = people.one([user for user in group.members if group.rank(user) == 1])
    others = [user for user in group.members if user != actor]
    if actor is None or not others or group.is_room:
        return None
    target = random.choice(others)
    params = {"user_ids": [target]}
    return _wrong(
        actor, group, "remove_members", params, ErrorCode.NO_PERMISSION, targets=(target,)
    )


def _joins_work(_random: Random, group: Group, people: People) -> Act | None:
    outsider = people.one(people.outsiders(group, 5))
    if group.type is not GroupType.WORK or outsider is None:
        return None
    return _wrong(outsider, group, "join_group", {}, ErrorCode.NO_PERMISSION)


def _owner_quits(_random: Random, group: Group, people: People) -> Act | None:
    owner = group.owner
    if group.type is GroupType.WORK or owner is None or not people.active(owner):
        return None
    return _wrong(owner, group, "quit_group", {}, ErrorCode.OWNER_MAY_NOT_QUIT)


def _member_disbands(_random: Random, group: Group, people: People) -> Act | None:
    actor = people.one([user for user in group.members if user != group.owner])
    if actor is None:
        return None
    return _wrong(actor, group, "disband_group", {}, ErrorCode.NO_PERMISSION)


def _too_long(_random: Random, group: Group, people: People) -> Act | None:
    actor = people.one(group.members)
    if actor is None or group.is_room:
        return None
    body = [{"type": "text", "content": {"text": "long " * 2_600}}]
    return _wrong(actor, group, "send_message", {"body": body}, ErrorCode.MESSAGE_TOO_LARGE)


def _nowhere(_random: Random, group: Group, people: People) -> Act | None:
    actor = people.one(group.members)
    if actor is None:
        return None
    params = {"group_id": "no such group", "body": _TEXT}
    return _wrong(actor, None, "send_message", params, ErrorCode.GROUP_NOT_FOUND)


def _unknown_field(_random: Random, group: Group, people: People) -> Act | None:
    actor = people.one(group.members)
    if actor is None:
        return None
    return _wrong(actor, group, "quit_group", {"colour": "red"}, ErrorCode.BAD_REQUEST)


def _unknown_method(_random: Random, group: Group, people: People) -> Act | None:
    actor = people.one(group.members)
    if actor is None:
        return None
    return _wrong(actor, None, "make_coffee", {}, ErrorCode.UNKNOWN_METHOD)


_MISTAKES: Final[tuple[_Mistake, ...]] = (
    _outsider_speaks,
    _member_kicks,
    _joins_work,
    _owner_quits,
    _member_disbands,
    _too_long,
    _nowhere,
    _unknown_field,
    _unknown_method,
)
