"""Tables that are complete, so that nothing can be sent that they do not explain."""

import inspect
import itertools
import re

import msgspec
import pytest

from protocol import commands
from protocol.commands import ChangingCommand, Command
from protocol.errors import CLOSES, ERRORS, CloseCode, ErrorCode, Refused
from protocol.events import EVENT_DATA
from protocol.limits import LIMITS
from protocol.methods import METHOD_OF, METHODS, Method
from protocol.vocabulary import NOTICE_OPS, TIP_OPS, EventKind, Message, Notice, Tip
from server.domain.decide import needs_of
from server.domain.model import Actor

LEAVES = [
    kind
    for _, kind in inspect.getmembers(commands, inspect.isclass)
    if issubclass(kind, Command) and kind not in (Command, ChangingCommand)
]


def test_every_error_and_close_code_has_a_row() -> None:
    assert set(ERRORS) == set(ErrorCode)
    assert set(CLOSES) == set(CloseCode)
    assert all(error.text for error in ERRORS.values())
    assert all(close.text for close in CLOSES.values())
    assert len({spec.text for spec in ERRORS.values()}) == len(ERRORS)


def test_every_notice_and_tip_has_a_number() -> None:
    assert set(NOTICE_OPS) == set(Notice)
    assert set(TIP_OPS) == set(Tip)


def test_every_event_has_a_shape() -> None:
    known = {
        *((EventKind.NOTICE, name) for name in Notice),
        *((EventKind.TIP, name) for name in Tip),
        *((EventKind.MESSAGE, name) for name in Message),
    }
    assert set(EVENT_DATA) == known


def test_every_command_is_a_method_and_named_alike() -> None:
    assert set(METHOD_OF) == set(LEAVES)
    for name, method in METHODS.items():
        assert name == re.sub(r"(?<!^)([A-Z])", r"_\1", method.command.__name__).lower()


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
def test_a_method_describes_itself_as_a_json_schema(method: Method) -> None:
    described = method.describe()
    assert described.description
    assert described.params["type"] == "object"
    assert described.params["additionalProperties"] is False
    assert described.params["examples"] == [method.example]
    fields = set(method.command.__struct_encode_fields__)
    properties = described.params["properties"]
    assert isinstance(properties, dict)
    assert set(properties) == fields


@pytest.mark.parametrize(
    "method", [method for method in METHODS.values() if method.changes], ids=lambda m: m.name
)
def test_every_changing_method_is_decided(method: Method) -> None:
    command = msgspec.convert(dict(method.example), method.command)
    assert isinstance(command, ChangingCommand)
    assert needs_of(command, Actor("alice")) is not None


def test_limits_are_sane() -> None:
    for name, spec in LIMITS.items():
        assert re.fullmatch(r"[A-Z][A-Z_]*", name), name
        assert spec.default >= 0, name
        assert spec.default or spec.may_be_off, name
        assert spec.unit, name
        assert spec.reason, name


def test_a_row_of_a_range_stands_for_its_numbers_and_no_others() -> None:
    for number in (10100, 10137, 10200):
        refused = Refused.vetoed(number, "not here")
        assert (refused.code, refused.number) == (ErrorCode.VETOED, number)
        assert refused.message == "not here"
    for number in (10099, 10201):
        with pytest.raises(ValueError, match=str(number)):
            Refused.vetoed(number, "")
    ranges = [(int(code), spec.last or int(code)) for code, spec in sorted(ERRORS.items())]
    assert all(last < first for (_, last), (first, _) in itertools.pairwise(ranges))
