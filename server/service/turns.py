"""The order in which one connection's changes take effect, while some of them wait for a word."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from protocol.commands import ChangingCommand, CreateGroup

_ANY: Final = ""
"""Stands for a command that does not say which groups it touches."""


class Turns:
    """The changes of one connection that are not handed on yet, the last one of each group.

    Those that touch the same group are handed on in the order in which they came. Empty, and
    nothing more than that, as long as nothing waits.
    """

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: dict[str, asyncio.Future[None]] = {}

    def before(self, command: ChangingCommand) -> Sequence["asyncio.Future[None]"]:
        """Those that have to be handed on before this one."""
        if not self._last:
            return ()
        group_id = _group_of(command)
        if group_id == _ANY:
            return list(self._last.values())
        wanted = (self._last.get(_ANY), self._last.get(group_id or _ANY))
        return [turn for turn in dict.fromkeys(wanted) if turn is not None]

    def take(self, command: ChangingCommand) -> Callable[[], None]:
        """Stand in the line; to be called when it is handed on, or refused."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        group_id = _group_of(command)
        if group_id is not None:
            self._last[group_id] = turn

        def leave() -> None:
            turn.set_result(None)
            if group_id is not None and self._last.get(group_id) is turn:
                del self._last[group_id]

        return leave


def _group_of(command: ChangingCommand) -> str | None:
    """The group that it touches, ``_ANY`` where it does not say; None for one that is to be made."""
    if isinstance(command, CreateGroup):
        return command.group_id
    return getattr(command, "group_id", _ANY)
