"""Bytes <-> frames, in MessagePack and JSON, with hard limits on what a peer may send.

The only module that names msgpack. ``decode`` reads what an untrusted client sends: it refuses
everything outside the value space of ``protocol.md`` ("Values, the same in both codecs") before
anything else looks at it. ``decode_server`` is the SDK's side.
"""

import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, NoReturn, Protocol, get_args

import msgpack
import msgspec

from protocol.frames import ClientFrame, ServerFrame
from protocol.limits import MAX_INTEGER, default_limits


class Malformed(Exception):
    """These bytes are no message; the connection closes with 4400."""


class OutOfBounds(Exception):
    """A well-formed message with a value that is too big, too long or too deep.

    ``request_id`` is the id of the request that it is, for the error reply, or None when it is
    no request.
    """

    def __init__(self, message: str, request_id: str | None) -> None:
        self.message = message
        self.request_id = request_id
        super().__init__(message)


class ValueLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How large a decoded message may be."""

    array_items: int
    map_keys: int
    nesting: int

    @classmethod
    def of(cls, limits: Mapping[str, int]) -> "ValueLimits":
        """Taken from the table of ``protocol.limits``."""
        return cls(
            array_items=limits["ARRAY_ITEMS"],
            map_keys=limits["MAP_KEYS"],
            nesting=limits["NESTING"],
        )


DEFAULT_VALUE_LIMITS: Final = ValueLimits.of(default_limits())


class Codec(Protocol):
    """One encoding of the protocol, chosen by the WebSocket subprotocol."""

    name: str
    subprotocol: str
    is_binary: bool

    def encode(self, frame: object) -> bytes:
        """The bytes of a frame struct, or of a raw value in tests."""

    def decode(self, data: bytes, limits: ValueLimits = ...) -> object:
        """What a client sent, as maps, lists, strings, integers, floats, booleans and None.

        Raises:
            Malformed: not this encoding, or a value that the protocol does not have: a duplicate
                or non-string key, NaN, infinity, binary, extension types, lone surrogates.
            OutOfBounds: an integer beyond +-(2^53-1), or over ``limits``.
        """

    def decode_server(self, data: bytes) -> ServerFrame:
        """What a server sent; unknown fields are ignored.

        Raises:
            Malformed: not a frame of this protocol.
        """


class MsgpackCodec:
    """``muster.v1.msgpack``: binary frames."""

    name = "msgpack"
    subprotocol = "muster.v1.msgpack"
    is_binary = True

    def __init__(self) -> None:
        self.encode: Callable[[object], bytes] = msgspec.msgpack.Encoder().encode
        self._server_frames: msgspec.msgpack.Decoder[ServerFrame] = msgspec.msgpack.Decoder(
            ServerFrame
        )

    def decode(self, data: bytes, limits: ValueLimits = DEFAULT_VALUE_LIMITS) -> object:
        """See ``Codec.decode``."""
        try:
            value: object = msgpack.unpackb(
                data,
                raw=False,
                strict_map_key=True,
                object_pairs_hook=_unique_text_keys,
                ext_hook=_refuse_extension,
                max_str_len=len(data),
                max_bin_len=0,
                max_ext_len=0,
                max_array_len=limits.array_items,
                max_map_len=limits.map_keys,
            )
        except (msgpack.UnpackException, UnicodeError, RecursionError, OverflowError) as error:
            raise Malformed(f"not MessagePack: {_short(error)}") from error
        except ValueError as error:
            self._raise_for(error, data)
        _check_bounds(value, limits)
        return value

    def decode_server(self, data: bytes) -> ServerFrame:
        """See ``Codec.decode_server``."""
        try:
            return self._server_frames.decode(data)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise Malformed(f"not a frame: {_short(error)}") from error

    def _raise_for(self, error: ValueError, data: bytes) -> NoReturn:
        """Tell too long (answered, the connection lives) from malformed."""
        text = str(error)
        if "max_array_len" in text or "max_map_len" in text:
            raise OutOfBounds(f"over the limit: {text}", _peek_request_id(data)) from error
        raise Malformed(f"not MessagePack: {_short(error)}") from error


class JsonCodec:
    """``muster.v1.json``: text frames."""

    name = "json"
    subprotocol = "muster.v1.json"
    is_binary = False

    def __init__(self) -> None:
        self.encode: Callable[[object], bytes] = msgspec.json.Encoder().encode
        self._client_values = json.JSONDecoder(
            object_pairs_hook=_unique_text_keys, parse_constant=_refuse_constant
        )
        self._server_frames: msgspec.json.Decoder[ServerFrame] = msgspec.json.Decoder(ServerFrame)

    def decode(self, data: bytes, limits: ValueLimits = DEFAULT_VALUE_LIMITS) -> object:
        """See ``Codec.decode``."""
        try:
            text = data.decode("utf-8")
            value: object = self._client_values.decode(text)
        except (ValueError, RecursionError) as error:
            raise Malformed(f"not JSON: {_short(error)}") from error
        _check_bounds(value, limits)
        # Only an escape can bring a lone surrogate in: UTF-8 itself cannot spell one.
        if "\\u" in text:
            _refuse_lone_surrogates(value)
        return value

    def decode_server(self, data: bytes) -> ServerFrame:
        """See ``Codec.decode_server``."""
        try:
            return self._server_frames.decode(data)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise Malformed(f"not a frame: {_short(error)}") from error


def to_client_frame(value: object) -> ClientFrame:
    """A decoded message as its frame.

    Raises:
        msgspec.ValidationError: not the shape of a frame; the message names the place.
    """
    kind = value.get("type") if isinstance(value, dict) else None
    # One of several is found out anew at each call; what is of no known kind shall be told so.
    wanted = _CLIENT_FRAMES.get(kind, ClientFrame) if isinstance(kind, str) else ClientFrame
    frame: ClientFrame = msgspec.convert(value, wanted)
    return frame


_CLIENT_FRAMES: Final[Mapping[str, type[ClientFrame]]] = {
    str(frame.__struct_config__.tag): frame for frame in get_args(ClientFrame)
}


def request_id_of(value: object) -> str | None:
    """The id under which a decoded message expects an answer, or None."""
    if isinstance(value, dict) and value.get("type") == "request":
        request_id = value.get("id")
        if isinstance(request_id, str):
            return request_id
    return None


def _unique_text_keys(pairs: Sequence[tuple[Any, Any]]) -> dict[str, object]:
    result: dict[str, object] = {}
    for key, value in pairs:
        if type(key) is not str:
            raise Malformed("a map key is not a string")
        result[key] = value
    if len(result) != len(pairs):
        raise Malformed("a map has the same key twice")
    return result


def _refuse_extension(_code: int, _data: bytes) -> NoReturn:
    raise Malformed("extension types are not part of the protocol")


def _refuse_constant(name: str) -> NoReturn:
    raise Malformed(f"{name} is not part of the protocol")


def _check_bounds(value: object, limits: ValueLimits) -> None:
    trouble = _first_trouble(value, limits, limits.nesting)
    if trouble is not None:
        raise OutOfBounds(trouble, request_id_of(value))


def _first_trouble(value: object, limits: ValueLimits, levels_left: int) -> str | None:
    """What is out of bounds in ``value``, or None; raises Malformed for what is no value."""
    if isinstance(value, dict):
        if len(value) > limits.map_keys:
            return f"a map has more than {limits.map_keys} keys"
        items: Collection[object] = value.values()
    elif isinstance(value, list):
        if len(value) > limits.array_items:
            return f"an array has more than {limits.array_items} items"
        items = value
    else:
        return _scalar_trouble(value)
    if levels_left == 0:
        return f"nested deeper than {limits.nesting}"
    for item in items:
        if type(item) is not str and (trouble := _first_trouble(item, limits, levels_left - 1)):
            return trouble
    return None


def _scalar_trouble(value: object) -> str | None:
    if value is None or isinstance(value, str | bool):
        return None
    if isinstance(value, int):
        is_safe = -MAX_INTEGER <= value <= MAX_INTEGER
        return None if is_safe else "an integer is beyond +-(2^53-1)"
    if isinstance(value, float):
        if math.isfinite(value):
            return None
        raise Malformed("a number is not finite")
    raise Malformed("binary is not part of the protocol")


def _refuse_lone_surrogates(value: object) -> None:
    try:
        msgspec.json.encode(value)
    except UnicodeEncodeError as error:
        raise Malformed("a string holds a lone surrogate") from error


def _peek_request_id(data: bytes) -> str | None:
    """The id of a request whose content is over the limits, found without building the content.

    Raises:
        Malformed: the bytes are no whole message.
    """
    unpacker = msgpack.Unpacker(
        raw=False,
        strict_map_key=True,
        max_buffer_size=len(data),
        max_str_len=len(data),
        max_map_len=len(data),
        # Nothing that is unpacked here may be one of these; what is skipped takes no room.
        max_array_len=0,
        max_bin_len=0,
        max_ext_len=0,
    )
    unpacker.feed(data)
    found: dict[str, object] = {}
    try:
        for _ in range(unpacker.read_map_header()):
            key = unpacker.unpack()
            if key in ("type", "id"):
                found[key] = unpacker.unpack()
            else:
                unpacker.skip()
    except (msgpack.UnpackException, ValueError, TypeError, RecursionError) as error:
        raise Malformed(f"not MessagePack: {_short(error)}") from error
    if unpacker.tell() != len(data):
        raise Malformed("not MessagePack: there is more behind the message")
    return request_id_of(found)


def _short(error: BaseException) -> str:
    """An error's first words; never the data itself, which may be long or not printable."""
    return f"{type(error).__name__}: {error}"[:120]


MSGPACK: Final = MsgpackCodec()
JSON: Final = JsonCodec()
CODECS: Final[Mapping[str, Codec]] = {codec.subprotocol: codec for codec in (MSGPACK, JSON)}
"""Subprotocol -> codec, in the server's order of preference."""
