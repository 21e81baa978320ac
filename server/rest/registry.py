"""Every command: its place, its shapes, what answers it, and the example that the original shows.

The one source of the routes, of the README's table and of the OpenAPI document.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, get_type_hints

import msgspec

from server.domain.model import Origin
from server.rest.codes import CallCode
from server.rest.documented import EXAMPLES
from server.rest.shapes import Answer, Request
from server.service.operator import Operator

GROUPS: Final = "group_open_http_svc"


class Call(msgspec.Struct, frozen=True):
    """Who calls, and what a handler works with."""

    operator: Operator
    origin: Origin


Handler = Callable[[Call, Any], Awaitable[Answer]]


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """One row.

    ``request`` is decoded from the body and given to ``handler``; ``example`` is the documented
    request, which a test sends. ``differs`` says in words what is not as in the original.
    ``calls_per_s`` is there where the original allows fewer than REST_CALLS_PER_S.
    """

    service: str = GROUPS
    name: str
    request: type[Request]
    answer: type[Answer]
    handler: Handler
    example: Mapping[str, Any]
    differs: str = ""
    calls_per_s: int | None = None

    @property
    def path(self) -> str:
        """Where it is called."""
        return f"/v4/{self.service}/{self.name}"


def works(
    handler: Handler, *, service: str = GROUPS, differs: str = "", calls_per_s: int | None = None
) -> Command:
    """The row of the command that has the name of its handler.

    What is asked and answered is what the handler says it takes and gives.
    """
    kinds = get_type_hints(handler)
    return Command(
        service=service,
        name=handler.__name__,
        request=kinds["request"],
        answer=kinds["return"],
        handler=handler,
        example=EXAMPLES[handler.__name__],
        differs=differs,
        calls_per_s=calls_per_s,
    )


class Absent(msgspec.Struct, frozen=True, kw_only=True):
    """A command of the original that this server does not have, why, and what it answers."""

    service: str = GROUPS
    name: str
    reason: str
    code: CallCode = CallCode.NOT_OFFERED


Row = Command | Absent


def by_place(rows: Sequence[Row]) -> dict[tuple[str, str], Row]:
    """Rows by service and name.

    Raises:
        ValueError: two rows have the same place.
    """
    table = {(row.service, row.name): row for row in rows}
    if len(table) != len(rows):
        raise ValueError("a command is there twice")
    return table
