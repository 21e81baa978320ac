"""The rule by which every adapter numbers."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from server.domain.model import GroupKey, MemberKey
from server.service.ports import Conflict, Done, Outcome, WriteSet
from server.storage.changes import Changes, LogHead, View, group_log, inbox_log
from server.storage.numbering import number, touched
from tests.storage.builders import (
    asked,
    entry,
    founding,
    group,
    join,
    leave,
    member,
    message,
    notice,
    say,
    write_set,
)

EMPTY = View(position=0, change=0, versions={}, replies={}, logs={})


def after(view: View, changes: Changes) -> View:
    """What a store holds that held ``view`` and took ``changes``."""
    versions = {**view.versions}
    for key, put in changes.rows.items():
        versions[key] = 0 if put.row is None else put.position
    replies = {key: request.stored for key, request in changes.requests.items()}
    return View(
        position=changes.position,
        change=changes.change,
        versions=versions,
        replies={**view.replies, **replies},
        logs={**view.logs, **changes.logs},
    )


def run(batches: Sequence[Sequence[WriteSet]]) -> tuple[list[Outcome], View, list[int]]:
    """All outcomes, what is held at the end, and the positions of the entries."""
    view = EMPTY
    outcomes: list[Outcome] = []
    positions: list[int] = []
    for batch in batches:
        some, changes = number(batch, view)
        outcomes.extend(some)
        positions.extend(told.position for _, told in changes.entries)
        view = after(view, changes)
    return outcomes, view, positions


users = st.sampled_from(["ann", "bob", "cat"])
groups = st.sampled_from(["g", "h"])
keys = st.one_of(st.builds(GroupKey, groups), st.builds(MemberKey, groups, users))
entries = st.one_of(
    st.builds(lambda g, s: message("m", g, is_stored=s), groups, st.booleans()),
    st.builds(lambda g, u: notice("n", u, g), groups, users),
    st.builds(lambda g: entry("t", g), groups),
)
write_sets = st.one_of(
    st.builds(
        lambda some, expect: write_set(*some, expect=expect),
        st.lists(entries, max_size=4),
        st.dictionaries(keys, st.integers(0, 6), max_size=2),
    ),
    st.builds(lambda g, us: founding(g, *us), groups, st.lists(users, unique=True)),
    st.builds(join, users, groups),
    st.builds(leave, users, groups),
    st.builds(lambda u, g: say("s", u, g), users, groups),
    st.builds(
        lambda r, u, some: asked(r, *some, user_id=u),
        st.sampled_from("rst"),
        users,
        st.lists(entries, max_size=2),
    ),
)
batches = st.lists(st.lists(write_sets, max_size=8), max_size=5)


@given(batches)
def test_numbers_are_dense_and_in_order(some: list[list[WriteSet]]) -> None:
    outcomes, view, positions = run(some)
    done = [outcome for outcome in outcomes if isinstance(outcome, Done)]
    committed = [told for outcome in done for told in outcome.committed if told.position]
    assert [told.position for told in committed] == positions
    blank = [
        outcome.position
        for before, outcome in zip([Done(0, None, []), *done], done, strict=False)
        if outcome.position > before.position
        and not any(told.position for told in outcome.committed)
    ]
    assert sorted(positions + blank) == list(range(1, view.position + 1))
    for name, head in view.logs.items():
        seqs = [
            told.seq
            for told in committed
            if (told.entry.inbox_of and inbox_log(told.entry.inbox_of)) == name
            or (told.entry.inbox_of is None and group_log(told.entry.group_id) == name)
        ]
        assert seqs == list(range(1, head.seq + 1))


@given(batches)
def test_how_write_sets_are_gathered_into_batches_makes_no_difference(
    some: list[list[WriteSet]],
) -> None:
    alone = [[one] for batch in some for one in batch]
    assert run(some) == run(alone)


def test_touched_names_what_a_batch_rests_on() -> None:
    names = touched(
        [
            asked("r", message("m"), notice("n", "bob"), expect={GroupKey("h"): 3}),
            write_set(expect={GroupKey("x"): -1}, puts={GroupKey("p"): group("p")}),
            write_set(notice("n", "cat", "k", joined=("cat",))),
            say("s", "ann", "t"),
        ]
    )
    assert names.rows == [GroupKey("h")]
    assert [request.request_id for request in names.requests] == ["r"]
    assert set(names.logs) == {"g:g", "u:bob", "g:p", "u:cat", "g:k", "g:t"}


def test_what_the_view_holds_is_not_changed() -> None:
    head = LogHead(seq=4, last_position=9)
    view = View(position=9, change=2, versions={}, replies={}, logs={"g:g": head})
    _, changes = number([write_set(message("m"))], view)
    assert (head.seq, changes.logs["g:g"].seq) == (4, 5)


def test_the_last_word_on_a_row_is_written_once() -> None:
    key = MemberKey("g", "ann")
    outcomes, changes = number(
        [
            write_set(puts={key: member("ann")}),
            write_set(puts={key: None}),
            write_set(expect={key: 5}),
            write_set(puts={key: member("ann", name_card="A.")}),
        ],
        EMPTY,
    )
    assert outcomes[2] == Conflict()
    assert changes.rows[key].row == member("ann", name_card="A.")
    assert changes.rows[key].position == 3
