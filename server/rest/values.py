"""Commands about a group's attributes and counters."""

from typing import Literal

import msgspec
from msgspec import field

from protocol.commands import (
    AddCounters,
    DeleteAttributes,
    GetAttributes,
    GetCounters,
    SetAttributes,
)
from server.domain.jobs import DeleteCounters, ReplaceAttributes, SetCounters
from server.rest.registry import Call
from server.rest.shapes import Answer, Body, GroupRequest, Signed


class Attribute(msgspec.Struct, frozen=True, kw_only=True):
    """An attribute; the original writes these names in small letters."""

    key: str
    value: str


class AttributeKey(msgspec.Struct, frozen=True, kw_only=True):
    """The name of an attribute."""

    key: str


class ModifyAttributes(GroupRequest, frozen=True, kw_only=True):
    """Set some of a group's attributes; the others stay."""

    group_attr: list[Attribute]


async def modify_group_attr(call: Call, request: ModifyAttributes) -> Answer:
    """See ``ModifyAttributes``."""
    command = SetAttributes(group_id=request.group_id, attributes=_values(request.group_attr))
    await call.operator.change(command, call.origin)
    return Answer()


class ResetAttributes(GroupRequest, frozen=True, kw_only=True):
    """Set all of a group's attributes; the others are gone."""

    group_attr: list[Attribute]


async def set_group_attr(call: Call, request: ResetAttributes) -> Answer:
    """See ``ResetAttributes``."""
    command = ReplaceAttributes(group_id=request.group_id, attributes=_values(request.group_attr))
    await call.operator.change(command, call.origin)
    return Answer()


class ClearAttributes(GroupRequest, frozen=True, kw_only=True):
    """Delete all of a group's attributes."""


async def clear_group_attr(call: Call, request: ClearAttributes) -> Answer:
    """See ``ClearAttributes``."""
    command = ReplaceAttributes(group_id=request.group_id, attributes={})
    await call.operator.change(command, call.origin)
    return Answer()


class DeleteSomeAttributes(GroupRequest, frozen=True, kw_only=True):
    """Delete some of a group's attributes."""

    group_attr: list[AttributeKey]


async def delete_group_attr(call: Call, request: DeleteSomeAttributes) -> Answer:
    """See ``DeleteSomeAttributes``."""
    keys = [attribute.key for attribute in request.group_attr]
    await call.operator.change(DeleteAttributes(group_id=request.group_id, keys=keys), call.origin)
    return Answer()


class GetAllAttributes(GroupRequest, frozen=True, kw_only=True):
    """A group's attributes."""


class AllAttributes(Answer, frozen=True, kw_only=True):
    """Every attribute with its value."""

    group_attr_ary: list[Attribute]


async def get_group_attr(call: Call, request: GetAllAttributes) -> AllAttributes:
    """See ``GetAllAttributes``."""
    result = await call.operator.ask(GetAttributes(group_id=request.group_id), call.origin)
    return AllAttributes(
        group_attr_ary=[Attribute(key=key, value=value) for key, value in result.attributes.items()]
    )


def _values(attributes: list[Attribute]) -> dict[str, str]:
    return {attribute.key: attribute.value for attribute in attributes}


class Counter(Body, frozen=True, kw_only=True):
    """A counter and its number."""

    key: str
    value: Signed


class UpdateCounter(GroupRequest, frozen=True, kw_only=True):
    """Set some of a group's counters, or add to them, or take from them."""

    group_counter: list[Counter]
    mode: Literal["Set", "Increase", "Decrease"] = "Set"


class CounterValues(Answer, frozen=True, kw_only=True):
    """Counters with their values."""

    group_counter: list[Counter]


async def update_group_counter(call: Call, request: UpdateCounter) -> CounterValues:
    """See ``UpdateCounter``; answers the values after it."""
    numbers = {counter.key: counter.value for counter in request.group_counter}
    if request.mode == "Set":
        command: SetCounters | AddCounters = SetCounters(group_id=request.group_id, values=numbers)
    else:
        sign = 1 if request.mode == "Increase" else -1
        deltas = {key: sign * number for key, number in numbers.items()}
        command = AddCounters(group_id=request.group_id, deltas=deltas)
    return _counters((await call.operator.change(command, call.origin)).counters)


class CounterKeys(GroupRequest, frozen=True, kw_only=True):
    """Some of a group's counters, or all when none is named."""

    group_counter_keys: list[str] = field(default_factory=list)


async def get_group_counter(call: Call, request: CounterKeys) -> CounterValues:
    """The values of those that there are."""
    command = GetCounters(group_id=request.group_id, keys=request.group_counter_keys or None)
    return _counters((await call.operator.ask(command, call.origin)).counters)


class DeleteCounter(CounterKeys, frozen=True, kw_only=True):
    """Delete some of a group's counters, or all when none is named."""


async def delete_group_counter(call: Call, request: DeleteCounter) -> Answer:
    """See ``DeleteCounter``."""
    command = DeleteCounters(group_id=request.group_id, keys=request.group_counter_keys)
    await call.operator.change(command, call.origin)
    return Answer()


def _counters(values: dict[str, int]) -> CounterValues:
    return CounterValues(
        group_counter=[Counter(key=key, value=value) for key, value in values.items()]
    )
