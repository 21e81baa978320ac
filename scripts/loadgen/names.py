"""From the indexes of a plan to the IDs of a run."""

from collections.abc import Sequence
from typing import Any, Final

from protocol.vocabulary import GroupType
from scripts.loadgen.plan import Act, Plan
from scripts.loadgen.stage import Person

_USERS: Final = ("user_ids", "at_user_ids")
_USER: Final = ("user_id", "new_owner_id")


class Names:
    """The groups' IDs, chosen by their creators or learnt from the server, and the users'."""

    def __init__(self, plan: Plan, people: Sequence[Person], prefix: str) -> None:
        self._people = people
        self._group_ids = [_chosen_id(plan, index, prefix) for index in range(len(plan.groups))]

    def group_id(self, act: Act) -> str:
        """The ID of the group that ``act`` is about; "" for none, and where it is not known yet."""
        return self._group_ids[act.group] if act.group >= 0 else ""

    def learn(self, act: Act, group_id: str) -> None:
        """The group that ``act`` has made has this ID."""
        self._group_ids[act.group] = group_id

    def params(self, act: Act) -> dict[str, Any]:
        """The act's parameters with IDs in place of indexes."""
        params = dict(act.params)
        for name in _USERS:
            if name in params:
                params[name] = [self._people[user].user_id for user in params[name]]
        for name in _USER:
            if name in params:
                params[name] = self._people[params[name]].user_id
        if "members" in params:
            params["members"] = [
                {**member, "user_id": self._people[member["user_id"]].user_id}
                for member in params["members"]
            ]
        if self.group_id(act):
            params.setdefault("group_id", self.group_id(act))
        return params


def _chosen_id(plan: Plan, index: int, prefix: str) -> str:
    """The ID that the creator chooses, or "" for one that the server makes."""
    planned = plan.groups[index]
    if not planned.chosen_id:
        return ""
    start = "@TGS#_" if planned.type is GroupType.COMMUNITY else ""
    return f"{start}{prefix}group-{index}"
