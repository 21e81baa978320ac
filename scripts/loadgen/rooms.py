"""Who is in which room. Whoever loses the last connection is out, and has to come in again."""

import time

from protocol.vocabulary import GroupType
from scripts.loadgen.device import Device
from scripts.loadgen.plan import Act, Kind, Plan
from scripts.loadgen.record import Outcome
from scripts.loadgen.stage import Person


class Rooms:
    """Follows the guests of groups that store no membership.

    Args:
        prefix: begins the ids of its requests.
    """

    def __init__(self, plan: Plan, prefix: str) -> None:
        self._plan = plan
        self._owners = {act.group: act.user for act in plan.acts if act.kind is Kind.CREATE}
        self._prefix = prefix
        self._entrances = 0

    def is_room(self, act: Act) -> bool:
        """Whether ``act`` is about a room."""
        return act.group >= 0 and self._plan.groups[act.group].type is GroupType.AVCHATROOM

    async def before(self, act: Act, device: Device, person: Person, group_id: str) -> None:
        """Have a guest, who may have been thrown out meanwhile, in the room before ``act``."""
        is_guest = self.is_room(act) and self._owners[act.group] != act.user
        if not is_guest or act.kind not in (Kind.SEND, Kind.QUIT) or group_id in person.rooms:
            return
        absences = person.absences
        person.enter(group_id, time.monotonic())
        self._entrances += 1
        request_id = f"{self._prefix}entrance-{self._entrances}"
        _, reply = await device.call("join_group", {"group_id": group_id}, request_id)
        if reply.error is None and person.absences == absences:
            person.rooms.add(group_id)

    def may_be_in_still(self, act: Act, person: Person, group_id: str) -> bool:
        """Whether the server may not know yet that the user, who comes in again, was thrown out.

        It hears of a new connection before it hears of the end of the old one, now and then.
        """
        is_coming = self.is_room(act) and act.kind is Kind.JOIN
        return is_coming and bool(person.absences) and group_id in person.stays

    def after(self, act: Act, outcome: Outcome, person: Person) -> None:
        """Note what an answered request about a room has changed."""
        if act.kind is Kind.CREATE and outcome.is_done:
            person.enter(outcome.group_id, outcome.sent_s)  # and stays, whatever happens
        elif act.kind is Kind.JOIN and outcome.is_done and not outcome.may_differ:
            person.rooms.add(outcome.group_id)
        elif act.kind is Kind.QUIT and outcome.is_done:
            person.leave(outcome.group_id)
