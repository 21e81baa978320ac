"""What the progress line counts while a run goes on, and how calls are sent."""

import pytest

from scripts.loadgen.record import DeviceRecord, Entry
from scripts.loadgen.suspicions import Suspicions, Watcher
from tests.scripts.world import HALL, play

Key = tuple[bool, str]


def watched(entries: list[Entry], stream: list[int]) -> Suspicions:
    record, found = DeviceRecord(user_id="x", device_id="d", stream=[]), Suspicions()
    tails: dict[Key, int] = {}
    watcher = Watcher(record, tails, found)
    for index in stream:
        entry = entries[index]
        watcher.look(entry)
        record.stream.append(index)
        tails[entry.is_inbox, entry.log] = entry.number
    return found


STREAMS = {
    (device.user_id, device.device_id): (play().entries, device.stream) for device in play().devices
}


@pytest.mark.parametrize("who", STREAMS)
def test_nothing_is_suspicious_about_a_right_run(who: tuple[str, str]) -> None:
    assert watched(*STREAMS[who]) == Suspicions()


@pytest.mark.parametrize("who", STREAMS)
def test_what_comes_twice_or_late_is_counted(who: tuple[str, str]) -> None:
    entries, stream = STREAMS[who]
    for place in range(len(stream)):
        assert watched(entries, [*stream[: place + 1], *stream[place:]]).doubled == 1
        later = [*stream[:place], *stream[place + 1 :]]
        log = (entries[stream[place]].is_inbox, entries[stream[place]].log)
        if any((entries[i].is_inbox, entries[i].log) == log for i in later[place:]):
            assert watched(entries, [*later, stream[place]]).reordered == 1


def test_a_hole_within_a_membership_is_counted() -> None:
    entries, stream = STREAMS["ann", "phone"]
    holes = 0
    for place, index in enumerate(stream):
        following = [i for i in stream[place + 1 :] if entries[i].log == entries[index].log]
        before = [i for i in stream[:place] if entries[i].log == entries[index].log]
        if following and before and entries[index].log != HALL:
            lost = watched(entries, [*stream[:place], *stream[place + 1 :]]).lost
            holes += lost
            assert lost in (0, 1)
    assert holes > 2
