"""Hypothesis strategies for any struct of the protocol, made from its declaration."""

import builtins
import enum
from functools import cache
from typing import Any, Final

import hypothesis.strategies as st
import msgspec
from msgspec import inspect

from protocol.limits import MAX_INTEGER

TEXT: Final = st.text(max_size=12)
ANYTHING: Final = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-MAX_INTEGER, MAX_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
).filter(lambda value: levels_of(value) <= 4)
"""Where a field may hold any value: one that the protocol has, within its nesting."""


def levels_of(value: object) -> int:
    """How many maps and arrays are inside each other."""
    inner = value.values() if isinstance(value, dict) else value
    if not isinstance(value, list | dict):
        return 0
    return 1 + max(map(levels_of, inner), default=0)  # type: ignore[call-overload]


@cache
def values_of(of: Any) -> st.SearchStrategy[Any]:  # noqa: ANN401 - any type expression
    """Every value of a type that msgspec knows, small."""
    return _strategy(inspect.type_info(of))


def _strategy(info: inspect.Type) -> st.SearchStrategy[Any]:
    match info:
        case inspect.Metadata():
            return _strategy(info.type)
        case inspect.IntType():
            least = -MAX_INTEGER if info.ge is None else int(info.ge)
            return st.integers(least, MAX_INTEGER if info.le is None else int(info.le))
        case inspect.FloatType():
            return st.floats(info.ge, info.le, allow_nan=False, allow_infinity=False)
        case inspect.StrType():
            return TEXT
        case inspect.BoolType():
            return st.booleans()
        case inspect.NoneType():
            return st.none()
        case inspect.AnyType() | inspect.CustomType(cls=builtins.object):
            return ANYTHING
        case inspect.LiteralType():
            return st.sampled_from(info.values)
        case _:
            return _compound(info)


def _compound(info: inspect.Type) -> st.SearchStrategy[Any]:
    match info:
        case inspect.EnumType():
            members: type[enum.Enum] = info.cls
            return st.sampled_from(list(members))
        case inspect.UnionType():
            return st.one_of([_strategy(one) for one in info.types])
        case inspect.ListType():
            return st.lists(_strategy(info.item_type), max_size=3)
        case inspect.VarTupleType():
            return st.lists(_strategy(info.item_type), max_size=3).map(tuple)
        case inspect.DictType():
            keys, items = _strategy(info.key_type), _strategy(info.value_type)
            return st.dictionaries(keys, items, max_size=3)
        case inspect.StructType():
            return _struct(info)
        case _:
            raise TypeError(f"no strategy for {info}")


def _struct(info: inspect.StructType) -> st.SearchStrategy[Any]:
    needed = {field.name: _strategy(field.type) for field in info.fields if field.required}
    others = {field.name: _strategy(field.type) for field in info.fields if not field.required}
    made: type[msgspec.Struct] = info.cls
    return st.fixed_dictionaries(needed, optional=others).map(lambda given: made(**given))
