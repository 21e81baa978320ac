"""A small run that went right, written by hand, for the tests of the oracle to spoil."""

from collections.abc import Mapping, Sequence
from typing import Any

from protocol.vocabulary import GroupType
from scripts.loadgen.plan import Expects, Kind
from scripts.loadgen.record import (
    DeviceRecord,
    Entry,
    GroupRecord,
    MemberView,
    Outcome,
    Record,
)

CREW, HALL, ROOM = "crew", "hall", "room"
TYPES = {CREW: GroupType.PUBLIC, HALL: GroupType.MEETING, ROOM: GroupType.AVCHATROOM}


class World:
    """Writes a record; every request takes half a second, and the next one comes after it."""

    def __init__(self) -> None:
        self.now_s = 1.0
        self.entries: list[Entry] = []
        self.outcomes: list[Outcome] = []
        self.devices = [
            DeviceRecord(user_id="ann", device_id="phone", stream=[], unstored=[]),
            DeviceRecord(user_id="ann", device_id="laptop", stream=[], unstored=[]),
            DeviceRecord(user_id="bob", device_id="phone", stream=[], unstored=[]),
            DeviceRecord(user_id="cid", device_id="phone", stream=[], unstored=[]),
        ]
        self._numbers: dict[str, int] = {}
        self._marks = 0

    def ask(
        self,
        user_id: str,
        kind: Kind,
        group_id: str,
        result: Mapping[str, Any],
        **more: Any,  # noqa: ANN401 - fields of Outcome
    ) -> Outcome:
        """A request that was answered."""
        fields: dict[str, Any] = {
            "expects": Expects.DONE,
            "expected_code": None,
            "target_ids": (),
            "mark": None,
            "is_stored": True,
        }
        outcome = Outcome(
            kind=kind,
            user_id=user_id,
            device_id="phone",
            group_id=group_id,
            number=len(self.outcomes),
            sent_s=self.now_s,
            replied_s=self.now_s + 0.5,
            result=result,
            **(fields | more),
        )
        self.now_s += 1
        self.outcomes.append(outcome)
        return outcome

    def notice(self, user_id: str, event: str, group_id: str) -> None:
        """An entry of the user's inbox, which all devices of the user are given."""
        self._give(self._entry(user_id, event, group_id, is_inbox=True), [user_id])

    def tip(self, event: str, group_id: str, user_id: str, to: Sequence[str]) -> None:
        """An entry of the group's log about a user."""
        self._give(self._entry(group_id, event, group_id, user_ids=(user_id,)), to)

    def say(self, user_id: str, group_id: str, to: Sequence[str]) -> int:
        """A message to those who are in the group; returns its mark."""
        self._marks += 1
        is_stored = TYPES[group_id] is not GroupType.AVCHATROOM
        message_id = f"m{self._marks}"
        entry = self._entry(
            group_id,
            "message",
            group_id,
            actor_id=user_id,
            mark=self._marks,
            message_id=message_id,
            is_stored=is_stored,
        )
        result: dict[str, Any] = {"message_id": message_id, "time_ms": 1}
        if is_stored:
            result["seq"] = entry.number
        heard_s = self.now_s + 0.4
        self.ask(user_id, Kind.SEND, group_id, result, mark=self._marks, is_stored=is_stored)
        if is_stored:
            self._give(entry, to)
        else:
            for device in self._devices_of(to):
                device.unstored.append((entry.index, heard_s))
        return self._marks

    def disband(self, user_id: str, group_id: str, to: Sequence[str]) -> None:
        """The end of a group."""
        self.ask(user_id, Kind.DISBAND, group_id, {})
        self._give(self._entry(group_id, "group_disbanded", group_id), to)

    def device(self, user_id: str, device_id: str = "phone") -> DeviceRecord:
        """One of the devices."""
        return next(
            device
            for device in self.devices
            if (device.user_id, device.device_id) == (user_id, device_id)
        )

    def history(self, group_id: str) -> list[int]:
        """The indexes of the group's log, in order."""
        return [e.index for e in self.entries if not e.is_inbox and e.number and e.log == group_id]

    def _entry(
        self,
        log: str,
        event: str,
        group_id: str,
        *,
        is_inbox: bool = False,
        **more: Any,  # noqa: ANN401 - fields of Entry
    ) -> Entry:
        number = 0
        if more.pop("is_stored", True):
            number = self._numbers[log] = self._numbers.get(log, 0) + 1
        entry = Entry(
            index=len(self.entries),
            log=log,
            is_inbox=is_inbox,
            number=number,
            event=event,
            group_id=group_id,
            **more,
        )
        self.entries.append(entry)
        return entry

    def _give(self, entry: Entry, to: Sequence[str]) -> None:
        for device in self._devices_of(to):
            device.stream.append(entry.index)

    def _devices_of(self, user_ids: Sequence[str]) -> list[DeviceRecord]:
        return [device for device in self.devices if device.user_id in user_ids]


def play() -> World:
    """A Public group that cid joins and bob is removed from, a Meeting that ann visits, a room."""
    world = World()
    rows = [{"user_id": "bob", "result": "added"}]
    world.ask("ann", Kind.CREATE, CREW, {"group": {}, "members": rows}, target_ids=("bob",))
    world.notice("ann", "group_created", CREW)
    world.notice("bob", "invited", CREW)
    world.say("ann", CREW, to=("ann", "bob"))
    world.say("bob", CREW, to=("ann", "bob"))
    world.ask("cid", Kind.JOIN, CREW, {"status": "joined"})
    world.notice("cid", "joined", CREW)
    world.tip("member_joined", CREW, "cid", to=("ann", "bob", "cid"))
    world.say("cid", CREW, to=("ann", "bob", "cid"))
    rows = [{"user_id": "bob", "result": "removed"}]
    world.ask("ann", Kind.KICK, CREW, {"members": rows}, target_ids=("bob",))
    world.tip("member_kicked", CREW, "bob", to=("ann", "bob", "cid"))
    world.notice("bob", "kicked", CREW)
    world.say("ann", CREW, to=("ann", "cid"))
    world.say("cid", CREW, to=("ann", "cid"))

    world.ask("bob", Kind.CREATE, HALL, {"group": {}, "members": []})
    world.notice("bob", "group_created", HALL)
    world.say("bob", HALL, to=("bob",))
    world.ask("ann", Kind.JOIN, HALL, {"status": "joined"})
    world.notice("ann", "joined", HALL)
    for _ in range(3):
        world.say("bob", HALL, to=("ann", "bob"))
    world.ask("ann", Kind.QUIT, HALL, {})
    world.notice("ann", "quit", HALL)
    world.say("bob", HALL, to=("bob",))

    world.ask("cid", Kind.CREATE, ROOM, {"group": {}, "members": []})
    world.notice("cid", "group_created", ROOM)
    world.say("cid", ROOM, to=("cid", "ann"))
    return world


def record_of(world: World) -> Record:
    """The record of a world, as the server shows it at the end."""
    crew = world.history(CREW)
    return Record(
        entries=world.entries,
        devices=world.devices,
        groups={
            CREW: GroupRecord(
                group_id=CREW,
                type=TYPES[CREW],
                history=crew,
                member_ids=frozenset({"ann", "cid"}),
            ),
            HALL: GroupRecord(
                group_id=HALL,
                type=TYPES[HALL],
                history=world.history(HALL),
                member_ids=frozenset({"bob"}),
            ),
            ROOM: GroupRecord(group_id=ROOM, type=TYPES[ROOM]),
        },
        outcomes=world.outcomes,
        views=[
            MemberView(user_id="ann", group_id=CREW, numbers=list(range(1, len(crew) + 1))),
            MemberView(user_id="cid", group_id=CREW, numbers=list(range(3, len(crew) + 1))),
            MemberView(user_id="bob", group_id=HALL, numbers=[1, 2, 3, 4, 5]),
        ],
        stays={("cid", ROOM): [(0.0, 1e9)], ("ann", ROOM): [(0.0, 1e9)]},
    )
