"""The judge of a history: what every device was told, held against what was committed.

It knows the log, the memberships that follow from the log, and the promises of ``design.md``; of
the code that is being judged it knows nothing.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from protocol.frames import ResetReason, Resume
from protocol.vocabulary import EventKind, Notice, ReceiveOption
from server.service.ports import Committed, RequestKey
from tests.machines.books import name_of_entry
from tests.simulation.ledger import Ledger
from tests.simulation.records import (
    ConnectionRecord,
    Name,
    RunRecord,
    Sighting,
    Stretch,
    place_of,
)

UNDECIDED = frozenset(
    {"OUTCOME_UNKNOWN", "UNAVAILABLE", "INTERNAL", "TOO_MANY_REQUESTS", "REQUEST_ID_CONFLICT"}
)
"""Refusals that say nothing about whether an earlier copy of the request took effect."""


class Interval(msgspec.Struct):
    """A membership: at which positions its messages began or ceased to be wanted."""

    choices: list[tuple[int, bool]]

    def wanted(self, position: int) -> set[bool]:
        """Whether a message at ``position`` is wanted then, and whether at any time after it."""
        before = [discards for at, discards in self.choices if at < position]
        after = [discards for at, discards in self.choices if at >= position]
        return {not discards for discards in (before[-1] if before else False, *after)}


class Expected(msgspec.Struct, frozen=True):
    """An entry that a user may see. What is discarded need not come, or must not."""

    position: int
    name: Name
    must: bool
    may: bool


class View:
    """What one user may see of one history of the store."""

    def __init__(self, user_id: str, log: Iterable[Committed]) -> None:
        seen: list[tuple[Committed, Interval | None]] = []
        inside: dict[str, Interval] = {}
        for told in log:
            entry, group_id = told.entry, told.entry.group_id
            if user_id in entry.joined:
                inside[group_id] = Interval([])
            if entry.inbox_of == user_id:
                seen.append((told, None))
                if entry.event == Notice.RECEIVE_OPTION_CHANGED and group_id in inside:
                    discards = entry.data.receive_option is ReceiveOption.DISCARD
                    inside[group_id].choices.append((told.position, discards))
            elif entry.inbox_of is None and group_id in inside:
                seen.append((told, inside[group_id]))
            if entry.closes or user_id in entry.left:
                inside.pop(group_id, None)
        self.entries = [_expected(told, interval) for told, interval in seen]
        self.positions = [one.position for one in self.entries]

    def after(self, position: int) -> list[Expected]:
        """What comes after ``position``."""
        return self.entries[bisect_right(self.positions, position) :]


def _expected(told: Committed, interval: Interval | None) -> Expected:
    name = name_of_entry(told)
    if interval is None or told.entry.kind is not EventKind.MESSAGE or not interval.choices:
        return Expected(told.position, name, must=True, may=True)
    wanted = interval.wanted(told.position)
    return Expected(told.position, name, must=wanted == {True}, may=True in wanted)


class Oracle:
    """Judges what was recorded.

    Args:
        is_best_effort: whether a group stores no membership, and who of its users is its owner.
        contents: request -> the contents with which it was sent.
        forgets_requests: whether request ids are forgotten within this history.
    """

    def __init__(
        self,
        ledgers: dict[str, Ledger],
        *,
        is_best_effort: Callable[[str, str], bool],
        contents: dict[RequestKey, set[str]],
        forgets_requests: bool,
    ) -> None:
        self._ledgers = ledgers
        self._is_best_effort = is_best_effort
        self._contents = contents
        self._forgets_requests = forgets_requests
        self._done: dict[RequestKey, str] = {}
        self.findings: list[str] = []
        self._views: dict[tuple[int, str], View] = {}

    def note_done(self, key: RequestKey, content: str) -> None:
        """A request was answered as done; a second content under the same id must not be."""
        done = self._done.setdefault(key, content)
        if done != content and not self._forgets_requests:
            self.findings.append(f"{key}: both {done} and {content} were done")

    def view(self, epoch: str, user_id: str) -> View:
        """What the user may see of that history, up to now."""
        ledger = self._ledgers[epoch]
        key = id(ledger), user_id
        if key not in self._views:
            self._views[key] = View(user_id, ledger.log)
        return self._views[key]

    # One connection, one application.

    def judge_connection(self, record: ConnectionRecord) -> Iterator[str]:
        """What is wrong with what a connection was told."""
        for wrong in (*record.wrong, *self._judge_stretch(record, record.user_id, exactly=True)):
            yield f"{record.label}: {wrong}"

    def judge_run(self, record: RunRecord, *, is_complete: bool) -> Iterator[str]:
        """What is wrong with what an application was given, over all its connections."""
        wrong = list(record.wrong)
        for stretch in record.stretches:
            is_last = is_complete and stretch is record.stretches[-1]
            wrong += self._judge_stretch(stretch, record.user_id, exactly=False, whole=is_last)
        if is_complete and not record.stretches:
            wrong.append("was never told that it is connected")
        yield from (f"{record.label}: {one}" for one in wrong)

    def _judge_stretch(
        self, stretch: Stretch, user_id: str, *, exactly: bool, whole: bool = False
    ) -> Iterator[str]:
        """Hold a stretch against the log: order, once, audience, holes, and the cursors.

        Args:
            exactly: a cursor also says that nothing after it has come.
            whole: nothing is missing at the end.
        """
        expected = [
            one
            for one in self.view(stretch.epoch, user_id).after(stretch.start)
            if not self._is_skipped(one.name, user_id)
        ]
        # A group whose ID was free again begins anew, with the same numbers.
        indexes_of: defaultdict[Name, list[int]] = defaultdict(list)
        for index, one in enumerate(expected):
            indexes_of[one.name].append(index)
        next_of: list[int] = [0]
        """After each event: the index of what may come next."""
        reached = 0
        for name in stretch.names:
            if self._is_skipped(name, user_id):
                next_of.append(reached)
                continue
            indexes = indexes_of.get(name, [])
            place = bisect_left(indexes, reached)
            if place == len(indexes):
                yield self._why_not(name, stretch, user_id, was_expected=bool(indexes))
                return
            index = indexes[place]
            skipped = [one for one in expected[reached:index] if one.must]
            if skipped:
                yield f"{skipped[0].name} is missing before {name} (from {stretch.start})"
                return
            if not expected[index].may:
                yield f"{name} was discarded, and came"
            reached = index + 1
            next_of.append(reached)
        yield from self._judge_cursors(stretch, expected, next_of, exactly=exactly)
        if whole and any(one.must for one in expected[reached:]):
            missing = [one.name for one in expected[reached:] if one.must]
            yield f"{missing[0]} and {len(missing) - 1} more never came (from {stretch.start})"
        if len(set(stretch.unstored)) != len(stretch.unstored):
            yield "an unstored event came twice"

    def _is_skipped(self, name: Name, user_id: str) -> bool:
        return name[0] == "group" and self._is_best_effort(name[1], user_id)

    def _judge_cursors(
        self, stretch: Stretch, expected: list[Expected], next_of: list[int], *, exactly: bool
    ) -> Iterator[str]:
        before = stretch.start
        for position, count in stretch.cursors:
            reached = next_of[count]
            missing = next((one for one in expected[reached:] if one.must), None)
            if missing is not None and missing.position <= position:
                yield f"the cursor {position} promises {missing.name}, which had not come"
                return
            if exactly and reached and expected[reached - 1].position > position:
                yield f"the cursor {position} is behind {expected[reached - 1].name}"
                return
            if position < before:
                yield f"the cursor went back from {before} to {position}"
                return
            before = position

    def _why_not(self, name: Name, stretch: Stretch, user_id: str, *, was_expected: bool) -> str:
        if was_expected:
            return f"{name} came twice, or too late (from {stretch.start})"
        ledger = self._ledgers[stretch.epoch]
        place = next((t.position for t in ledger.log if name_of_entry(t) == name), None)
        if place is None:
            return f"{name} was never committed in {stretch.epoch}"
        if place <= stretch.start:
            return f"{name} is from before the start ({stretch.start})"
        return f"{name} is not for {user_id}"

    # Welcomes.

    def judge_welcome(
        self, record: ConnectionRecord, floor: int, most_missed: int | None
    ) -> Iterator[str]:
        """What is wrong with how a connection starts; asked when its welcome comes.

        Args:
            floor: up to where the log was let go of.
        """
        cursor = record.hello_cursor
        if cursor is None:
            if record.resume is not Resume.FRESH:
                yield f"{record.resume} without a cursor"
            return
        term, position = place_of(cursor)
        now = self._ledgers[record.epoch]
        is_known = now.has_in_common(self._ledgers[term], position)
        match record.resume:
            case Resume.FRESH:
                yield "fresh, with a cursor"
            case Resume.RESUMED if not is_known:
                yield f"resumed from {cursor}, which is not in the history of {record.epoch}"
            case Resume.RESUMED if position != record.start:
                yield f"resumed from {record.start}, asked for {cursor}"
            case Resume.RESUMED:
                pass
            case Resume.RESET:
                yield from self._judge_reset(record, cursor, floor, most_missed)

    def _judge_reset(
        self, record: ConnectionRecord, cursor: str, floor: int, most_missed: int | None
    ) -> Iterator[str]:
        term, position = place_of(cursor)
        then, now = self._ledgers[term], self._ledgers[record.epoch]
        match record.reason:
            case ResetReason.UNKNOWN_CURSOR:
                # A term that had not begun when the copy was made is not known to it.
                is_told_of = now is then or term in now.terms
                if is_told_of and now.has_in_common(then, position):
                    yield f"{cursor} is known"
            case ResetReason.EXPIRED:
                if position >= floor:
                    yield f"{cursor} has not expired: {floor}"
            case ResetReason.TOO_FAR:
                missed = len(View(record.user_id, now.log).after(position))
                if most_missed is None or missed <= most_missed:
                    yield f"{cursor} is not too far: {missed}"
            case None:
                yield "reset without a reason"

    # Requests.

    def judge_replies(self, user_id: str, sightings: Iterable[Sighting]) -> Iterator[str]:
        """What is wrong with the replies that a user's devices have read."""
        by_request: defaultdict[tuple[int, str], list[Sighting]] = defaultdict(list)
        for sighting in sightings:
            ledger = self._ledgers[sighting.epoch]
            by_request[id(ledger), sighting.request_id].append(sighting)
        for (_, request_id), group in by_request.items():
            key = RequestKey(user_id, request_id)
            if key in self._contents:
                for wrong in self._judge_request(key, self._ledgers[group[0].epoch], group):
                    yield f"{user_id} {request_id}: {wrong}"

    def _judge_request(
        self, key: RequestKey, ledger: Ledger, sightings: list[Sighting]
    ) -> Iterator[str]:
        applied = ledger.applied.get(key, [])
        if len(applied) > 1 and not self._forgets_requests:
            yield f"took effect {len(applied)} times"
        results: list[Any] = []
        for sighting in sightings:
            if sighting.error is None:
                results.append(sighting.result)
                if not applied:
                    yield "was answered, and never took effect"
                elif sighting.was_live and sighting.position < applied[0].position:
                    yield f"was answered at {sighting.position}, before its own events"
            elif sighting.error == "REQUEST_ID_CONFLICT":
                if len(self._contents[key]) < 2:
                    yield "is in conflict with itself"
            elif self._is_decided(key, sighting.error) and any(
                one.before < one.position <= sighting.position for one in applied
            ):
                yield f"was refused ({sighting.error}), and had taken effect"
        if not self._forgets_requests:
            yield from (
                f"was answered {one!r} and {results[0]!r}"
                for one in results[1:]
                if one != results[0]
            )
        yield from self._judge_message(key, ledger, results)

    def _is_decided(self, key: RequestKey, error: str) -> bool:
        """Whether the refusal says that the request had not taken effect before."""
        has_one_content = len(self._contents[key]) == 1
        return error not in UNDECIDED and has_one_content and not self._forgets_requests

    def _judge_message(self, key: RequestKey, ledger: Ledger, results: list[Any]) -> Iterator[str]:
        """A message that was answered with a number is in the log under it."""
        for result in results:
            if not result or "message_id" not in result or "seq" not in result:
                continue
            there = [t for t in ledger.log if t.entry.message_id == result["message_id"]]
            if [(t.seq, t.entry.from_id) for t in there] != [(result["seq"], key.user_id)]:
                yield f"answered {result}, and the log has {[t.seq for t in there]}"
