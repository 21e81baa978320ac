"""Numbers of refused calls, and the exception that carries one.

What the rules refuse has its number in ``protocol.errors``; here are those of the call itself
(``facts/hosted-api.md`` section 6).
"""

import enum
from collections.abc import Mapping
from typing import Final

import msgspec


class CallCode(enum.IntEnum):
    """Why a call was refused before, or beside, the rules."""

    INTERNAL = 10002
    UNKNOWN_COMMAND = 10003
    INVALID_PARAMETERS = 10004
    TOO_MANY_ACCOUNTS = 10005
    NOT_SUPPORTED_BY_TYPE = 10007
    ANSWER_TOO_LARGE = 10018
    NOT_OFFERED = 10026
    NO_HISTORY = 10044
    NOT_JSON = 60003
    WRONG_APP = 60006
    TOO_MANY_CALLS = 60007
    HTTP_FORMAT = 60008
    WRONG_URL = 60009
    NOT_ADMIN = 60010
    APP_MISSING = 60012
    WRONG_QUERY = 60025
    TOO_MANY_FAILURES = 70050


CALL_CODES: Final[Mapping[CallCode, str]] = {
    CallCode.INTERNAL: "the server failed; what was asked for may have been done",
    CallCode.UNKNOWN_COMMAND: "the service has no command of this name",
    CallCode.INVALID_PARAMETERS: "a field is missing, of the wrong type or out of its range",
    CallCode.TOO_MANY_ACCOUNTS: "a list is longer than the command takes",
    CallCode.NOT_SUPPORTED_BY_TYPE: "the type of the group does not support this",
    CallCode.ANSWER_TOO_LARGE: "the answer would be larger than REST_ANSWER_BYTES; ask for less",
    CallCode.NOT_OFFERED: "this server does not offer the command",
    CallCode.NO_HISTORY: "groups of this type keep no messages",
    CallCode.NOT_JSON: "the body is no JSON, or has the same key twice; an empty request is {}",
    CallCode.WRONG_APP: "sdkappid is not the number of this server's app",
    CallCode.TOO_MANY_CALLS: "more calls of this command per second than REST_CALLS_PER_S",
    CallCode.HTTP_FORMAT: "not a POST or GET, a body over REST_BODY_BYTES, or one that is broken "
    "or took longer than REST_BODY_MS",
    CallCode.WRONG_URL: "there is no such service; the path is /v4/<service>/<command>",
    CallCode.NOT_ADMIN: "identifier is not one of the operator's accounts",
    CallCode.APP_MISSING: "sdkappid is missing",
    CallCode.WRONG_QUERY: "identifier is missing, contenttype is not json or random no number",
    CallCode.TOO_MANY_FAILURES: "too many signatures were wrong; wait a minute",
}
"""Every member of CallCode has a row; the README's table is printed from here."""


class CallRefused(Exception):
    """A call that is answered with FAIL; but for INTERNAL and ANSWER_TOO_LARGE nothing was changed.

    Args:
        code: a number of the original's, or of ``protocol.errors``.
        info: what was wrong, where, and what to do; nothing secret.
    """

    def __init__(self, code: int, info: str) -> None:
        self.code = code
        self.info = info
        super().__init__(f"{code}: {info}")

    @classmethod
    def of(cls, code: CallCode, info: str | None = None) -> "CallRefused":
        """Of a row of CALL_CODES; its sentence when ``info`` is None."""
        return cls(int(code), info or CALL_CODES[code])

    @classmethod
    def by_shape(cls, error: msgspec.ValidationError) -> "CallRefused":
        """A field of the wrong type; the place is a path from the body's root ``$``."""
        text = str(error)[:300]
        is_long_list = "`array` of length <=" in text
        code = CallCode.TOO_MANY_ACCOUNTS if is_long_list else CallCode.INVALID_PARAMETERS
        return cls(int(code), text)
