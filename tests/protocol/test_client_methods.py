"""Laws of the typed methods: each row of METHODS has one that says the same as its command."""

import enum
import inspect
import types
from collections.abc import Mapping
from typing import Any, Union, Unpack, get_args, get_origin, get_type_hints

import msgspec
import pytest

from protocol.client import Client
from protocol.client_base import CallOptions, ChangeOptions, R
from protocol.client_calls import params_of
from protocol.client_methods import Methods
from protocol.commands import ChangingCommand, Command
from protocol.methods import METHODS, Method
from protocol.results import Result

ROWS = pytest.mark.parametrize("row", METHODS.values(), ids=list(METHODS))


def own_fields(row: Method) -> list[msgspec.structs.FieldInfo]:
    """The command's fields but for those that every changing command has."""
    shared = ChangingCommand.__struct_fields__ if row.changes else ()
    fields = msgspec.structs.fields(row.command)
    return [field for field in fields if field.name not in shared]


def parameters(row: Method) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(getattr(Client, row.name)).parameters


def sample(hint: object, name: str) -> object:
    """Some value of a type; strings tell fields apart by ``name``."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is list:
        return [sample(arguments[0], name)]
    if origin is dict:
        return {sample(arguments[0], name): sample(arguments[1], name)}
    if origin in (types.UnionType, Union):
        return sample(arguments[0], name)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return sample_struct(hint, name)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return list(hint)[-1]
    known: dict[object, object] = {str: f"some {name}", int: 7, bool: True, float: 0.5}
    return known.get(hint, {})


def sample_struct(struct: type[msgspec.Struct], name: str) -> msgspec.Struct:
    """Some value with only the required fields."""
    hints = get_type_hints(struct)
    needed = [field.name for field in msgspec.structs.fields(struct) if field.required]
    return struct(**{field: sample(hints[field], name) for field in needed})


class Recorder(Methods):
    """Answers every method with some result and keeps what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Command, type[Result], CallOptions]] = []

    async def _ask(self, command: Command, result: type[R], options: CallOptions) -> R:
        self.asked.append((command, result, options))
        return msgspec.convert(sample(result, "answer"), result)


@ROWS
def test_the_parameters_are_the_commands_fields(row: Method) -> None:
    names = list(parameters(row))
    required = [field.name for field in own_fields(row) if field.required]
    optional = [field.name for field in own_fields(row) if not field.required]
    assert names == ["self", *required, *optional, "options"]


@ROWS
def test_required_fields_may_be_positional_and_others_are_keywords(row: Method) -> None:
    kinds = {
        True: inspect.Parameter.POSITIONAL_OR_KEYWORD,
        False: inspect.Parameter.KEYWORD_ONLY,
    }
    for field in own_fields(row):
        assert parameters(row)[field.name].kind is kinds[field.required], field.name


@ROWS
def test_types_and_defaults_are_the_commands(row: Method) -> None:
    hints = get_type_hints(getattr(Client, row.name))
    wanted = get_type_hints(row.command)
    for field in own_fields(row):
        default = parameters(row)[field.name].default
        if field.default_factory is not msgspec.NODEFAULT:
            # A mutable default is None here, and the command's own takes its place.
            assert (hints[field.name], default) == (wanted[field.name] | None, None), field.name
        else:
            given = inspect.Parameter.empty if field.required else field.default
            assert (hints[field.name], default) == (wanted[field.name], given), field.name


@ROWS
def test_the_options_and_the_result_are_the_rows(row: Method) -> None:
    hints = get_type_hints(getattr(Client, row.name))
    assert hints["options"] == Unpack[ChangeOptions if row.changes else CallOptions]
    assert hints["return"] is row.result


def test_the_options_of_changes_are_the_fields_of_changing_commands() -> None:
    extra = get_type_hints(ChangeOptions).keys() - get_type_hints(CallOptions).keys()
    assert extra == set(ChangingCommand.__struct_fields__)
    assert (
        get_type_hints(ChangeOptions)["as_user_id"] == get_type_hints(ChangingCommand)["as_user_id"]
    )


@ROWS
async def test_every_parameter_reaches_its_field(row: Method) -> None:
    hints = get_type_hints(row.command)
    given = {field.name: sample(hints[field.name], field.name) for field in own_fields(row)}
    options: dict[str, Any] = {"request_id": "r-1", "timeout_s": 2.0}
    changing = {"as_user_id": "bob"} if row.changes else {}
    recorder = Recorder()
    result = await getattr(recorder, row.name)(**given, **options, **changing)
    assert recorder.asked == [(row.command(**given, **changing), row.result, options)]
    assert type(result) is row.result


@ROWS
async def test_what_is_left_out_is_the_commands_default(row: Method) -> None:
    hints = get_type_hints(row.command)
    given = {
        field.name: sample(hints[field.name], field.name)
        for field in own_fields(row)
        if field.required
    }
    recorder = Recorder()
    await getattr(recorder, row.name)(*given.values())
    assert recorder.asked == [(row.command(**given), row.result, {})]


@ROWS
def test_what_is_sent_makes_the_command_and_says_nothing_twice(row: Method) -> None:
    hints = get_type_hints(row.command)
    given = {field.name: sample(hints[field.name], field.name) for field in own_fields(row)}
    required = {field.name for field in own_fields(row) if field.required}
    for names in (given.keys(), required):
        command = row.command(**{name: given[name] for name in names})
        params = params_of(command)
        assert msgspec.convert(params, row.command) == command
        assert required <= params.keys() <= set(names)


@ROWS
def test_every_method_says_what_it_is_for(row: Method) -> None:
    first_line, *_ = (inspect.getdoc(getattr(Client, row.name)) or "").splitlines()
    assert first_line.endswith(".")


def test_there_is_no_method_without_a_row() -> None:
    typed = {
        name
        for name, _ in inspect.getmembers(Methods, inspect.iscoroutinefunction)
        if not name.startswith("_")
    }
    assert typed == METHODS.keys()
