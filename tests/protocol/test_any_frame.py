"""Every frame, every method's parameters, results and events: what is written is what is read."""

from typing import get_args

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import assume, given, settings

from protocol import frames
from protocol.client_frames import read_frame
from protocol.codec import JSON, MSGPACK, Codec, to_client_frame
from protocol.events import EVENT_DATA, Event
from protocol.limits import default_limits
from protocol.methods import METHODS, Method
from protocol.vocabulary import EventKind
from tests.kit.struct_values import levels_of, values_of

BOTH = pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=["json", "msgpack"])
NESTING = default_limits()["NESTING"]
FEW = settings(max_examples=30, deadline=None)


@BOTH
@pytest.mark.parametrize("kind", get_args(frames.ClientFrame))
@FEW
@given(data=st.data())
def test_a_clients_frame(codec: Codec, kind: type[msgspec.Struct], data: st.DataObject) -> None:
    frame = data.draw(values_of(kind))
    assert to_client_frame(codec.decode(codec.encode(frame))) == frame


@BOTH
@pytest.mark.parametrize("kind", get_args(frames.ServerFrame))
@FEW
@given(data=st.data())
def test_a_servers_frame(codec: Codec, kind: type[msgspec.Struct], data: st.DataObject) -> None:
    frame = data.draw(values_of(kind))
    again = codec.decode_server(codec.encode(frame))
    assert again == frame
    assert read_frame(codec, codec.encode(frame)) == frame
    other = MSGPACK if codec is JSON else JSON
    assert other.decode_server(other.encode(again)) == frame


@BOTH
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@FEW
@given(data=st.data())
def test_a_methods_parameters_and_result(codec: Codec, method: Method, data: st.DataObject) -> None:
    command = data.draw(values_of(method.command))
    request = frames.Request(id="r", method=method.name, params=as_map(command))
    assume(levels_of(msgspec.to_builtins(request)) <= NESTING)
    taken = to_client_frame(codec.decode(codec.encode(request)))
    assert isinstance(taken, frames.Request)
    assert msgspec.convert(taken.params, method.command) == command
    result = data.draw(values_of(method.result))
    reply = codec.decode_server(codec.encode(frames.Reply(id="r", cursor="k:1", result=result)))
    assert isinstance(reply, frames.Reply)
    assert msgspec.convert(reply.result, method.result) == result


@BOTH
@pytest.mark.parametrize("kind", EVENT_DATA)
@FEW
@given(data=st.data())
def test_an_event(codec: Codec, kind: tuple[EventKind, str], data: st.DataObject) -> None:
    content = data.draw(values_of(EVENT_DATA[kind]))
    event = Event(kind=kind[0], event=kind[1], group_id="g", time_ms=1, seq=1, data=content)
    said = codec.encode(frames.Events(cursor="k:1", events=[event]))
    heard = codec.decode_server(said)
    assert isinstance(heard, frames.Events)
    assert heard.events[0].typed_data() == content
    assert codec.encode(heard) == said, "passed on as it came"


def as_map(command: msgspec.Struct) -> dict[str, object]:
    """A command's parameters as they travel."""
    params: dict[str, object] = msgspec.to_builtins(command)
    return params
