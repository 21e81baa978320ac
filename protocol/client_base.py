"""What the SDK's typed methods have in common: their options and the two ways to ask."""

from abc import ABC, abstractmethod
from typing import TypedDict, TypeVar

import msgspec

from protocol.commands import ChangingCommand, Command
from protocol.results import Result

R = TypeVar("R", bound=Result)


class CallOptions(TypedDict, total=False):
    """What every method takes beside its own parameters."""

    request_id: str | None
    """The idempotency key, 1 to 64 printable ASCII; a new one when omitted. Keep it and give it
    again to repeat a call of an earlier process: what was changed is not changed twice."""

    timeout_s: float | None
    """Seconds for the whole call, retries included; the client's ``timeout_s`` when omitted."""


class ChangeOptions(CallOptions, total=False):
    """What every method takes that may change something."""

    as_user_id: str | None
    """For app_admin accounts: the user in whose name the change is made."""


class Asking(ABC):
    """Whoever can ask the server; the methods are made of this."""

    @abstractmethod
    async def _ask(self, command: Command, result: type[R], options: CallOptions) -> R:
        """Call the method of ``command``, a row of METHODS whose result is ``result``."""

    async def _change(self, command: ChangingCommand, result: type[R], options: ChangeOptions) -> R:
        """Call a method that may change something."""
        as_user_id = options.pop("as_user_id", None)
        if as_user_id is not None:
            command = msgspec.structs.replace(command, as_user_id=as_user_id)
        return await self._ask(command, result, options)
