"""The tables with the operator's changes: cells of rights and traits, and custom fields."""

import enum
import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from protocol.limits import LIMITS
from protocol.vocabulary import GroupType
from server.domain.rules import (
    RIGHTS,
    TRAITS,
    FieldLevel,
    FieldRule,
    Operation,
    Right,
    Rulebook,
    Traits,
)

_E = TypeVar("_E", bound=enum.StrEnum)
_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,15}\Z")


def configured_rulebook(
    *,
    limits: Mapping[str, int],
    types: Mapping[str, Any],
    group_fields: Mapping[str, Any],
    member_fields: Mapping[str, Any],
    requires_known_users: bool = False,
) -> Rulebook:
    """The rulebook in force.

    Args:
        limits: every limit by name.
        types: type name -> ``{"rights": {operation: right}, "traits": {trait: value}}``.
        group_fields: key -> ``{"read": level, "write": level}``.
        member_fields: the same for the custom fields of members.
        requires_known_users: whether only users who have logged in can be added to groups.

    Raises:
        ValueError: something is unknown or makes no sense; the message names the place.
    """
    rights = {operation: dict(row) for operation, row in RIGHTS.items()}
    traits = dict(TRAITS)
    for name, changes in types.items():
        group_type = _member(GroupType, name, f"types.{name}")
        unknown = set(_table(changes, f"types.{name}")) - {"rights", "traits"}
        if unknown:
            raise ValueError(f"types.{name}.{min(unknown)} is unknown; use rights or traits")
        cells = _table(changes.get("rights", {}), f"types.{name}.rights")
        for operation_name, right_name in cells.items():
            place = f"types.{name}.rights.{operation_name}"
            operation = _member(Operation, operation_name, place)
            rights[operation][group_type] = _right(right_name, place)
        traits[group_type] = _traits(
            traits[group_type],
            _table(changes.get("traits", {}), f"types.{name}.traits"),
            f"types.{name}.traits",
        )
    shared = set(group_fields) & set(member_fields)
    if shared:
        raise ValueError(f"{min(shared)} is declared for groups and for members; names differ")
    return Rulebook(
        rights=rights,
        traits=traits,
        limits=limits,
        group_fields=_fields(
            group_fields, limits["GROUP_CUSTOM_KEYS"], "group_fields", may_be_self=False
        ),
        member_fields=_fields(
            member_fields, limits["MEMBER_CUSTOM_KEYS"], "member_fields", may_be_self=True
        ),
        requires_known_users=requires_known_users,
    )


def _member(kind: type[_E], name: str, place: str) -> _E:
    try:
        return kind(name)
    except ValueError:
        known = ", ".join(member.value for member in kind)
        raise ValueError(f"{place} is unknown; known are {known}") from None


def _table(value: object, place: str) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    raise ValueError(f"{place} must be a table")


def _right(name: object, place: str) -> Right:
    rights = {right.name.lower(): right for right in Right}
    if not isinstance(name, str) or name not in rights:
        raise ValueError(f"{place} must be one of {', '.join(rights)}")
    return rights[name]


def _traits(traits: Traits, changes: Mapping[str, Any], place: str) -> Traits:
    unknown = set(changes) - set(Traits.__struct_fields__)
    if unknown:
        raise ValueError(f"{place}.{min(unknown)} is unknown")
    try:
        changed = msgspec.convert({**msgspec.to_builtins(traits), **changes}, Traits)
    except msgspec.ValidationError as error:
        raise ValueError(f"{place}: {error}") from error
    if changed.member_limit is not None and changed.member_limit not in LIMITS:
        raise ValueError(f"{place}.member_limit must be the name of a limit")
    return changed


def _fields(
    declared: Mapping[str, Any], most: int, place: str, *, may_be_self: bool
) -> dict[str, FieldRule]:
    if most and len(declared) > most:
        raise ValueError(f"{place} declares {len(declared)} fields; at most {most} are allowed")
    rules: dict[str, FieldRule] = {}
    for key, rule in declared.items():
        if not _FIELD_NAME.match(key):
            raise ValueError(f"{place}.{key}: a key is 1 to 16 of A-Z a-z 0-9 _, no digit first")
        unknown = set(_table(rule, f"{place}.{key}")) - set(FieldRule.__struct_fields__)
        if unknown:
            raise ValueError(f"{place}.{key}.{min(unknown)} is unknown; use read or write")
        try:
            rules[key] = msgspec.convert(rule, FieldRule)
        except msgspec.ValidationError as error:
            raise ValueError(f"{place}.{key}: {error}") from error
        if not may_be_self and FieldLevel.SELF in (rules[key].read, rules[key].write):
            raise ValueError(f"{place}.{key}: self is for fields of members")
    return rules
