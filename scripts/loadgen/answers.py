"""Checks of what was answered, and of what the logs say about it."""

from collections import Counter
from collections.abc import Iterator, Sequence

from protocol.vocabulary import GroupType
from scripts.loadgen.early import OWNER_CHANGED, PROFILE_CHANGED, SILENT_CHANGES, has_tips
from scripts.loadgen.membership import (
    COMING,
    GOING,
    comings_and_goings,
    reference_log,
)
from scripts.loadgen.plan import Expects, Kind
from scripts.loadgen.record import Entry, Fault, Finding, GroupRecord, Outcome, Record

_NO_PERMISSION = 10007
_SILENT_CHANGE = "notice of a silent change"


def check_histories(record: Record) -> Iterator[Finding]:
    """Logs are dense from 1, and every message is in its log once, at the place answered."""
    sent = [o for o in record.outcomes if o.kind is Kind.SEND and o.is_stored]
    by_group: dict[str, list[Outcome]] = {}
    for outcome in sent:
        by_group.setdefault(outcome.group_id, []).append(outcome)
    for group in record.groups.values():
        log = reference_log(record, group)
        yield from _check_dense(group, log)
        yield from _check_messages(group, log, by_group.get(group.group_id, []))


def _check_dense(group: GroupRecord, log: Sequence[Entry]) -> Iterator[Finding]:
    where = f"log of {group.group_id}"
    for expected, entry in enumerate(log, start=1):
        if entry.number != expected:
            yield Finding(Fault.LOST, where, f"{entry.number} where {expected} should be")
            return
    if group.is_disbanded and (not log or log[-1].event != "group_disbanded"):
        yield Finding(Fault.LOST, where, "no group_disbanded at its end")


def _check_messages(
    group: GroupRecord, log: Sequence[Entry], sent: Sequence[Outcome]
) -> Iterator[Finding]:
    where = f"log of {group.group_id}"
    by_mark = {outcome.mark: outcome for outcome in sent}
    messages = [entry for entry in log if entry.event == "message"]
    counts = Counter(entry.mark for entry in messages)
    for entry in messages:
        wrong = _wrong_message(entry, by_mark.get(entry.mark))
        if wrong is not None:
            yield Finding(wrong[0], where, f"message {entry.mark} at {entry.number} {wrong[1]}")
    for mark, count in counts.items():
        if count > 1:
            yield Finding(Fault.DOUBLE, where, f"message {mark} is there {count} times")
    for outcome in sent:
        if outcome.is_done and outcome.mark not in counts:
            text = f"message {outcome.mark} was answered {outcome.result}"
            yield Finding(Fault.LOST, where, text)


def _wrong_message(entry: Entry, outcome: Outcome | None) -> tuple[Fault, str] | None:
    """What is wrong with a message of the log that was sent with ``outcome``."""
    if outcome is None or outcome.user_id != entry.actor_id:
        return Fault.LEAKED, "is not of this group"
    if outcome.code is not None:
        return Fault.ANSWER, "was refused"
    if outcome.is_done and not _is_at(entry, outcome):
        return Fault.ANSWER, f"was answered {outcome.result}"
    return None


def _is_at(entry: Entry, outcome: Outcome) -> bool:
    result = outcome.result or {}
    return (result.get("seq"), result.get("message_id")) == (entry.number, entry.message_id)


def check_notices(record: Record) -> Iterator[Finding]:
    """Each device has exactly the notices of what was done with its user."""
    if any(outcome.replied_s is None for outcome in record.outcomes):
        return  # what an unanswered request did is not known, and is a finding of its own
    expected: dict[str, Counter[tuple[str, ...]]] = {}
    for outcome in record.outcomes:
        if outcome.is_done and _stores_members(record, outcome):
            is_told = has_tips(record.groups[outcome.group_id].type)
            for user_id, event in _notices_of(outcome, is_told=is_told):
                expected.setdefault(user_id, Counter())[event, outcome.group_id] += 1
    for device in record.devices:
        entries = [record.entries[index] for index in set(device.stream)]
        given: Counter[tuple[str, ...]] = Counter(
            (_silent_or(record, entry), entry.group_id) for entry in entries if entry.is_inbox
        )
        where = f"inbox of {device.user_id} on {device.device_id}"
        yield from _differences(where, expected.get(device.user_id, Counter()), given)


def _differences(
    where: str, expected: Counter[tuple[str, ...]], given: Counter[tuple[str, ...]]
) -> Iterator[Finding]:
    for words, count in (expected - given).items():
        yield Finding(Fault.LOST, where, f"{count} x {' '.join(words)}")
    for words, count in (given - expected).items():
        yield Finding(Fault.LEAKED, where, f"{count} x {' '.join(words)}")


def _stores_members(record: Record, outcome: Outcome) -> bool:
    """Rooms store their owner only."""
    group = record.groups.get(outcome.group_id)
    if group is None or group.type is not GroupType.AVCHATROOM:
        return group is not None
    return outcome.kind is Kind.CREATE


def _notices_of(outcome: Outcome, *, is_told: bool) -> Iterator[tuple[str, str]]:
    """Whom a done request sends which notice (``groups.md`` section 5).

    Args:
        is_told: whether a tip tells the group; if none does, the actor's own devices have to
            learn of it otherwise (section 2, last paragraph).
    """
    if outcome.kind is Kind.MUTE:
        yield from ((user_id, PROFILE_CHANGED) for user_id in outcome.target_ids)
        if not is_told:
            yield outcome.user_id, PROFILE_CHANGED
    if outcome.kind is Kind.TRANSFER:
        yield from ((user_id, OWNER_CHANGED) for user_id in (outcome.user_id, *outcome.target_ids))
    came, went = comings_and_goings(outcome)
    own = {Kind.CREATE: "group_created", Kind.JOIN: "joined", Kind.QUIT: "quit"}.get(outcome.kind)
    for user_id in came:
        is_own = user_id == outcome.user_id and own is not None
        yield user_id, own if is_own and own is not None else "invited"
    for user_id in went:
        yield user_id, own if own is not None else "kicked"
    if (came or went) and own is None and not is_told:
        yield outcome.user_id, _SILENT_CHANGE


def _silent_or(record: Record, entry: Entry) -> str:
    """The notice's name, or what stands for all that may tell of a silent change."""
    group = record.groups.get(entry.group_id)
    is_silent = group is not None and not has_tips(group.type) and entry.event in SILENT_CHANGES
    return _SILENT_CHANGE if is_silent else entry.event


def check_tips(record: Record) -> Iterator[Finding]:
    """Where comings and goings are told, each is told once, and the members are who they say."""
    unanswered = {o.group_id for o in record.outcomes if o.replied_s is None}
    for group in record.groups.values():
        if group.type is GroupType.AVCHATROOM or group.group_id in unanswered:
            continue
        log = reference_log(record, group)
        outcomes = [o for o in record.outcomes if o.group_id == group.group_id and o.is_done]
        given: Counter[tuple[str, ...]] = Counter(
            (entry.event, user_id)
            for entry in log
            if entry.event in COMING | GOING
            for user_id in entry.user_ids
        )
        expected: Counter[tuple[str, ...]] = Counter(
            _tips_of(outcomes) if has_tips(group.type) else ()
        )
        yield from _differences(f"log of {group.group_id}", expected, given)
        if group.member_ids is not None:
            yield from _check_members(group, outcomes)


def _tips_of(outcomes: Sequence[Outcome]) -> Iterator[tuple[str, str]]:
    names = {
        Kind.JOIN: "member_joined",
        Kind.INVITE: "member_invited",
        Kind.KICK: "member_kicked",
        Kind.QUIT: "member_quit",
    }
    for outcome in outcomes:
        if outcome.kind in names:
            came, went = comings_and_goings(outcome)
            for user_id in (*came, *went):
                yield names[outcome.kind], user_id


def _check_members(group: GroupRecord, outcomes: Sequence[Outcome]) -> Iterator[Finding]:
    members: set[str] = set()
    for outcome in sorted(outcomes, key=lambda outcome: outcome.sent_s):
        came, went = comings_and_goings(outcome)
        members |= set(came)
        members -= set(went)
    wrong = members ^ (group.member_ids or frozenset())
    if wrong:
        yield Finding(
            Fault.ANSWER, f"members of {group.group_id}", f"wrong about {sorted(wrong)[:5]}"
        )


def check_answers(record: Record) -> Iterator[Finding]:
    """Every request was answered, as the plan expects it, and the same again when repeated."""
    for outcome in record.outcomes:
        where = f"request {outcome.number} ({outcome.kind} by {outcome.user_id})"
        wrong = _wrong_answer(outcome)
        if wrong:
            yield Finding(Fault.ANSWER, where, wrong)
        if outcome.second:
            yield Finding(Fault.ANSWER, where, f"repeated: {outcome.second}")
        for event in outcome.early:
            yield Finding(Fault.EARLY_REPLY, where, f"{event} had not come")


def _wrong_answer(outcome: Outcome) -> str:
    if outcome.replied_s is None:
        return "no answer"
    if outcome.expects is Expects.REFUSED:
        if outcome.code != outcome.expected_code:
            return f"code {outcome.code}, expected {outcome.expected_code}"
        return ""
    may_be_refused = outcome.expects is Expects.EITHER or outcome.may_differ
    if outcome.code is not None and not (may_be_refused and outcome.code == _NO_PERMISSION):
        return f"refused: {outcome.code} {outcome.message}"
    if outcome.kind in (Kind.INVITE, Kind.KICK, Kind.CREATE) and outcome.is_done:
        return _wrong_rows(outcome)
    status = (outcome.result or {}).get("status", "joined")
    return "" if status == "joined" or outcome.may_differ else f"status {status}"


def _wrong_rows(outcome: Outcome) -> str:
    rows = (outcome.result or {}).get("members", ())
    if tuple(row["user_id"] for row in rows) != outcome.target_ids:
        return f"rows {rows} for {outcome.target_ids}"
    failed = [row for row in rows if row["result"] == "failed"]
    return f"failed: {failed}" if failed else ""


def check_sending_order(record: Record) -> Iterator[Finding]:
    """What one device said in a group stands there in the order in which it was said.

    And what was answered before another message was sent stands before that one.
    """
    said: dict[str, list[tuple[int, Outcome]]] = {}
    for outcome in record.outcomes:
        number = (outcome.result or {}).get("seq")
        if outcome.kind is Kind.SEND and number is not None:
            said.setdefault(outcome.group_id, []).append((number, outcome))
    for group_id, messages in said.items():
        latest_by_device: dict[tuple[str, str], float] = {}
        latest_sent_s = 0.0
        for number, outcome in sorted(messages, key=lambda message: message[0]):
            device = (outcome.user_id, outcome.device_id)
            replied_s = outcome.replied_s if outcome.replied_s is not None else float("inf")
            if outcome.sent_s < latest_by_device.get(device, 0.0) or replied_s < latest_sent_s:
                yield Finding(
                    Fault.REORDERED, f"log of {group_id}", f"{number} was sent before earlier ones"
                )
            latest_by_device[device] = outcome.sent_s
            latest_sent_s = max(latest_sent_s, outcome.sent_s)
