"""The conversation, written down before it is played: who does what, in which order.

The same options and seed give the same plan. A plan is consistent: every act that ``expects``
DONE is allowed by ``groups.md`` when the acts before it are done.
"""

import enum
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from protocol.vocabulary import GroupType


class Kind(enum.StrEnum):
    """What an act is."""

    CREATE = "create"
    SEND = "send"
    JOIN = "join"
    INVITE = "invite"
    KICK = "kick"
    QUIT = "quit"
    MUTE = "mute"
    TRANSFER = "transfer"
    DISBAND = "disband"
    READ = "read"
    WRONG = "wrong"
    DROP = "drop"
    RETURN = "return"
    KILL = "kill"
    """The server ends and is started again."""


CONNECTIONS: Final = frozenset({Kind.DROP, Kind.RETURN, Kind.KILL})
REQUESTS: Final = frozenset(Kind) - CONNECTIONS


class Expects(enum.Enum):
    """What the server has to answer."""

    DONE = "done"
    REFUSED = "refused"
    EITHER = "either"
    """The act races with another one that decides it."""


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """One step. A request for the kinds in ``REQUESTS``, something about connections for others.

    Attributes:
        user: index in ``Plan.users``; ``device`` is which of the user's devices.
        group: index in ``Plan.groups``; the player puts the group's ID into ``params``.
        targets: the users that it is about, beside the actor.
        code: the error code that REFUSED expects.
        mark: the number of a message, unique in the plan; travels as its ``custom_data``.
        is_stored: False for a message that no log keeps.
        is_repeated: the request is sent once more, with the same id, after its answer.
        is_polite: a DROP with a close frame; a KILL by SIGTERM.
        due_s: when it is to be done, from the beginning of the load; None for what prepares it,
            and for a plan without a rate: then it is done as soon as there is room.
    """

    kind: Kind
    user: int = 0
    device: int = 0
    group: int = -1
    targets: tuple[int, ...] = ()
    method: str = ""
    params: Mapping[str, Any] = {}
    expects: Expects = Expects.DONE
    code: int | None = None
    mark: int | None = None
    is_stored: bool = True
    is_repeated: bool = False
    is_polite: bool = False
    due_s: float | None = None


class PlannedUser(msgspec.Struct, frozen=True, kw_only=True):
    """A user: how much they write, and with what."""

    weight: float
    devices: int
    has_slow_device: bool
    """The last device reads slowly and does nothing else."""


class PlannedGroup(msgspec.Struct, frozen=True, kw_only=True):
    """A group: what is known before it exists."""

    type: GroupType
    chosen_id: bool


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Everybody and everything, in order.

    Attributes:
        prepared: so many of the first acts only prepare: they make the first groups.
    """

    users: list[PlannedUser]
    groups: list[PlannedGroup]
    acts: list[Act]
    prepared: int

    @property
    def request_count(self) -> int:
        """How many requests the load is, preparation and repetitions not counted."""
        return sum(act.kind in REQUESTS for act in self.acts[self.prepared :])

    @property
    def message_count(self) -> int:
        """How many messages are to be stored, those that race not counted."""
        return sum(
            act.mark is not None and act.is_stored and act.expects is Expects.DONE
            for act in self.acts
        )
