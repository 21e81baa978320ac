"""The calls that wait for a reply: which to send next, which to send again."""

import asyncio
import heapq
import secrets
import time
from collections.abc import Mapping
from typing import Final

import msgspec

from protocol.client_frames import UNLIMITED
from protocol.codec import Codec, Malformed, OutOfBounds
from protocol.commands import Command
from protocol.errors import ErrorCode, Refused
from protocol.frames import Reply, Request

_BASE32: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def new_request_id() -> str:
    """26 characters: 48 bits of time in ms and 80 that nobody can guess, so ids sort by age."""
    number = (time.time_ns() // 1_000_000 << 80) | secrets.randbits(80)
    return "".join(_BASE32[number >> shift & 31] for shift in range(125, -1, -5))


def params_of(command: Command) -> dict[str, object]:
    """The fields of ``command`` that are not at their defaults.

    An older server refuses fields that it does not know, so what says nothing is not sent; and
    a call repeated by a newer SDK has the same content.
    """
    params: dict[str, object] = msgspec.to_builtins(command)
    for field in msgspec.structs.fields(command):
        factory = field.default_factory
        default = field.default if factory is msgspec.NODEFAULT else factory()
        if getattr(command, field.name) == default:
            del params[field.encode_name]
    return params


def encode_request(
    codec: Codec, request_id: str, method: str, params: Mapping[str, object]
) -> bytes:
    """The bytes of a request.

    Raises:
        Refused: BAD_REQUEST, for values that the protocol does not have, such as NaN or bytes;
            the server would close the connection over them, and with it every other call.
        TypeError: a value of a type that cannot be encoded at all.
    """
    try:
        data = codec.encode(Request(id=request_id, method=method, params=dict(params)))
        codec.decode(data, UNLIMITED)
    except (Malformed, OutOfBounds, OverflowError, UnicodeError) as error:
        raise Refused(ErrorCode.BAD_REQUEST, f"params cannot be sent: {error}") from error
    return data


class Call(msgspec.Struct, eq=False, kw_only=True):
    """One call as it waits for its reply.

    ``number`` orders calls as they were made; ``data`` is the encoded request, the same bytes
    each time it is sent, because an id with other content is refused.
    """

    id: str
    number: int
    data: bytes
    reply: asyncio.Future[Reply]


class Calls:
    """The calls of one client across its connections.

    A call waits from ``add`` to its reply or to ``abandon``. On each connection it is sent once,
    in the order of the numbers, and never more than the given limit are unanswered there.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, Call] = {}
        # Sent on this connection and not answered on it, whether or not anybody still waits:
        # the server counts them all.
        self._in_flight: dict[str, bytes] = {}
        self._to_send: list[tuple[int, str]] = []

    def __len__(self) -> int:
        """How many calls wait for a reply."""
        return len(self._waiting)

    def add(self, call: Call) -> None:
        """Let ``call`` be sent, unless the same is in flight already and only lost its caller.

        Raises:
            ValueError: another call with this id waits or is in flight.
        """
        sent = self._in_flight.get(call.id)
        if call.id in self._waiting or sent not in (None, call.data):
            raise ValueError(f"a call with the request id {call.id!r} is in flight")
        self._waiting[call.id] = call
        heapq.heappush(self._to_send, (call.number, call.id))

    def abandon(self, call: Call) -> None:
        """Forget ``call``: nobody waits for its reply any more."""
        if self._waiting.get(call.id) is call:  # not another one that repeats it
            del self._waiting[call.id]

    def take_next(self, limit: int) -> Call | None:
        """The call to send now, from now on in flight; None when none waits or ``limit`` are.

        A ``limit`` of 0 means none.
        """
        while self._to_send and (not limit or len(self._in_flight) < limit):
            _, request_id = heapq.heappop(self._to_send)
            call = self._waiting.get(request_id)
            if call is not None and request_id not in self._in_flight:
                self._in_flight[request_id] = call.data
                return call
        return None

    def answer(self, reply: Reply) -> None:
        """Hand ``reply`` to its call; one that nobody waits for is dropped."""
        self._in_flight.pop(reply.id, None)
        call = self._waiting.pop(reply.id, None)
        if call is not None and not call.reply.done():
            call.reply.set_result(reply)

    def refuse(self, call: Call, error: Refused) -> None:
        """End ``call``, which ``take_next`` gave and which was not sent, with ``error``."""
        self._in_flight.pop(call.id, None)
        self.abandon(call)
        if not call.reply.done():
            call.reply.set_exception(error)

    def lose_connection(self) -> None:
        """Let every call that still waits be sent on the next connection, in the first order."""
        self._in_flight.clear()
        self._to_send = sorted((call.number, call.id) for call in self._waiting.values())

    def fail(self, error: Exception) -> None:
        """End every call with ``error``."""
        for call in self._waiting.values():
            if not call.reply.done():
                call.reply.set_exception(error)
        self._waiting.clear()
