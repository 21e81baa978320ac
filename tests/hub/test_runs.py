"""What is told together: everything once, in order, to one audience."""

import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from protocol.vocabulary import EventKind, Notice
from server.domain.model import Entry
from server.hub.runs import runs
from server.hub.session import joined
from server.service.ports import Committed
from tests.storage.builders import entry

KINDS = st.sampled_from([EventKind.MESSAGE, EventKind.TIP, EventKind.NOTICE])
WAYS = st.sampled_from(["joined", "left", "closes", "inbox_of", "option", "", "", ""])


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    group_id, kind, way = draw(st.sampled_from("gh")), draw(KINDS), draw(WAYS)
    values: dict[str, Any] = {
        "joined": ("bob",),
        "left": ("bob",),
        "closes": True,
        "inbox_of": "bob",
    }
    event = str(Notice.RECEIVE_OPTION_CHANGED) if way == "option" else "e"
    return entry(event, group_id, kind, **({way: values[way]} if way in values else {}))


def is_alone(one: Entry) -> bool:
    return bool(
        one.joined
        or one.left
        or one.closes
        or one.inbox_of
        or one.event == Notice.RECEIVE_OPTION_CHANGED
    )


@given(st.lists(entries(), max_size=20))
def test_runs_have_one_audience_and_are_as_long_as_may_be(told: list[Entry]) -> None:
    committed = [Committed(one, place, place) for place, one in enumerate(told, start=1)]
    found = list(runs(committed))
    assert [item for run in found for item in run] == committed
    for run in found:
        of = {(item.entry.group_id, item.entry.kind is EventKind.MESSAGE) for item in run}
        assert len(of) == 1
        assert len(run) == 1 or not any(is_alone(item.entry) for item in run)
    for before, after in itertools.pairwise(found):
        last, first = before[-1].entry, after[0].entry
        assert (
            is_alone(last)
            or is_alone(first)
            or last.group_id != first.group_id
            or (last.kind is EventKind.MESSAGE) != (first.kind is EventKind.MESSAGE)
        )


@given(st.lists(st.integers(1, 100_000), max_size=12))
def test_pieces_are_whole_frames_and_not_more_than_may_be_written_at_once(
    sizes: list[int],
) -> None:
    frames = [bytes([place]) * size for place, size in enumerate(sizes)]
    pieces = joined(frames)
    assert b"".join(pieces) == b"".join(frames)
    ends = set(itertools.accumulate(map(len, frames)))
    assert set(itertools.accumulate(map(len, pieces))) <= ends
    for piece in pieces:
        assert len(piece) <= 65_536 or piece in frames
    for one, other in itertools.pairwise(pieces):
        assert len(one) + len(other) > 65_536
