"""Short ways to see what came of a decision: its rows, its results, and who is told what."""

from collections.abc import Iterable
from typing import Any

import msgspec

from protocol.results import (
    HandleApplicationsResult,
    HandleResultKind,
    MemberResultKind,
    MemberResults,
)
from protocol.vocabulary import EventKind
from server.domain.model import (
    Application,
    Attributes,
    AttributesKey,
    Counters,
    CountersKey,
    Decision,
    Entry,
    Group,
    GroupKey,
    Member,
    MemberKey,
    Remembered,
    RememberedKey,
    Row,
    Slice,
)


def after(of: Slice, decision: Decision) -> Slice:
    """The slice as the decision leaves its rows."""
    puts = dict(decision.puts)
    group_row: Row | None = puts.get(GroupKey("g"), of.group)
    assert group_row is None or isinstance(group_row, Group)
    members = dict(of.members)
    remembered = dict(of.remembered)
    attributes, counters = of.attributes, of.counters
    for key, row in puts.items():
        if isinstance(key, MemberKey):
            assert row is None or isinstance(row, Member)
            members[key.user_id] = row
        elif isinstance(key, RememberedKey):
            assert row is None or isinstance(row, Remembered)
            remembered[key.user_id] = row
        elif isinstance(key, AttributesKey):
            assert isinstance(row, Attributes)
            attributes = row
        elif isinstance(key, CountersKey):
            assert isinstance(row, Counters)
            counters = row
    return msgspec.structs.replace(
        of,
        group=group_row,
        members=members,
        remembered=remembered,
        attributes=attributes,
        counters=counters,
    )


def group_in(decision: Decision, group_id: str = "g") -> Group:
    """The group as the decision writes it."""
    row = decision.puts[GroupKey(group_id)]
    assert isinstance(row, Group)
    return row


def created_in(decision: Decision) -> Group:
    """The only group that the decision writes."""
    (made,) = [row for row in decision.puts.values() if isinstance(row, Group)]
    return made


def member_in(decision: Decision, user_id: str, group_id: str = "g") -> Member:
    """The member as the decision writes it."""
    row = decision.puts[MemberKey(group_id, user_id)]
    assert isinstance(row, Member)
    return row


def applications_in(decision: Decision) -> list[Application]:
    """The applications that the decision writes, in order."""
    return [row for row in decision.puts.values() if isinstance(row, Application)]


def results(decision: Decision) -> list[tuple[str, MemberResultKind, str | None]]:
    """Of a batch on users: the user, what became of it, and the name of its error."""
    assert isinstance(decision.result, MemberResults)
    return [
        (one.user_id, one.result, one.error.name if one.error else None)
        for one in decision.result.members
    ]


def became(decision: Decision) -> list[str]:
    """What became of each: "approved", "rejected", or the name of its error."""
    assert isinstance(decision.result, HandleApplicationsResult)
    return [
        one.error.name if one.error else one.result.value for one in decision.result.applications
    ]


def reason(decision: Decision) -> dict[str, object]:
    """What the error of the only one says."""
    assert isinstance(decision.result, HandleApplicationsResult)
    (one,) = decision.result.applications
    assert one.error is not None
    assert one.result is HandleResultKind.FAILED
    return one.error.detail


def nothing_changed(decision: Decision) -> bool:
    """Whether no row is written and nobody is told anything."""
    return not decision.puts and not decision.entries


def said(decision: Decision, event: str) -> list[Any]:
    """The data of all entries of that name, in order."""
    return [entry.data for entry in decision.entries if entry.event == event]


def told(decision: Decision) -> list[str]:
    """One line for each entry: where it goes, what it is, its number, and its marks.

    An inbox is named by its user, "log" is the group's log, "connected" those of the group who
    are connected now; a notice that is not stored goes to "NAME now".
    """
    return [_line(entry) for entry in decision.entries]


def _line(entry: Entry) -> str:
    where = "log" if entry.is_stored else "connected"
    if entry.inbox_of is not None:
        where = entry.inbox_of if entry.is_stored else f"{entry.inbox_of} now"
    words = [f"{where}:", entry.kind.value, str(entry.event)]
    if entry.kind is EventKind.MESSAGE:
        assert entry.op is None
    else:
        words.append(str(entry.op))
    if entry.joined:
        words.append("joined=" + ",".join(entry.joined))
    if entry.left:
        words.append("left=" + ",".join(entry.left))
    if entry.closes:
        words.append("closes")
    return " ".join(words)


def heard(decision: Decision, members: Iterable[str]) -> dict[str, list[str]]:
    """User -> the names of what the user is told, when these were the members before.

    By the marks alone, as ``Entry`` explains them; whoever hears nothing is not there.
    """
    inside = dict.fromkeys(members)
    ears: dict[str, list[str]] = {}
    for entry in decision.entries:
        inside.update(dict.fromkeys(entry.joined))
        listeners = list(inside) if entry.inbox_of is None else [entry.inbox_of]
        for user_id in listeners:
            ears.setdefault(user_id, []).append(str(entry.event))
        for user_id in entry.left:
            inside.pop(user_id, None)
        if entry.closes:
            inside.clear()
    return ears
