"""The oracle finds nothing in a run that went right, and each thing that goes wrong in it."""

from collections.abc import Callable, Sequence

import pytest

from scripts.loadgen.oracle import CHECKS, judge
from scripts.loadgen.plan import Expects, Kind
from scripts.loadgen.record import DeviceRecord, Fault, Outcome, Record
from tests.scripts.world import CREW, HALL, ROOM, World, play, record_of


def faults(record: Record) -> set[Fault]:
    return {finding.fault for finding in judge(record)}


def places(world: World) -> list[tuple[str, str, int]]:
    """Every place of every device's stream."""
    return [
        (device.user_id, device.device_id, place)
        for device in world.devices
        for place in range(len(device.stream))
    ]


def test_a_right_run_has_no_findings() -> None:
    assert judge(record_of(play())) == []


@pytest.mark.parametrize(("user_id", "device_id", "place"), places(play()))
def test_whatever_one_device_misses_is_lost(user_id: str, device_id: str, place: int) -> None:
    world = play()
    del world.device(user_id, device_id).stream[place]

    assert Fault.LOST in faults(record_of(world))


@pytest.mark.parametrize(("user_id", "device_id", "place"), places(play()))
def test_whatever_one_device_gets_again_is_double(user_id: str, device_id: str, place: int) -> None:
    world = play()
    stream = world.device(user_id, device_id).stream
    stream.insert(place, stream[place])

    assert Fault.DOUBLE in faults(record_of(world))


@pytest.mark.parametrize(("user_id", "device_id", "place"), places(play()))
def test_a_late_double_is_double(user_id: str, device_id: str, place: int) -> None:
    world = play()
    stream = world.device(user_id, device_id).stream
    stream.append(stream[place])

    assert Fault.DOUBLE in faults(record_of(world))


@pytest.mark.parametrize("device_id", ["phone", "laptop"])
@pytest.mark.parametrize("place", range(len(play().device("ann").stream) - 1))
def test_any_two_exchanged_on_one_of_two_devices_are_reordered(device_id: str, place: int) -> None:
    world = play()
    stream = world.device("ann", device_id).stream
    stream[place], stream[place + 1] = stream[place + 1], stream[place]

    assert Fault.REORDERED in faults(record_of(world))


@pytest.mark.parametrize("user_id", ["bob", "cid"])
def test_two_of_a_log_exchanged_on_an_only_device_are_reordered(user_id: str) -> None:
    stream = play().device(user_id).stream
    entries = play().entries
    pairs = [
        place
        for place in range(len(stream) - 1)
        if entries[stream[place]].log == entries[stream[place + 1]].log
    ]
    assert pairs
    for place in pairs:
        world = play()
        stream = world.device(user_id).stream
        stream[place], stream[place + 1] = stream[place + 1], stream[place]

        assert Fault.REORDERED in faults(record_of(world))


def test_users_who_saw_two_logs_in_opposite_order_are_found() -> None:
    """Each stream alone is fine, and each log: only together they contradict each other."""
    world = World()
    record = record_of(play())
    for log in (CREW, HALL):
        world.tip("x", log, "", to=())
    world.device("bob").stream.extend([0, 1])
    world.device("cid").stream.extend([1, 0])
    record.entries, record.devices = world.entries, world.devices

    findings = list(CHECKS["everything fits into one order of all logs"](record))

    assert [finding.fault for finding in findings] == [Fault.REORDERED]


@pytest.mark.parametrize("group_id", [CREW, HALL])
@pytest.mark.parametrize("user_id", ["ann", "bob", "cid"])
def test_whatever_a_user_gets_of_a_log_without_being_a_member_is_leaked(
    user_id: str, group_id: str
) -> None:
    given = set(play().device(user_id).stream)
    foreign = [index for index in play().history(group_id) if index not in given]
    for index in foreign:
        world = play()
        for device in world.devices:
            if device.user_id == user_id:
                at = sum(other < index for other in device.stream)
                device.stream.insert(at, index)

        assert Fault.LEAKED in faults(record_of(world)), world.entries[index]
    assert foreign or user_id == "ann" or (user_id, group_id) == ("bob", HALL)


def test_a_log_of_nobody_here_is_leaked() -> None:
    world = play()
    world.tip("member_joined", "elsewhere", "dan", to=("cid",))

    assert faults(record_of(world)) == {Fault.LEAKED}


def test_a_notice_about_nothing_is_leaked() -> None:
    world = play()
    world.notice("cid", "kicked", CREW)

    assert Fault.LEAKED in faults(record_of(world))


def test_a_notice_that_nobody_got_is_lost() -> None:
    world = play()
    created = next(e for e in world.entries if e.event == "group_created" and e.log == "cid")
    created.event = "something_else"

    assert {Fault.LOST, Fault.LEAKED} <= faults(record_of(world))


def test_an_unstored_message_that_comes_twice_is_double() -> None:
    world = play()
    heard = world.device("cid").unstored
    heard.append(heard[0])

    assert faults(record_of(world)) == {Fault.DOUBLE}


def test_an_unstored_message_to_one_who_does_not_take_part_is_leaked() -> None:
    world = play()
    world.device("bob").unstored.extend(world.device("cid").unstored)

    assert faults(record_of(world)) == {Fault.LEAKED}


def test_an_unstored_message_to_one_who_has_left_is_leaked() -> None:
    record = record_of(play())
    record.stays["ann", ROOM] = [(0.0, 1.0)]

    assert faults(record) == {Fault.LEAKED}


def test_a_message_that_was_answered_and_is_in_no_log_is_lost() -> None:
    world = play()
    record = record_of(world)
    mark = next(entry.mark for entry in world.entries if entry.mark)
    gone = next(outcome for outcome in record.outcomes if outcome.mark == mark)
    gone.mark = 999

    assert Fault.LOST in faults(record)


def test_a_message_that_is_twice_in_the_log_is_double() -> None:
    world = play()
    world.say("cid", CREW, to=("ann", "cid"))
    record = record_of(world)
    messages = [entry for entry in world.entries if entry.event == "message" and entry.log == CREW]
    messages[-1].mark = messages[-2].mark
    record.views = []

    assert Fault.DOUBLE in faults(record)


def test_a_hole_in_the_history_is_lost() -> None:
    record = record_of(play())
    history = record.groups[CREW].history
    assert history is not None
    del history[2]

    assert Fault.LOST in faults(record)


def test_a_disbanded_group_ends_with_its_end() -> None:
    world = play()
    world.disband("ann", CREW, to=("ann", "cid"))
    record = record_of(world)
    group = record.groups[CREW]
    group.is_disbanded, group.history, group.member_ids = True, None, None
    record.views = record.views[-1:]
    assert judge(record) == []

    for device in world.devices:
        if world.entries[device.stream[-1]].event == "group_disbanded":
            device.stream.pop()
    assert Fault.LOST in faults(record)


def test_a_view_that_shows_too_little_or_too_much() -> None:
    record = record_of(play())
    record.views[1].numbers.pop()
    assert faults(record) == {Fault.LOST}

    record = record_of(play())
    record.views[1].numbers.insert(0, 2)
    assert faults(record) == {Fault.LEAKED}


def _early(outcome: Outcome) -> None:
    outcome.early = ("message",)


def _unanswered(outcome: Outcome) -> None:
    outcome.replied_s = outcome.result = None


def _refused(outcome: Outcome) -> None:
    outcome.code, outcome.result = 10002, None


def _allowed(outcome: Outcome) -> None:
    outcome.expects, outcome.expected_code = Expects.REFUSED, 10007


def _other_second_answer(outcome: Outcome) -> None:
    outcome.second = "{}, then something else"


def _wrong_place(outcome: Outcome) -> None:
    outcome.result = {**(outcome.result or {}), "seq": 77}


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (_early, Fault.EARLY_REPLY),
        (_unanswered, Fault.ANSWER),
        (_refused, Fault.ANSWER),
        (_allowed, Fault.ANSWER),
        (_other_second_answer, Fault.ANSWER),
        (_wrong_place, Fault.ANSWER),
    ],
)
def test_a_wrong_answer_is_found(spoil: Callable[[Outcome], None], fault: Fault) -> None:
    record = record_of(play())
    spoil(next(outcome for outcome in record.outcomes if outcome.mark == 2))

    assert fault in faults(record)


def test_messages_that_overtook_each_other_are_reordered() -> None:
    record = record_of(play())
    first, second = (o for o in record.outcomes if o.group_id == HALL and o.mark in (7, 8))
    first.sent_s, second.sent_s = second.sent_s, first.sent_s
    first.replied_s, second.replied_s = second.replied_s, first.replied_s

    assert Fault.REORDERED in faults(record)


def test_contents_and_connections_are_findings_as_they_come() -> None:
    record = record_of(play())
    record.altered, record.troubles, record.complaints = ["x"], ["y"], ["z"]

    assert faults(record) == {Fault.ALTERED, Fault.CONNECTION, Fault.SERVER_LOG}


def test_every_check_is_needed() -> None:
    """The checks have names that the result page shows; none is there twice."""
    checks: Sequence[object] = list(CHECKS.values())
    assert len(set(checks)) == len(checks)


def test_a_removal_that_no_tip_tells_is_told_to_who_removed() -> None:
    world = play()
    rows = [{"user_id": "cid", "result": "added"}]
    world.ask("bob", Kind.INVITE, HALL, {"members": rows}, target_ids=("cid",))
    world.notice("cid", "invited", HALL)
    record = record_of(world)
    record.groups[HALL].member_ids = frozenset({"bob", "cid"})
    assert faults(record) == {Fault.LOST}

    world.notice("bob", "group_profile_changed", HALL)
    assert judge(record) == []


def test_the_end_of_a_room_is_promised_to_its_owner_and_to_guests_who_are_there() -> None:
    world = play()
    world.tip("group_disbanded", ROOM, "cid", to=["cid", "ann"])
    world.device("ann", "laptop").stream.pop()
    assert judge(record_of(world)) == []
    # The owner's membership is stored: whichever device was away is told when it comes back.
    record = record_of(world)
    record.devices.append(DeviceRecord(user_id="cid", device_id="laptop", stream=[]))
    record.devices[-1].stream += world.device("cid", "phone").stream[:-1]
    assert Fault.LOST in faults(record)
