"""From a decoded message to its answer: known? allowed now? then the executor or the queries.

The only place where a refusal becomes an error reply.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable
from typing import Any, Final

import msgspec

from protocol.commands import ChangingCommand, Command
from protocol.errors import ErrorCode, Refused
from protocol.frames import Request
from protocol.identifiers import is_request_id
from protocol.methods import METHODS, Method
from protocol.results import ErrorBody
from server.domain.jobs import RecognizeUser
from server.domain.model import Actor, Origin
from server.domain.refusals import error_body
from server.domain.rules import Rulebook
from server.service.access import Reader
from server.service.approval import Question
from server.service.changes import Changes
from server.service.gates import ConnectionGate, actor_of
from server.service.ports import Clock, OutcomeUnknown, RequestKey, Unavailable
from server.service.queries import Queries
from server.service.turns import Turns

log = logging.getLogger(__name__)

_ENCODE = msgspec.msgpack.Encoder().encode

UNKNOWN: Final = "unknown"
"""What requests are counted as whose method is none; there is no method of this name."""

Reply = Callable[[str, Any, ErrorBody | None], None]
"""Called once per request with its id and the result, or the error."""


class Change:
    """A changing request that is not answered yet; mostly nobody waits for it but its client."""

    __slots__ = ("_has_ended", "_waiter")

    def __init__(self) -> None:
        self._has_ended = False
        self._waiter: asyncio.Future[None] | None = None

    async def ended(self) -> None:
        """Return once it is answered."""
        if self._has_ended:
            return
        if self._waiter is None:
            self._waiter = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._waiter)

    def end(self) -> None:
        """It is answered."""
        self._has_ended = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Caller:
    """A connection as the service sees it; ``origin`` is what is told of it outside.

    ``changes`` are the changing requests that are not answered yet: a read that comes after
    them waits for them, so that requests take effect in the order in which they were sent.
    """

    __slots__ = ("changes", "gate", "origin", "reader", "reply", "turns")

    def __init__(
        self, reader: Reader, gate: ConnectionGate, reply: Reply, origin: Origin | None = None
    ) -> None:
        self.reader = reader
        self.gate = gate
        self.reply = reply
        self.origin = Origin(caller_id=reader.user_id) if origin is None else origin
        self.changes: set[Change] = set()
        self.turns: Turns | None = None


class Dispatcher:
    """Answers requests, each exactly once through ``caller.reply``.

    Attributes:
        requests: how many came, by method; UNKNOWN for those of none.
        refusals: how many were refused, by code.
    """

    def __init__(
        self,
        changes: Changes,
        queries: Queries,
        clock: Clock,
        rulebook: Rulebook,
    ) -> None:
        self._changes = changes
        self._rulebook = rulebook
        self._queries = queries
        self._clock = clock
        self._reads: set[asyncio.Task[None]] = set()
        self.requests = dict.fromkeys([*METHODS, UNKNOWN], 0)
        self.refusals = dict.fromkeys(ErrorCode, 0)

    def recognize(self, user_id: str) -> None:
        """A user has logged in; remembered where users must be known."""
        if self._rulebook.requires_known_users:
            question = Question(RecognizeUser(), Actor(user_id), Origin(), None, b"")
            self._changes.submit(question, lambda _result, _refused: None)

    def handle(self, request: Request, caller: Caller) -> None:
        """Take a request; its answer comes by ``caller.reply``, perhaps before this returns.

        Raises:
            Refused: BAD_REQUEST for an id under which no answer could be given.
        """
        if not is_request_id(request.id):
            raise Refused(
                ErrorCode.BAD_REQUEST, "id is 1 to 64 bytes of printable ASCII", field="id"
            )
        self.requests[request.method if request.method in METHODS else UNKNOWN] += 1
        try:
            caller.gate.enter(self._clock.monotonic_s())
        except Refused as refusal:
            caller.reply(request.id, None, self.refused(refusal))
            return
        try:
            method, command = _parse(request)
            if isinstance(command, ChangingCommand):
                self._change(request, method, command, caller)
                return
        except Refused as refusal:
            self._finish(caller, request.id, None, refusal)
            return
        task = asyncio.ensure_future(self._read(request.id, command, caller, set(caller.changes)))
        self._reads.add(task)
        task.add_done_callback(self._reads.discard)

    def refused(self, refusal: Refused) -> ErrorBody:
        """The error of a reply, counted."""
        self.refusals[refusal.code] += 1
        return error_body(refusal)

    async def settled(self) -> None:
        """Return once everything that was taken is answered."""
        await self._changes.settled()
        if self._reads:
            await asyncio.wait(set(self._reads))

    async def stop(self) -> None:
        """End what waits for a word, and the reads, also those that wait for such changes."""
        await self._changes.stop()
        for task in self._reads:
            task.cancel()
        await asyncio.gather(*self._reads, return_exceptions=True)

    def _change(
        self, request: Request, method: Method, command: ChangingCommand, caller: Caller
    ) -> None:
        actor = actor_of(
            command,
            caller.reader.user_id,
            is_app_admin=caller.reader.is_app_admin,
            user_id_bytes=self._rulebook.limits["USER_ID_BYTES"],
        )
        content = method.name.encode() + b"\0" + _ENCODE(command)
        digest = hashlib.blake2b(content, digest_size=16).digest()
        change = Change()
        caller.changes.add(change)

        def answer(result: object | None, refusal: Refused | None) -> None:
            change.end()
            caller.changes.discard(change)
            self._finish(caller, request.id, result, refusal)

        key = RequestKey(caller.reader.user_id, request.id)
        if self._changes.waits and caller.turns is None:
            caller.turns = Turns()
        question = Question(command, actor, caller.origin, key, digest)
        self._changes.submit(question, answer, caller.turns)

    async def _read(
        self,
        request_id: str,
        command: Command,
        caller: Caller,
        earlier_changes: set[Change],
    ) -> None:
        try:
            for change in earlier_changes:
                await change.ended()
            result = await self._queries.answer(command, caller.reader)
        except Refused as refusal:
            self._finish(caller, request_id, None, refusal)
        except (Unavailable, OutcomeUnknown):
            self._finish(caller, request_id, None, Refused(ErrorCode.UNAVAILABLE))
        except Exception:
            log.exception("reading %s failed", type(command).__name__)
            self._finish(caller, request_id, None, Refused(ErrorCode.INTERNAL))
        else:
            self._finish(caller, request_id, result, None)

    def _finish(
        self, caller: Caller, request_id: str, result: object | None, refusal: Refused | None
    ) -> None:
        caller.gate.leave()
        caller.reply(request_id, result, None if refusal is None else self.refused(refusal))


def _parse(request: Request) -> tuple[Method, Command]:
    method = METHODS.get(request.method)
    if method is None:
        raise Refused(
            ErrorCode.UNKNOWN_METHOD,
            f"no method {request.method[:64]!r}; list_methods names them all",
            field="method",
        )
    try:
        return method, msgspec.convert(request.params, method.command)
    except msgspec.ValidationError as error:
        raise bad_request(error, "params") from error


def bad_request(error: msgspec.ValidationError, root: str) -> Refused:
    """A shape error as a refusal that names the place, the root called ``root``."""
    text, _, path = str(error).partition(" - at `$")
    field = root + path.rstrip("`") if path else root
    # The message of an unknown or missing field names it in backquotes instead of in the path.
    if "unknown field `" in text or "missing required field `" in text:
        field += "." + text.split("`")[1]
    return Refused(ErrorCode.BAD_REQUEST, f"{text} (at {field})", field=field)
