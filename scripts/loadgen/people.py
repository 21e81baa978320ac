"""What the writer of a plan knows while it goes along: who is where, and who is connected."""

from collections.abc import Sequence
from random import Random
from typing import Final

from protocol.vocabulary import GroupType
from scripts.loadgen.plan import PlannedGroup, PlannedUser

_OFTEN_IN: Final = 1.1
_TYPICAL: Final = 5


class Group:
    """A planned group as it is at this point of the plan."""

    def __init__(
        self, index: int, planned: PlannedGroup, owner: int, size: int, weight: float
    ) -> None:
        self.index = index
        self.type = planned.type
        self.owner: int | None = owner
        self.size = size
        self.weight = weight
        self.admins: set[int] = set()
        self.members: list[int] = [owner]
        self.is_open = False
        self.members_invite = planned.type in (GroupType.WORK, GroupType.COMMUNITY)
        self.anyone_joins = planned.type is not GroupType.WORK

    @property
    def is_room(self) -> bool:
        """Whether it stores neither members nor messages."""
        return self.type is GroupType.AVCHATROOM

    def rank(self, user: int) -> int:
        """3 for the owner, 2 for an admin, 1 for a member."""
        return 3 if user == self.owner else 2 if user in self.admins else 1

    def enter(self, *users: int) -> None:
        """They are members now."""
        self.members.extend(users)

    def hand_to(self, user: int) -> None:
        """A member is the owner, and the owner of before an ordinary member."""
        self.admins.discard(user)
        self.owner = user

    def leave(self, user: int) -> None:
        """A member is gone."""
        self.members.remove(user)
        self.admins.discard(user)
        if user == self.owner:
            self.owner = None


class People:
    """Users with their weights, and which of their devices are connected."""

    def __init__(self, users: Sequence[PlannedUser], random: Random) -> None:
        self.users = users
        self._random = random
        self._down: list[set[int]] = [set() for _ in users]

    def device(self, user: int) -> int | None:
        """One of the devices by which ``user`` can act now."""
        ready = self.active(user)
        return self._random.choice(ready) if ready else None

    def active(self, user: int) -> list[int]:
        """The connected devices that act: the slow one only listens."""
        planned = self.users[user]
        acting = planned.devices - planned.has_slow_device
        return [device for device in range(acting) if device not in self._down[user]]

    def is_away(self, user: int) -> bool:
        """Whether no device of ``user`` is connected."""
        return len(self._down[user]) == self.users[user].devices

    def drop(self, user: int, device: int) -> None:
        """A device goes away."""
        self._down[user].add(device)

    def come_back(self, user: int, device: int) -> None:
        """A device is back."""
        self._down[user].discard(device)

    def all_come_back(self) -> None:
        """Every device is back."""
        for down in self._down:
            down.clear()

    def one(self, candidates: Sequence[int]) -> int | None:
        """One of ``candidates`` that can act, the more active ones more often."""
        ready = [user for user in candidates if self.active(user)]
        if not ready:
            return None
        return self._random.choices(ready, [self.users[user].weight for user in ready])[0]

    def outsiders(self, group: Group, most: int) -> list[int]:
        """Up to ``most`` users who are not in ``group``."""
        inside = set(group.members)
        outside = [user for user in range(len(self.users)) if user not in inside]
        return self._random.sample(outside, min(most, len(outside)))


def heavy_tailed_size(random: Random, users: int) -> int:
    """Members of a group: mostly 2 to 10, now and then hundreds, never more than ``users``."""
    return max(1, min(users, 2 + int((random.paretovariate(_OFTEN_IN) - 1) * _TYPICAL)))
