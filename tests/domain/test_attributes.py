"""Attributes and counters of a group (``groups.md`` section 3)."""

import pytest

from protocol import commands
from protocol.errors import ErrorCode
from protocol.results import AttributesResult, CountersResult
from server.domain.model import (
    Attributes,
    AttributesKey,
    Counters,
    CountersKey,
    Decision,
    GroupKey,
    Slice,
)
from tests.domain.building import (
    NOW_MS,
    done,
    refused,
    tea,
)
from tests.domain.outcomes import group_in, said

MOST = 2**53 - 1


def with_attributes(values: dict[str, str]) -> Slice:
    return tea(seen={"attributes": Attributes(group_id="g", values=values)})


def with_counters(values: dict[str, int]) -> Slice:
    return tea(seen={"counters": Counters(group_id="g", values=values)})


def put(values: dict[str, str], if_version: int | None = None) -> commands.SetAttributes:
    return commands.SetAttributes(group_id="g", attributes=values, if_version=if_version)


def drop(*keys: str) -> commands.DeleteAttributes:
    return commands.DeleteAttributes(group_id="g", keys=list(keys))


def add(**deltas: int) -> commands.AddCounters:
    return commands.AddCounters(group_id="g", deltas=deltas)


def test_attributes_are_set_beside_those_that_are_there() -> None:
    decision = done(with_attributes({"a": "1", "b": "2"}), put({"b": "3", "c": "4"}), "olga")
    values = {"a": "1", "b": "3", "c": "4"}
    assert decision.puts[AttributesKey("g")] == Attributes(group_id="g", values=values)
    assert (group_in(decision).version, group_in(decision).last_info_time_ms) == (8, NOW_MS)
    assert decision.result == AttributesResult(version=8, attributes=values)
    first = done(tea(), put({"a": ""}), "olga")
    assert first.result == AttributesResult(version=8, attributes={"a": ""})


def test_attributes_are_deleted() -> None:
    decision = done(with_attributes({"a": "1", "b": "2"}), drop("a", "a"), "olga")
    assert decision.puts[AttributesKey("g")] == Attributes(group_id="g", values={"b": "2"})
    assert said(decision, "group_profile_changed")[0].attributes == {"a": None}


def test_attributes_that_are_so_already_change_nothing() -> None:
    of = with_attributes({"a": "1"})
    for command in (put({"a": "1"}), put({})):
        expected = AttributesResult(version=7, attributes={"a": "1"})
        assert done(of, command, "olga") == Decision(result=expected)


def test_compare_and_set() -> None:
    stale = refused(tea(), put({"a": "1"}, if_version=6), "olga")
    assert stale.detail == {"rule": "if_version", "have": 6, "need": 7}
    assert stale.code in {ErrorCode.ATTRIBUTE_CONFLICT, ErrorCode.GROUP_VERSION_CONFLICT}
    done(tea(), put({"a": "1"}, if_version=7), "olga")
    deletion = commands.DeleteAttributes(group_id="g", keys=["a"], if_version=6)
    assert refused(with_attributes({"a": "1"}), deletion, "olga").code is stale.code


def test_an_attribute_that_is_not_there_cannot_be_deleted() -> None:
    refusal = refused(with_attributes({"a": "1"}), drop("a", "b"), "olga")
    assert refusal.code is ErrorCode.ATTRIBUTE_NOT_FOUND
    assert refusal.detail["key"] == "b"


def test_limits_of_attributes_in_bytes() -> None:
    ok = [
        {"ü" * 16: "x"},
        {"k": "ü" * 2000},
        {f"k{number}": "x" for number in range(16)},
        {f"k{number}": "x" * 3998 for number in range(4)},
    ]
    for values in ok:
        done(tea(), put(values), "olga")
    wrong = [
        ({"ü" * 16 + "x": "x"}, ErrorCode.ATTRIBUTE_KEY_TOO_LONG),
        ({"k": "ü" * 2000 + "x"}, ErrorCode.ATTRIBUTE_VALUE_TOO_LONG),
        ({f"k{number}": "x" for number in range(17)}, ErrorCode.TOO_MANY_ATTRIBUTES),
        ({f"k{number}": "x" * 3999 for number in range(4)}, ErrorCode.ATTRIBUTES_TOO_LARGE),
        ({"": "x"}, ErrorCode.BAD_REQUEST),
        ({"a\nb": "x"}, ErrorCode.BAD_REQUEST),
    ]
    for values, code in wrong:
        assert refused(tea(), put(values), "olga").code is code


def test_the_limit_of_attributes_counts_those_that_stay() -> None:
    full = with_attributes({f"k{number}": "x" for number in range(16)})
    assert refused(full, put({"one": "more"}), "olga").code is ErrorCode.TOO_MANY_ATTRIBUTES
    done(full, put({"k3": "other"}), "olga")
    large = with_attributes({f"k{number}": "x" * 3998 for number in range(4)})
    assert refused(large, put({"e": ""}), "olga").code is ErrorCode.ATTRIBUTES_TOO_LARGE
    done(large, put({"k0": "less"}), "olga")


def test_nothing_to_delete_is_an_error() -> None:
    assert refused(tea(), drop(), "olga").code is ErrorCode.BAD_REQUEST
    assert refused(tea(), drop(*map(str, range(17))), "olga").code is ErrorCode.BAD_REQUEST


def test_counters_begin_at_0_and_are_added_to() -> None:
    decision = done(with_counters({"a": 5, "b": 1}), add(a=-7, c=3), "mia")
    counters = Counters(group_id="g", values={"a": -2, "b": 1, "c": 3})
    assert dict(decision.puts) == {CountersKey("g"): counters}
    assert decision.result == CountersResult(counters={"a": -2, "c": 3})
    assert GroupKey("g") not in decision.puts, "counters are no part of the versioned profile"
    assert done(tea(), add(a=1), "mia").result == CountersResult(counters={"a": 1})


def test_adding_nothing_changes_nothing() -> None:
    decision = done(with_counters({"a": 5}), add(a=0), "mia")
    assert decision == Decision(result=CountersResult(counters={"a": 5}))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_counter_stays_within_the_protocols_integers(sign: int) -> None:
    nearly = with_counters({"a": sign * (MOST - 1)})
    assert done(nearly, add(a=sign), "mia").result == CountersResult(counters={"a": sign * MOST})
    for delta in (2, MOST):
        refusal = refused(nearly, add(b=1, a=sign * delta), "mia")
        assert (refusal.code, refusal.detail["field"]) == (ErrorCode.BAD_REQUEST, "deltas")
    done(with_counters({"a": -MOST}), add(a=MOST), "mia")


def test_limits_of_counters() -> None:
    full = with_counters({f"k{number}": 1 for number in range(20)})
    assert refused(full, add(more=1), "mia").code is ErrorCode.TOO_MANY_COUNTERS
    done(full, add(k7=1), "mia")
    many = commands.AddCounters(group_id="g", deltas={str(number): 1 for number in range(21)})
    assert refused(tea(), many, "mia").code in {
        ErrorCode.BAD_REQUEST,
        ErrorCode.TOO_MANY_COUNTERS,
    }
    assert refused(tea(), add(), "mia").code is ErrorCode.BAD_REQUEST
    done(tea(), commands.AddCounters(group_id="g", deltas={"ü" * 64: 1}), "mia")
    long = commands.AddCounters(group_id="g", deltas={"ü" * 64 + "x": 1})
    assert refused(tea(), long, "mia").code is ErrorCode.ATTRIBUTE_KEY_TOO_LONG
    for key in ("", "a\x07"):
        wrong = commands.AddCounters(group_id="g", deltas={key: 1})
        assert refused(tea(), wrong, "mia").code is ErrorCode.BAD_REQUEST
