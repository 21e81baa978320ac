"""Every error code and close code, in two tables, and the exceptions that carry them.

Numbers are permanent. Where the hosted original has a number for the case it is used
(``facts/hosted-api.md`` section 6); the project's own start at 90001.
"""

import enum
from collections.abc import Mapping
from typing import Any, Final

import msgspec


class ErrorCode(enum.IntEnum):
    """Number of a refusal. The name is as permanent as the number."""

    INTERNAL = 10002
    UNKNOWN_METHOD = 10003
    BAD_REQUEST = 10004
    TOO_MANY_ACCOUNTS = 10005
    TOO_MANY_REQUESTS = 10006
    NO_PERMISSION = 10007
    OWNER_MAY_NOT_QUIT = 10009
    GROUP_NOT_FOUND = 10010
    INVALID_USER_ID = 10012
    ALREADY_MEMBER = 10013
    GROUP_FULL = 10014
    INVALID_GROUP_ID = 10015
    CALLBACK_REFUSED = 10016
    MUTED = 10017
    USER_NOT_FOUND = 10019
    GROUP_ID_TAKEN = 10021
    GROUP_MESSAGE_RATE = 10023
    ALREADY_HANDLED = 10024
    GROUP_ID_TAKEN_BY_YOU = 10025
    MESSAGE_NOT_FOUND = 10030
    RECALL_TOO_LATE = 10031
    NOT_RECALLABLE = 10032
    TOO_MANY_GROUPS = 10037
    ATTRIBUTE_KEY_TOO_LONG = 10045
    ATTRIBUTE_VALUE_TOO_LONG = 10046
    TOO_MANY_ATTRIBUTES = 10047
    ATTRIBUTES_TOO_LARGE = 10048
    ATTRIBUTE_NOT_FOUND = 10050
    TOO_MANY_MENTIONS = 10053
    ATTRIBUTE_CONFLICT = 10056
    TOO_MANY_COUNTERS = 10063
    VETOED = 10100
    MESSAGE_TOO_LARGE = 80002
    CALLBACK_FAILED = 80003
    REQUEST_ID_CONFLICT = 90001
    OUTCOME_UNKNOWN = 90002
    GROUP_VERSION_CONFLICT = 90003
    UNAVAILABLE = 90004

    @classmethod
    def _missing_(cls, value: object) -> "ErrorCode | None":
        """The row of a number out of a range: the operator's service chooses among those."""
        is_veto = isinstance(value, int) and cls.VETOED < value <= _LAST_VETO
        return cls.VETOED if is_veto else None


_LAST_VETO: Final = 10200


class ErrorSpec(msgspec.Struct, frozen=True):
    """One row: may the same request succeed later, the HTTP meaning, one sentence.

    The row stands for the numbers from its code up to ``last``, where that is set.
    """

    retryable: bool
    http_status: int
    text: str
    last: int | None = None


ERRORS: Final[Mapping[ErrorCode, ErrorSpec]] = {
    ErrorCode.INTERNAL: ErrorSpec(True, 500, "the server failed; nothing was changed"),
    ErrorCode.UNKNOWN_METHOD: ErrorSpec(False, 404, "there is no method of this name"),
    ErrorCode.BAD_REQUEST: ErrorSpec(
        False, 400, "a field is missing, unknown, of the wrong type or out of its range"
    ),
    ErrorCode.TOO_MANY_ACCOUNTS: ErrorSpec(False, 400, "the request names too many users"),
    ErrorCode.TOO_MANY_REQUESTS: ErrorSpec(
        True, 429, "too many requests at once or in this time; detail.rule says which limit"
    ),
    ErrorCode.NO_PERMISSION: ErrorSpec(
        False, 403, "the group's type or the caller's role does not allow this"
    ),
    ErrorCode.OWNER_MAY_NOT_QUIT: ErrorSpec(
        False, 403, "the owner of this type of group transfers or disbands it first"
    ),
    ErrorCode.GROUP_NOT_FOUND: ErrorSpec(False, 404, "no group has this ID, or it was disbanded"),
    ErrorCode.INVALID_USER_ID: ErrorSpec(
        False, 400, "a user ID is 1 to 32 bytes of printable ASCII"
    ),
    ErrorCode.ALREADY_MEMBER: ErrorSpec(False, 409, "the user is in the group already"),
    ErrorCode.GROUP_FULL: ErrorSpec(False, 409, "the group has reached its member limit"),
    ErrorCode.INVALID_GROUP_ID: ErrorSpec(
        False, 400, "a chosen group ID is printable ASCII with the prefix that its type asks for"
    ),
    ErrorCode.CALLBACK_REFUSED: ErrorSpec(
        False, 403, "the operator's own service does not allow this"
    ),
    ErrorCode.VETOED: ErrorSpec(
        False,
        403,
        "the operator's own service does not allow this, and has chosen the number and the message",
        _LAST_VETO,
    ),
    ErrorCode.CALLBACK_FAILED: ErrorSpec(
        True, 503, "the operator's own service was asked and did not answer; nothing was changed"
    ),
    ErrorCode.MUTED: ErrorSpec(False, 403, "the member or the whole group is muted"),
    ErrorCode.USER_NOT_FOUND: ErrorSpec(False, 404, "the user is unknown or not in the group"),
    ErrorCode.GROUP_ID_TAKEN: ErrorSpec(False, 409, "somebody else uses or used this group ID"),
    ErrorCode.GROUP_MESSAGE_RATE: ErrorSpec(
        True, 429, "more messages than the group's rate allows; this one was dropped"
    ),
    ErrorCode.ALREADY_HANDLED: ErrorSpec(
        False, 409, "somebody has handled this application; detail says who and how"
    ),
    ErrorCode.MESSAGE_NOT_FOUND: ErrorSpec(
        False, 404, "the group's log has no such message, or no longer"
    ),
    ErrorCode.RECALL_TOO_LATE: ErrorSpec(False, 403, "the time in which one may recall is over"),
    ErrorCode.NOT_RECALLABLE: ErrorSpec(
        False, 409, "this entry is no message, or was recalled already"
    ),
    ErrorCode.ATTRIBUTE_KEY_TOO_LONG: ErrorSpec(
        False, 400, "an attribute's or counter's key is too long"
    ),
    ErrorCode.ATTRIBUTE_VALUE_TOO_LONG: ErrorSpec(False, 400, "an attribute's value is too long"),
    ErrorCode.TOO_MANY_ATTRIBUTES: ErrorSpec(
        False, 409, "the group would have too many attributes"
    ),
    ErrorCode.ATTRIBUTES_TOO_LARGE: ErrorSpec(
        False, 409, "the group's attributes would be too large together"
    ),
    ErrorCode.ATTRIBUTE_NOT_FOUND: ErrorSpec(False, 404, "the group has no such attribute"),
    ErrorCode.TOO_MANY_MENTIONS: ErrorSpec(False, 400, "the message mentions too many users"),
    ErrorCode.ATTRIBUTE_CONFLICT: ErrorSpec(
        False, 409, "the group has changed since if_version; read its attributes again"
    ),
    ErrorCode.TOO_MANY_COUNTERS: ErrorSpec(False, 409, "the group would have too many counters"),
    ErrorCode.GROUP_ID_TAKEN_BY_YOU: ErrorSpec(False, 409, "your own group has this ID already"),
    ErrorCode.TOO_MANY_GROUPS: ErrorSpec(False, 409, "the user is in as many groups as allowed"),
    ErrorCode.MESSAGE_TOO_LARGE: ErrorSpec(False, 413, "the message's body exceeds its limit"),
    ErrorCode.REQUEST_ID_CONFLICT: ErrorSpec(
        False, 409, "this request id was used with other content; use a new one"
    ),
    ErrorCode.OUTCOME_UNKNOWN: ErrorSpec(
        True, 503, "the store failed midway; retry with the same id to learn the truth"
    ),
    ErrorCode.GROUP_VERSION_CONFLICT: ErrorSpec(
        False, 409, "the group has changed since if_version; read it again"
    ),
    ErrorCode.UNAVAILABLE: ErrorSpec(
        True, 503, "the server cannot store anything now; nothing was changed"
    ),
}
"""Every member of ErrorCode has a row; the README's table is printed from here."""


class CloseCode(enum.IntEnum):
    """Why the server closes a connection (``protocol.md``, Closing)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    MALFORMED = 4400
    NOT_AUTHENTICATED = 4401
    FORBIDDEN = 4403
    TOO_SLOW = 4408
    REPLACED = 4409
    TOO_LARGE = 4413
    TOO_MANY = 4429
    INTERNAL = 4500
    DRAINING = 4503


class CloseSpec(msgspec.Struct, frozen=True):
    """One row: should a client connect again by itself, and one sentence."""

    reconnect: bool
    text: str


CLOSES: Final[Mapping[CloseCode, CloseSpec]] = {
    CloseCode.NORMAL: CloseSpec(True, "normal"),
    CloseCode.GOING_AWAY: CloseSpec(True, "going away"),
    CloseCode.MALFORMED: CloseSpec(False, "a malformed frame, or a message before hello"),
    CloseCode.NOT_AUTHENTICATED: CloseSpec(False, "a bad, expired, revoked or missing signature"),
    CloseCode.FORBIDDEN: CloseSpec(False, "banned or not allowed (origin, account)"),
    CloseCode.TOO_SLOW: CloseSpec(True, "took nothing for too long, or said no hello in time"),
    CloseCode.REPLACED: CloseSpec(False, "the same device connected again, or too many devices"),
    CloseCode.TOO_LARGE: CloseSpec(False, "a message exceeds frame_bytes"),
    CloseCode.TOO_MANY: CloseSpec(True, "too many messages after warnings"),
    CloseCode.INTERNAL: CloseSpec(True, "internal error"),
    CloseCode.DRAINING: CloseSpec(True, "draining: restart or scale-down"),
}
"""Every member of CloseCode has a row; clients decide by ``reconnect``."""


class Refused(Exception):
    """A request that the rules do not allow; nothing was changed.

    Raised by the domain and the dispatcher, turned into an error reply in one place
    (``server.service.dispatcher``), and raised again by the SDK's ``call``.

    Args:
        code: a row of ERRORS.
        message: what was wrong, where, and what to do; the row's sentence when omitted.
        detail: JSON values; a refusal by a rule has ``rule``, ``have`` and ``need``.

    Attributes:
        number: what travels: the code's, or another one of its row's range.
    """

    def __init__(self, code: ErrorCode, message: str | None = None, **detail: object) -> None:
        self.code = code
        self.number = int(code)
        self.message = message or ERRORS[code].text
        self.detail: dict[str, Any] = detail
        super().__init__(f"{code.name} ({code.value}): {self.message}")

    @classmethod
    def vetoed(cls, number: int, message: str) -> "Refused":
        """The operator's service has refused with a number of its own, 10100 to 10200."""
        refused = cls(ErrorCode(number), message or None)
        refused.number = number
        return refused


class ConnectionRefused(Exception):
    """This connection cannot go on; it is told why and closed with ``code``.

    Args:
        code: a row of CLOSES.
        reason: one short sentence for the peer; never secret, never longer than 120 bytes.
        error_code: the original's number for the cause where it has one (70001 and so on).
        retry_after_ms: the earliest time for the client to come back, if it may.
    """

    def __init__(
        self,
        code: CloseCode,
        reason: str | None = None,
        *,
        error_code: int | None = None,
        retry_after_ms: int | None = None,
    ) -> None:
        self.code = code
        self.reason = reason or CLOSES[code].text
        self.error_code = error_code
        self.retry_after_ms = retry_after_ms
        super().__init__(f"{code.value}: {self.reason}")
