"""A connection that asks for one thing after the other, for setting things up."""

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from protocol.codec import MSGPACK
from scripts.common.link import Link, open_link
from scripts.common.target import Target, Trouble

_ANSWER_S: Final = 30.0
_PER_CALL: Final = 100
_numbers: Final = itertools.count()  # of all callers: a request id is its user's, not a device's


class _FromServer(msgspec.Struct, tag_field="type"):
    """Nothing but what kind of frame it is."""


class _Welcome(_FromServer, tag="welcome"):
    cursor: str


class _Events(_FromServer, tag="events"):
    pass


class _Reply(_FromServer, tag="reply"):
    id: str
    result: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


class _Bye(_FromServer, tag="bye"):
    reason: str


_Frame = _Welcome | _Events | _Reply | _Bye
_DECODE: Final = msgspec.msgpack.Decoder[_Frame](_Frame).decode


class Caller:
    """One device of a user.

    Attributes:
        cursor: where it was in the log when it was welcomed.
    """

    def __init__(self) -> None:
        self.cursor = ""
        self._link: Link | None = None
        self._waiting: dict[str, asyncio.Future[_Reply]] = {}
        self._welcomed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def connect(self, target: Target, user_id: str, device_id: str = "bench") -> None:
        """Be welcomed."""
        self._link = await open_link(
            target.url, MSGPACK.subprotocol, self._on_message, self._on_lost
        )
        hello = {
            "type": "hello",
            "user_id": user_id,
            "user_sig": target.sign(user_id),
            "device_id": device_id,
            "platform": "bench",
        }
        self._link.send(MSGPACK.encode(hello), is_binary=True)
        async with asyncio.timeout(_ANSWER_S):
            await self._welcomed

    async def call(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """The result of a request; raises Trouble when it is refused."""
        request_id = f"c{next(_numbers)}"
        self._waiting[request_id] = asyncio.get_running_loop().create_future()
        self._send(request_id, method, params)
        async with asyncio.timeout(_ANSWER_S):
            reply = await self._waiting[request_id]
        if reply.error:
            raise Trouble(f"{method} was refused: {msgspec.msgpack.decode(reply.error)}")
        result: dict[str, Any] = msgspec.msgpack.decode(reply.result)
        return result

    def end(self) -> None:
        """Break the connection."""
        if self._link is not None:
            self._link.mute()
            self._link.abort()

    def _send(self, request_id: str, method: str, params: Mapping[str, Any]) -> None:
        assert self._link is not None
        message = {"type": "request", "id": request_id, "method": method, "params": params}
        self._link.send(MSGPACK.encode(message), is_binary=True)

    def _on_message(self, payload: bytes) -> None:
        frame = _DECODE(payload)
        if isinstance(frame, _Reply):
            self._on_reply(frame)
        elif isinstance(frame, _Welcome):
            self.cursor = frame.cursor
            self._welcomed.set_result(None)

    def _on_reply(self, reply: _Reply) -> None:
        self._waiting.pop(reply.id).set_result(reply)

    def _on_lost(self, code: int | None, reason: str) -> None:
        raise Trouble(f"a connection was lost: {code} {reason}")


async def make_group(owner: Caller, group_type: str, user_ids: Sequence[str]) -> str:
    """A group of the owner and these users; returns its ID."""
    made = await owner.call("create_group", {"type": group_type, "name": "Bench"})
    group_id = str(made["group"]["group_id"])
    for start in range(0, len(user_ids), _PER_CALL):
        names = list(user_ids[start : start + _PER_CALL])
        await owner.call("invite_members", {"group_id": group_id, "user_ids": names})
    return group_id
