"""The HTTP side: from a request to the command's answer, always with status 200."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from aiohttp import web

from protocol.dialect import REST_PLATFORM
from protocol.errors import Refused
from server.domain.model import Origin
from server.domain.rules import Rulebook
from server.rest.bodies import BodyReader
from server.rest.calls import Calls, name_of
from server.rest.codes import CallCode, CallRefused
from server.rest.commands import COMMANDS, TABLE
from server.rest.entrance import Entrance
from server.rest.openapi import document
from server.rest.registry import Absent, Call, Command, Row
from server.rest.shapes import Answer, TopicRequest, without_nulls
from server.rest.words import told
from server.service.operator import Operator

log = logging.getLogger(__name__)

_JSON: Final = "application/json"
_ENCODE: Final = msgspec.json.Encoder().encode
_SERVICES: Final = frozenset(row.service for row in TABLE.values())


class RestApi:
    """Answers ``POST /v4/<service>/<command>``, and ``GET /openapi.json``.

    A GET of a command is a call with an empty request.

    Args:
        new_id: makes the number of a call, for the log and the header ``X-Request-Id``.
        is_behind_proxy: a proxy names the callers' addresses.

    Attributes:
        calls: what is counted of them.
    """

    def __init__(
        self,
        *,
        operator: Operator,
        entrance: Entrance,
        rulebook: Rulebook,
        new_id: Callable[[], str],
        is_behind_proxy: bool,
    ) -> None:
        self._operator = operator
        self._entrance = entrance
        self._new_id = new_id
        self._is_behind_proxy = is_behind_proxy
        self._bodies = BodyReader(rulebook)
        self._answer_bytes = rulebook.limits["REST_ANSWER_BYTES"]
        self.calls = Calls()
        self._openapi = _ENCODE(document(COMMANDS))

    def add_to(self, app: web.Application) -> None:
        """Take the paths of the API."""
        app.router.add_route("*", "/v4", self._handle)
        app.router.add_route("*", r"/v4/{place:[\s\S]*}", self._handle)
        app.router.add_get("/openapi.json", self._describe)

    async def _describe(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._openapi, content_type=_JSON)

    async def _handle(self, request: web.Request) -> web.Response:
        call_id = self._new_id()
        started_s = asyncio.get_running_loop().time()
        address = peer_address(
            request.headers, request.remote, is_behind_proxy=self._is_behind_proxy
        )
        service, _, name = request.match_info.get("place", "").partition("/")
        row = TABLE.get((service, name))
        admin_id = ""
        try:
            check_place(service, name, request.method)
            authorization = request.headers.get("Authorization", "")
            admin_id = self._entrance.admit(request.query, authorization, address)
            command = self._chosen(row)
            origin = Origin(caller_id=admin_id, platform=REST_PLATFORM, address=address)
            answer = await self._answer(command, origin, await self._bodies.read(request))
            body = _ENCODE(answer)
            if len(body) > self._answer_bytes:
                raise CallRefused.of(CallCode.ANSWER_TOO_LARGE)
            code = answer.error_code
        except CallRefused as refused:
            code = refused.code
            body = _ENCODE(failure(refused))
        except Exception:
            log.exception("call %s failed", call_id)
            code = int(CallCode.INTERNAL)
            body = _ENCODE(failure(CallRefused.of(CallCode.INTERNAL)))
        took_ms = (asyncio.get_running_loop().time() - started_s) * 1000
        self.calls.add(row, code, took_ms)
        # The address has the token in it, the path may have it by mistake: only what we know of
        # them is written down.
        log.info(
            "call %s of %s by %s from %s: %d, %.0f ms",
            call_id,
            name_of(row),
            admin_id or "nobody",
            address[:64] or "nowhere",
            code,
            took_ms,
        )
        return web.Response(body=body, content_type=_JSON, headers={"X-Request-Id": call_id})

    def _chosen(self, row: Row | None) -> Command:
        """The command of a row, whose turn it is.

        Raises:
            CallRefused: there is none, this server does not have it, or not now.
        """
        if row is None:
            raise CallRefused.of(CallCode.UNKNOWN_COMMAND)
        if isinstance(row, Absent):
            raise CallRefused.of(row.code, row.reason)
        self._entrance.take_turn(row.path, row.calls_per_s)
        return row

    async def _answer(self, command: Command, origin: Origin, body: object) -> Answer:
        try:
            asked: Any = msgspec.convert(without_nulls(body), command.request)
            if isinstance(asked, TopicRequest) and asked.topic_id:
                # Done to the whole group it would not be what was asked for.
                raise CallRefused.of(CallCode.NOT_OFFERED, "TopicId: this server has no topics")
            return await command.handler(Call(self._operator, origin), asked)
        except msgspec.ValidationError as error:
            raise CallRefused.by_shape(error) from error
        except Refused as refused:
            field = str(refused.detail.get("field", ""))
            message = told(refused.message, field, command.request.__struct_encode_fields__)
            raise CallRefused(refused.number, message) from refused


def check_place(service: str, name: str, method: str) -> None:
    """Return if a command may be at this place, called in this way.

    Raises:
        CallRefused: WRONG_URL or HTTP_FORMAT.
    """
    if service not in _SERVICES or not name or "/" in name:
        raise CallRefused.of(CallCode.WRONG_URL)
    if method not in ("POST", "GET"):
        raise CallRefused.of(CallCode.HTTP_FORMAT)


def failure(refused: CallRefused) -> Answer:
    """The envelope of a refused call."""
    return Answer(action_status="FAIL", error_code=refused.code, error_info=refused.info)


def peer_address(headers: Mapping[str, str], peer: str | None, *, is_behind_proxy: bool) -> str:
    """Where a call comes from: the peer, or whom the proxy names last."""
    if is_behind_proxy:
        named = headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
        if named:
            return named
    return peer or ""
