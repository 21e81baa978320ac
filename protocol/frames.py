"""The envelopes: hello, welcome, request, reply, events, ping, pong, bye (``protocol.md``)."""

import enum
from typing import Any

import msgspec

from protocol.events import Event
from protocol.results import ErrorBody


class _FromClient(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    omit_defaults=True,
):
    """Unknown fields in what a client sends are refused."""


class Hello(_FromClient, frozen=True, tag="hello"):
    """The first message of a connection: who, on which device, and since when."""

    user_id: str
    user_sig: str
    device_id: str
    platform: str = ""
    client: str = ""
    cursor: str | None = None


class Request(_FromClient, frozen=True, tag="request"):
    """A method's call; ``id`` is its idempotency key for its user."""

    id: str
    method: str
    params: dict[str, object] = {}


class Ping(_FromClient, frozen=True, tag="ping"):
    """Answered with a pong."""


ClientFrame = Hello | Request | Ping


class _FromServer(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    """A client ignores fields that it does not know."""


class Resume(enum.StrEnum):
    """How a connection starts: with all it missed, told that this is impossible, or from now."""

    RESUMED = "resumed"
    RESET = "reset"
    FRESH = "fresh"


class ResetReason(enum.StrEnum):
    """Why a cursor could not be resumed from."""

    UNKNOWN_CURSOR = "unknown_cursor"
    EXPIRED = "expired"
    TOO_FAR = "too_far"


class Welcome(_FromServer, frozen=True, tag="welcome"):
    """The answer to hello; events after ``cursor`` follow."""

    session_id: str
    resume: Resume
    cursor: str
    server_time_ms: int
    server: str
    heartbeat_ms: int
    limits: dict[str, int]
    reason: ResetReason | None = None


class Reply(_FromServer, frozen=True, tag="reply"):
    """The answer to the request of the same id: a result or an error.

    ``result`` is a map when the reply was received; where the reply is made it may be the struct
    that ``protocol.methods`` names for the method.
    """

    id: str
    cursor: str
    result: Any = None
    error: ErrorBody | None = None


class Events(_FromServer, frozen=True, tag="events"):
    """Entries in commit order; after them the client is at ``cursor``."""

    cursor: str
    events: list[Event]


class Pong(_FromServer, frozen=True, tag="pong"):
    """The answer to ping."""

    cursor: str
    server_time_ms: int


class Bye(_FromServer, frozen=True, tag="bye"):
    """Why the server closes; the close frame with the same code follows."""

    code: int
    reason: str
    retry_after_ms: int | None = None
    error_code: int | None = None


ServerFrame = Welcome | Reply | Events | Pong | Bye
