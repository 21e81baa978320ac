"""Checks of what the devices were given."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from protocol.vocabulary import GroupType
from scripts.loadgen.early import has_tips
from scripts.loadgen.membership import (
    NOTICES_OF_COMING,
    NOTICES_OF_GOING,
    Span,
    Stay,
    founders_of,
    numbers_within,
    reference_log,
    spans_by_requests,
    stays_by_log,
)
from scripts.loadgen.record import (
    DeviceRecord,
    Entry,
    Fault,
    Finding,
    GroupRecord,
    Record,
)

_SHOWN = 8


def check_numbers(record: Record) -> Iterator[Finding]:
    """Within each log the numbers rise, none comes twice, and an inbox begins at 1."""
    for device in record.devices:
        last: dict[tuple[bool, str], int] = {}
        seen: set[int] = set()
        for index in device.stream:
            entry = record.entries[index]
            log = (entry.is_inbox, entry.log)
            before = last.get(log, 0)
            place = f"{entry.log} {entry.number}"
            if index in seen:
                yield Finding(Fault.DOUBLE, _name(device), place)
            elif entry.number < before:
                yield Finding(Fault.REORDERED, _name(device), f"{place} after {before}")
            elif entry.is_inbox and entry.number != before + 1:
                yield Finding(Fault.LOST, _name(device), f"{place} after {before}")
            seen.add(index)
            last[log] = max(before, entry.number)


def check_devices_agree(record: Record) -> Iterator[Finding]:
    """The devices of a user have the same stream, but for what is told to guests."""
    by_user: dict[str, list[DeviceRecord]] = {}
    for device in record.devices:
        by_user.setdefault(device.user_id, []).append(device)
    for user_id, all_devices in by_user.items():
        devices = [
            msgspec.structs.replace(
                device, stream=[i for i in device.stream if not _is_for_guests(record, i, user_id)]
            )
            for device in all_devices
        ]
        everything = {index for device in devices for index in device.stream}
        for device in devices:
            missing = everything - set(device.stream)
            if missing:
                yield Finding(
                    Fault.LOST,
                    _name(device),
                    f"others of the user have {_places(record, missing)}",
                )
            elif device.stream != devices[0].stream and not _has_doubles(device, devices[0]):
                yield Finding(
                    Fault.REORDERED, _name(device), f"differs from {devices[0].device_id}"
                )


def _is_for_guests(record: Record, index: int, user_id: str) -> bool:
    """Whether only a connected device is promised the entry.

    That is the end of a room for those whose taking part in it is not stored: a device that was
    away is not told, and when the user's last device goes so does what the server knew of it.
    """
    entry = record.entries[index]
    group = record.groups.get(entry.log)
    if entry.is_inbox or group is None or group.type is not GroupType.AVCHATROOM:
        return False
    return user_id not in founders_of(record.outcomes, group.group_id)


def check_groups(record: Record) -> Iterator[Finding]:
    """Each member sees the group's log from coming to going, and nobody else sees any of it."""
    streams = [(device, _by_group(record, device)) for device in record.devices]
    for group in record.groups.values():
        if group.type is GroupType.AVCHATROOM:
            continue
        judge = _judge_by_log if has_tips(group.type) else _judge_by_requests
        parts = [(device, stream.get(group.group_id, [])) for device, stream in streams]
        yield from judge(record, group, parts)
    for device, stream in streams:
        for group_id in stream.keys() - record.groups.keys():
            yield Finding(Fault.LEAKED, _name(device), f"{group_id} is no group of this run")


def check_views(record: Record) -> Iterator[Finding]:
    """A member's history is what a member who came when this one did was given."""
    for view in record.views:
        group = record.groups[view.group_id]
        log = reference_log(record, group)
        last = log[-1].number if log else 0
        first = 1
        if has_tips(group.type):
            stays = _stays(record, group).get(view.user_id, [])
            first = stays[-1].first if stays else last + 1
        expected = list(range(first, last + 1))
        where = f"history of {view.group_id} for {view.user_id}"
        if view.numbers != expected:
            missing = set(expected) - set(view.numbers)
            foreign = set(view.numbers) - set(expected)
            fault = Fault.LOST if missing else Fault.LEAKED if foreign else Fault.REORDERED
            yield Finding(fault, where, f"{_short(missing or foreign or view.numbers)}")


def check_unstored(record: Record) -> Iterator[Finding]:
    """What is not stored comes at most once, and only to those who may take part."""
    outcomes = {outcome.mark: outcome for outcome in record.outcomes if outcome.mark is not None}
    spans = {
        group_id: spans_by_requests(record.outcomes, group_id)
        for group_id, group in record.groups.items()
        if group.type is not GroupType.AVCHATROOM
    }
    for device in record.devices:
        counts = Counter(index for index, _ in device.unstored)
        for index, count in counts.items():
            if count > 1 and record.entries[index].message_id:
                yield Finding(Fault.DOUBLE, _name(device), f"message {record.entries[index].mark}")
        for index, heard_s in device.unstored:
            entry = record.entries[index]
            outcome = None if entry.mark is None else outcomes.get(entry.mark)
            if outcome is None:
                continue  # a pushed tip; only messages say when they began
            times = _presence(record, spans, device.user_id, entry.group_id)
            if not any(since <= heard_s and until >= outcome.sent_s for since, until in times):
                yield Finding(
                    Fault.LEAKED, _name(device), f"message {entry.mark} in {entry.group_id}"
                )


def _presence(
    record: Record, spans: dict[str, dict[str, list[Span]]], user_id: str, group_id: str
) -> list[tuple[float, float]]:
    if group_id in spans:
        found = spans[group_id].get(user_id, [])
        return [(span.may_from_s, span.may_to_s) for span in found]
    return record.stays.get((user_id, group_id), [])


def _by_group(record: Record, device: DeviceRecord) -> dict[str, list[Entry]]:
    """Group -> its log's entries in the stream, with the inbox's entries about it between them."""
    found: dict[str, list[Entry]] = {}
    for index in device.stream:
        entry = record.entries[index]
        found.setdefault(entry.group_id, []).append(entry)
    return found


def _stays(record: Record, group: GroupRecord) -> dict[str, list[Stay]]:
    log = reference_log(record, group)
    return stays_by_log(log, founders_of(record.outcomes, group.group_id))


_Part = tuple[DeviceRecord, list[Entry]]
"""A device, and what of its stream is about one group."""


def _judge_by_log(record: Record, group: GroupRecord, parts: Sequence[_Part]) -> Iterator[Finding]:
    """Exactly: the log says between which numbers each user was a member."""
    stays = _stays(record, group)
    for device, stream in parts:
        expected = [
            number
            for stay in stays.get(device.user_id, [])
            for number in range(stay.first, stay.last + 1)
        ]
        given = {entry.number for entry in stream if not entry.is_inbox}
        yield from _compared(device, group, set(expected) - given, given - set(expected))


def _judge_by_requests(
    record: Record, group: GroupRecord, parts: Sequence[_Part]
) -> Iterator[Finding]:
    """The log is silent about members: streams have to be dense between the user's notices.

    Which message is the first and the last is known as far as the requests' times tell.
    """
    spans = spans_by_requests(record.outcomes, group.group_id)
    messages = [outcome for outcome in record.outcomes if outcome.group_id == group.group_id]
    for device, stream in parts:
        visits, outside = _visits(stream)
        yield from _compared(device, group, set(), outside)
        expected = spans.get(device.user_id, [])
        if len(expected) != len(visits):
            fault = Fault.LOST if len(visits) < len(expected) else Fault.LEAKED
            what = f"{len(visits)} memberships by notices, {len(expected)} by requests"
            yield Finding(fault, _name(device), f"{group.group_id}: {what}")
            continue
        for visit, span in zip(visits, expected, strict=True):
            must, may_not = numbers_within(messages, span)
            dense = set(range(min(visit), max(visit) + 1)) if visit else set()
            yield from _compared(device, group, (must | dense) - visit, visit & may_not)


def _compared(
    device: DeviceRecord, group: GroupRecord, lost: set[int], leaked: set[int]
) -> Iterator[Finding]:
    if lost:
        yield Finding(Fault.LOST, _name(device), f"{group.group_id} {_short(lost)}")
    if leaked:
        yield Finding(Fault.LEAKED, _name(device), f"{group.group_id} {_short(leaked)}")


def _visits(stream: Sequence[Entry]) -> tuple[list[set[int]], set[int]]:
    """The numbers within each membership as the user's own notices tell it, and those outside."""
    visits: list[set[int]] = []
    outside: set[int] = set()
    is_member = False
    for entry in stream:
        if not entry.is_inbox:
            (visits[-1] if is_member else outside).add(entry.number)
            is_member = is_member and entry.event != "group_disbanded"
        elif entry.event in NOTICES_OF_COMING:
            visits.append(set())
            is_member = True
        elif entry.event in NOTICES_OF_GOING:
            is_member = False
    return visits, outside


def _has_doubles(*devices: DeviceRecord) -> bool:
    """Doubles have their own finding."""
    return any(len(set(device.stream)) < len(device.stream) for device in devices)


def _places(record: Record, indexes: Iterable[int]) -> str:
    entries = [record.entries[index] for index in sorted(indexes)]
    shown = ", ".join(f"{entry.log} {entry.number}" for entry in entries[:_SHOWN])
    return f"{len(entries)} more: {shown}"


def _name(device: DeviceRecord) -> str:
    return f"{device.user_id} {device.device_id}"


def _short(numbers: Iterable[int]) -> str:
    ordered = sorted(numbers)
    shown = ", ".join(map(str, ordered[:_SHOWN]))
    return f"{shown}, ... ({len(ordered)})" if len(ordered) > _SHOWN else shown
