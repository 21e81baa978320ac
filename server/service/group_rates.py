"""How many messages a group takes per second, and which go first when there are more."""

import math
from collections.abc import Mapping
from typing import Final

from protocol.commands import ChangingCommand, SendMessage
from protocol.errors import ErrorCode, Refused
from protocol.vocabulary import MessagePriority
from server.domain.model import Actor, Slice
from server.domain.rules import Rulebook
from server.service.ports import Clock

_KEPT_FREE: Final[Mapping[MessagePriority, float]] = {
    MessagePriority.HIGH: 0.0,
    MessagePriority.NORMAL: 0.1,
    MessagePriority.LOW: 0.3,
    MessagePriority.LOWEST: 0.5,
}
"""The part of a second's messages that a priority leaves to those above it."""

_MOST_GROUPS: Final = 100_000


class GroupRates:
    """A token bucket for each group that is spoken in; off unless the operator sets a rate.

    Kept in memory: after a restart every group begins with a full second. The operator's own
    messages are not counted, as in the original.
    """

    def __init__(self, rulebook: Rulebook, clock: Clock) -> None:
        self._per_s = rulebook.limit("GROUP_MESSAGES_PER_S")
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def check(self, command: ChangingCommand, actor: Actor, state: Slice) -> None:
        """Count a message to a group.

        Raises:
            Refused: GROUP_MESSAGE_RATE, dropped for its priority; says when to try again.
        """
        if self._per_s is None or actor.is_app_admin or state.group is None:
            return
        if not isinstance(command, SendMessage):
            return
        now_s = self._clock.monotonic_s()
        tokens, updated_s = self._buckets.get(command.group_id, (float(self._per_s), now_s))
        tokens = min(float(self._per_s), tokens + (now_s - updated_s) * self._per_s)
        # A rate of one or two per second still lets every priority through when all is quiet.
        needed = 1 + math.floor(_KEPT_FREE[command.priority] * (self._per_s - 1))
        if tokens < needed:
            self._buckets[command.group_id] = (tokens, now_s)
            raise Refused(
                ErrorCode.GROUP_MESSAGE_RATE,
                rule="group_messages_per_s",
                have=str(command.priority),
                need=self._per_s,
                retry_after_ms=math.ceil((needed - tokens) / self._per_s * 1000),
            )
        if len(self._buckets) >= _MOST_GROUPS:
            self._buckets.clear()
        self._buckets[command.group_id] = (tokens - 1, now_s)
