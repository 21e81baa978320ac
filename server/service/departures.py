"""A dropped connection leaves what stores no membership (``groups.md`` section 1)."""

from collections.abc import Callable

from protocol.commands import QuitGroup
from protocol.errors import Refused
from server.domain.model import Actor
from server.service.executor import Executor


class Departures:
    """Lets those who have lost their last connection quit, by a command like any other.

    Args:
        forget: called with a user and a group that could not be quit: the user must be counted
            there no longer all the same. Nobody is told of it; what tells of rooms is best effort.
    """

    def __init__(self, executor: Executor, forget: Callable[[str, str], None]) -> None:
        self._executor = executor
        self._forget = forget

    def part(self, user_id: str, group_id: str) -> None:
        """The last connection of a user who takes part in the group is gone."""

        def answered(_result: object, refused: Refused | None) -> None:
            if refused is not None:
                self._forget(user_id, group_id)

        self._executor.submit(QuitGroup(group_id=group_id), Actor(user_id), None, b"", answered)
