"""Who was in which group between which places of its log, worked out from the log itself."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from scripts.loadgen.plan import Kind
from scripts.loadgen.record import Entry, GroupRecord, Outcome, Record

COMING = frozenset({"member_joined", "member_invited"})
GOING = frozenset({"member_quit", "member_kicked"})
NOTICES_OF_COMING = frozenset({"group_created", "invited", "joined"})
NOTICES_OF_GOING = frozenset({"kicked", "quit"})


class Stay(msgspec.Struct, frozen=True):
    """Both numbers belong to it: the first and the last that the member sees."""

    first: int
    last: int


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """When a membership may and must have been, by the load side's clock.

    It began between ``may_from_s`` and ``must_from_s`` and ended between ``must_to_s`` and
    ``may_to_s``.
    """

    may_from_s: float
    must_from_s: float
    must_to_s: float
    may_to_s: float


def reference_log(record: Record, group: GroupRecord) -> list[Entry]:
    """The group's log in the order of its numbers, as the history shows it.

    A disbanded group shows none: then it is what all devices together have seen.
    """
    if group.history is not None:
        return [record.entries[index] for index in group.history]
    seen = [
        entry
        for entry in record.entries
        if not entry.is_inbox and entry.number and entry.log == group.group_id
    ]
    return sorted(seen, key=lambda entry: entry.number)


def stays_by_log(log: Sequence[Entry], founders: Sequence[str]) -> dict[str, list[Stay]]:
    """User -> stays, of a group whose log tells who comes and goes.

    A newcomer sees the log from the tip that says so on, one who goes up to that tip.
    """
    since = dict.fromkeys(founders, 1)
    stays: dict[str, list[Stay]] = {}
    last = log[-1].number if log else 0
    for entry in log:
        if entry.event in COMING:
            for user_id in entry.user_ids:
                since.setdefault(user_id, entry.number)
        elif entry.event in GOING:
            for user_id in entry.user_ids:
                first = since.pop(user_id, None)
                if first is not None:
                    stays.setdefault(user_id, []).append(Stay(first, entry.number))
    for user_id, first in since.items():
        stays.setdefault(user_id, []).append(Stay(first, last))
    return stays


def founders_of(outcomes: Sequence[Outcome], group_id: str) -> list[str]:
    """The creator and the initial members of a group."""
    for outcome in outcomes:
        if outcome.kind is Kind.CREATE and outcome.group_id == group_id and outcome.is_done:
            return [outcome.user_id, *changed_users(outcome)]
    return []


def changed_users(outcome: Outcome) -> list[str]:
    """Whom a done request added or removed, of those whom it named."""
    rows: Sequence[Mapping[str, str]] = (outcome.result or {}).get("members", ())
    return [row["user_id"] for row in rows if row["result"] in ("added", "removed")]


def comings_and_goings(outcome: Outcome) -> tuple[list[str], list[str]]:
    """The users who came and those who went by a done request."""
    result = outcome.result or {}
    if outcome.kind is Kind.CREATE:
        return [outcome.user_id, *changed_users(outcome)], []
    if outcome.kind is Kind.INVITE:
        return changed_users(outcome), []
    if outcome.kind is Kind.JOIN:
        return ([outcome.user_id] if result.get("status") == "joined" else []), []
    if outcome.kind is Kind.KICK:
        return [], changed_users(outcome)
    if outcome.kind is Kind.QUIT:
        return [], [outcome.user_id]
    return [], []


def spans_by_requests(outcomes: Sequence[Outcome], group_id: str) -> dict[str, list[Span]]:
    """User -> spans, in order, from the requests and their answers alone.

    For groups whose log does not tell. Right because the player has no two requests about the
    same member of the same group in flight together.
    """
    spans: dict[str, list[Span]] = {}
    done = [outcome for outcome in outcomes if outcome.group_id == group_id and outcome.is_done]
    forever = float("inf")
    for outcome in sorted(done, key=lambda outcome: outcome.sent_s):
        replied_s = outcome.replied_s if outcome.replied_s is not None else forever
        came, went = comings_and_goings(outcome)
        if outcome.kind is Kind.DISBAND:
            went = list(spans)
        for user_id in came:
            span = Span(
                may_from_s=outcome.sent_s,
                must_from_s=replied_s,
                must_to_s=forever,
                may_to_s=forever,
            )
            spans.setdefault(user_id, []).append(span)
        for user_id in went:
            if spans.get(user_id) and spans[user_id][-1].may_to_s == forever:
                span = msgspec.structs.replace(
                    spans[user_id][-1], must_to_s=outcome.sent_s, may_to_s=replied_s
                )
                spans[user_id][-1] = span
    return spans


def numbers_within(messages: Iterable[Outcome], span: Span) -> tuple[set[int], set[int]]:
    """Numbers of messages that a member of that span must see, and of those that it must not."""
    must: set[int] = set()
    may_not: set[int] = set()
    for outcome in messages:
        number = (outcome.result or {}).get("seq")
        if outcome.replied_s is None or number is None:
            continue
        if outcome.sent_s > span.must_from_s and outcome.replied_s < span.must_to_s:
            must.add(number)
        elif outcome.replied_s < span.may_from_s or outcome.sent_s > span.may_to_s:
            may_not.add(number)
    return must, may_not
