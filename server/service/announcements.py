"""What the operator's own service is told: made when a command is decided, told by the outlet."""

import zlib
from collections.abc import Collection, Sequence
from typing import Final

import msgspec
from msgspec import UNSET

from protocol import callbacks
from protocol.callbacks import CallbackRequest
from protocol.commands import ChangingCommand, SendMessage
from protocol.dialect import platform_word
from protocol.errors import Refused
from server.domain.callbacks import Happening, lists_members, told, unsent
from server.domain.model import Actor, Decision, Group, Origin, Slice
from server.service.outbox import OutboxItem, Outlet
from server.service.ports import RequestKey, Tokens

_UNSENT: Final = callbacks.NAME_OF[callbacks.SendMsgException]
_STATE: Final = callbacks.NAME_OF[callbacks.StateChange]
_STATE_PLATFORMS: Final = {"iOS": "IOS"}
"""The one word that the original writes differently in this callback."""


class Announcements:
    """Makes the items of what somebody wants to be told, and nothing for anything else.

    Args:
        wanted: names of callbacks.
        outlet: told when there is something.
        groups_per_day: how many groups may be made on one day, 0 for any number.
    """

    def __init__(
        self, wanted: Collection[str], tokens: Tokens, outlet: Outlet, groups_per_day: int
    ) -> None:
        self._wanted = frozenset(wanted)
        self._tokens = tokens
        self._outlet = outlet
        self._groups_per_day = groups_per_day

    def items(
        self,
        command: ChangingCommand,
        actor: Actor,
        origin: Origin,
        before: Slice,
        decision: Decision,
        now_ms: int,
    ) -> list[OutboxItem]:
        """What a decision leaves in the outbox, in the order in which it is to be told."""
        if origin.is_untold:
            return []
        happening = Happening.of(command, actor, origin, before, decision, now_ms)
        found = [
            (group_id, request)
            for group_id, request in told(happening, self._groups_per_day)
            if callbacks.NAME_OF[type(request)] in self._wanted
        ]
        if not found:
            return []
        token = self._tokens.token()
        return [
            _item(
                request,
                f"{token}-{number}",
                group_id,
                origin,
                now_ms,
                lists=_lists_members(request, happening, group_id),
            )
            for number, (group_id, request) in enumerate(found, start=1)
        ]

    def committed(self) -> None:
        """Some of what ``items`` gave is in the outbox."""
        self._outlet.committed()

    def refused(
        self,
        command: ChangingCommand,
        actor: Actor,
        origin: Origin,
        group: Group | None,
        refusal: Refused,
        now_ms: int,
    ) -> None:
        """A command was refused; ``group`` is the one that it named, None if there is none."""
        if _UNSENT not in self._wanted or not isinstance(command, SendMessage):
            return
        if group is not None and not group.closed_ms:
            request = unsent(command, actor, origin, group, refusal, now_ms)
            self._say(request, group.group_id, origin, now_ms)

    def device_came(self, origin: Origin, kicked_platforms: Sequence[str], now_ms: int) -> None:
        """A device of ``origin``'s user has logged in; others had to go for it."""
        words = [platform_word(platform) for platform in kicked_platforms]
        kicked = [callbacks.KickedDevice(_STATE_PLATFORMS.get(word, word)) for word in words]
        info = callbacks.StateInfo("Login", origin.caller_id, "Register")
        self._say_state(
            callbacks.StateChange(event_time=str(now_ms), info=info, kicked=kicked or UNSET),
            origin,
            now_ms,
        )

    def device_went(self, origin: Origin, action: str, reason: str, now_ms: int) -> None:
        """A device of ``origin``'s user is gone (``protocol.callbacks.StateChange``)."""
        info = callbacks.StateInfo(action, origin.caller_id, reason)
        self._say_state(callbacks.StateChange(event_time=str(now_ms), info=info), origin, now_ms)

    def _say_state(self, request: CallbackRequest, origin: Origin, now_ms: int) -> None:
        if _STATE in self._wanted:
            # No group's ID begins with a line feed.
            self._say(request, f"\n{origin.caller_id}", origin, now_ms)

    def _say(self, request: CallbackRequest, stream: str, origin: Origin, now_ms: int) -> None:
        self._outlet.say(_item(request, f"{self._tokens.token()}-1", stream, origin, now_ms))


def with_random(origin: Origin, request: RequestKey | None) -> Origin:
    """``origin`` with a number for a message, the same for every repetition of the request."""
    if origin.random is not None or request is None:
        return origin
    text = f"{request.user_id}\n{request.request_id}".encode()
    return msgspec.structs.replace(origin, random=zlib.crc32(text))


def _item(
    request: CallbackRequest,
    delivery_id: str,
    stream: str,
    origin: Origin,
    now_ms: int,
    *,
    lists: bool = False,
) -> OutboxItem:
    name = callbacks.NAME_OF[type(request)]
    word = platform_word(origin.platform)
    return OutboxItem(
        delivery_id=delivery_id,
        name=name,
        stream=stream,
        time_ms=now_ms,
        body=callbacks.encode_request(request),
        platform=_STATE_PLATFORMS.get(word, word) if name == _STATE else word,
        address=origin.address,
        lists_members=lists,
    )


def _lists_members(request: CallbackRequest, happening: Happening, group_id: str) -> bool:
    group = happening.groups.get(group_id)
    return group is not None and lists_members(request, group.type)
