"""Entries that go to the same devices, one after the other, are told together.

A group in which much is said has many messages in one commit. What all its devices get is the
same, so it is joined once instead of once for each of them.
"""

from collections.abc import Iterator, Sequence

from protocol.vocabulary import EventKind, Notice
from server.domain.model import Entry
from server.service.ports import Committed


def runs(committed: Sequence[Committed]) -> Iterator[Sequence[Committed]]:
    """``committed`` in its order, in runs that have one audience from beginning to end.

    An entry with which somebody comes or goes, or chooses what to receive, or that is for one
    user alone is a run of its own.
    """
    start = 0
    for stop in range(1, len(committed) + 1):
        if stop == len(committed) or not _goes_on(committed[start].entry, committed[stop].entry):
            yield committed[start:stop]
            start = stop


def _goes_on(first: Entry, entry: Entry) -> bool:
    return (
        first.group_id == entry.group_id
        and (first.kind is EventKind.MESSAGE) == (entry.kind is EventKind.MESSAGE)
        and _is_steady(first)
        and _is_steady(entry)
    )


def _is_steady(entry: Entry) -> bool:
    """Whether the group's audience is the same before and after it."""
    return (
        entry.inbox_of is None
        and not (entry.joined or entry.left or entry.closes)
        and entry.event != Notice.RECEIVE_OPTION_CHANGED
    )
