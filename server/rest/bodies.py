"""The body of a request: read within bounds, unpacked, decoded."""

import asyncio
import zlib
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from protocol.codec import JSON, Malformed, OutOfBounds, ValueLimits
from server.domain.rules import Rulebook
from server.rest.codes import CallCode, CallRefused

_BROKEN: Final = (TimeoutError, ConnectionError, HttpProcessingError, web.RequestPayloadError)
"""What reading raises when the peer is slow, is gone, or sends what is no HTTP."""

_UNPACKERS: Final = {
    "": (),
    "identity": (),
    "gzip": (zlib.MAX_WBITS | 16,),
    "x-gzip": (zlib.MAX_WBITS | 16,),
    # RFC 9110 section 8.4.1.2: with the header of zlib; some clients leave it out.
    "deflate": (zlib.MAX_WBITS, -zlib.MAX_WBITS),
}
"""By Content-Encoding the ways to try, as numbers of ``zlib.decompressobj``."""


class BodyReader:
    """Reads what programs send, at most REST_BODY_BYTES of it, packed or not, in REST_BODY_MS.

    The listener must leave packed bodies as they are (``auto_decompress`` off).
    """

    def __init__(self, rulebook: Rulebook) -> None:
        limits = rulebook.limits
        self._most_bytes = limits["REST_BODY_BYTES"]
        self._most_s = limits["REST_BODY_MS"] / 1000
        self._values = ValueLimits(
            array_items=self._most_bytes, map_keys=limits["MAP_KEYS"], nesting=limits["NESTING"] + 4
        )

    async def read(self, request: web.Request) -> object:
        """The body as JSON values; of a GET an empty object.

        Raises:
            CallRefused: HTTP_FORMAT: too large, too slow, cut off, or not as its head says;
                NOT_JSON; INVALID_PARAMETERS: a value out of the bounds of all values.
        """
        if request.method == "GET":
            return {}  # as published clients of the original ask for the list of groups
        coding = request.headers.get("Content-Encoding", "").strip().lower()
        if coding not in _UNPACKERS:
            raise CallRefused.of(
                CallCode.HTTP_FORMAT, "the body is packed in another way than gzip or deflate"
            )
        data = self._unpacked(await self._sent(request), coding)
        try:
            return JSON.decode(data, self._values)
        except Malformed as error:
            raise CallRefused.of(CallCode.NOT_JSON, str(error)) from error
        except OutOfBounds as error:
            raise CallRefused.of(CallCode.INVALID_PARAMETERS, error.message) from error

    async def _sent(self, request: web.Request) -> bytes:
        if (request.content_length or 0) > self._most_bytes:
            raise CallRefused.of(CallCode.HTTP_FORMAT)
        data = bytearray()
        try:
            async with asyncio.timeout(self._most_s):
                async for chunk in request.content.iter_any():
                    data += chunk
                    if len(data) > self._most_bytes:
                        raise CallRefused.of(CallCode.HTTP_FORMAT)
        except _BROKEN as error:
            raise CallRefused.of(CallCode.HTTP_FORMAT) from error
        return bytes(data)

    def _unpacked(self, data: bytes, coding: str) -> bytes:
        ways = _UNPACKERS[coding]
        if not ways:
            return data
        for way in ways:
            unpacker = zlib.decompressobj(way)
            try:
                plain = unpacker.decompress(data, self._most_bytes + 1)
            except zlib.error:
                continue
            if unpacker.eof and len(plain) <= self._most_bytes:
                return plain
        raise CallRefused.of(CallCode.HTTP_FORMAT, f"the body is no {coding}, or too large")
