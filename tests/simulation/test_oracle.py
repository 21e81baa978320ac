"""The judge notices what it is there for, and nothing else."""

from collections.abc import Sequence

import pytest

from protocol.events import ReceiveOptionChanged
from protocol.frames import Hello, ResetReason, Resume, Welcome
from protocol.vocabulary import EventKind, Notice, ReceiveOption
from server.domain.model import Entry
from server.service.ports import Committed, RequestKey
from tests.simulation.ledger import Applied, Ledger
from tests.simulation.oracle import Oracle
from tests.simulation.records import ConnectionRecord, Name, RunRecord, Sighting, Stretch

G, INBOX = "g", "ann"


def entry(event: str = "message", **fields: object) -> Entry:
    defaults = {"kind": EventKind.MESSAGE, "group_id": G, "time_ms": 0, "data": None}
    return Entry(event=event, **(defaults | fields))  # type: ignore[arg-type]


def to_ann(event: str, **fields: object) -> Entry:
    return entry(event, kind=EventKind.NOTICE, inbox_of=INBOX, **fields)


OPTION = ReceiveOptionChanged(receive_option=ReceiveOption.DISCARD)
LOG = (
    Committed(entry(), 1, 1),  # before ann is there
    Committed(to_ann("invited", joined=("ann",)), 2, 1),
    Committed(entry(), 3, 2),
    Committed(entry(), 4, 3),
    Committed(entry("member_quit", kind=EventKind.TIP, left=("ann",)), 5, 4),
    Committed(entry(), 6, 5),  # after she has gone
    Committed(to_ann("joined", joined=("ann",)), 7, 2),
    Committed(to_ann(Notice.RECEIVE_OPTION_CHANGED, data=OPTION), 8, 3),
    Committed(entry(), 9, 6),  # discarded
)
RIGHT: Sequence[Name] = (
    ("inbox", INBOX, 1),
    ("group", G, 2),
    ("group", G, 3),
    ("group", G, 4),
    ("inbox", INBOX, 2),
    ("inbox", INBOX, 3),
)


def oracle_of(*ledgers: Ledger, contents: dict[RequestKey, set[str]] | None = None) -> Oracle:
    return Oracle(
        {f"t{number}": ledger for number, ledger in enumerate(ledgers, 1)},
        is_best_effort=lambda _group_id, _user_id: False,
        contents=contents or {},
        forgets_requests=False,
    )


def ledger_of(log: Sequence[Committed] = LOG) -> Ledger:
    ledger = Ledger()
    ledger.log = list(log)
    ledger.position = log[-1].position
    return ledger


def judge(
    names: Sequence[Name], cursors: Sequence[tuple[int, int]] = (), *, is_complete: bool = False
) -> list[str]:
    run = RunRecord("ann", "ann/d", None)
    stretch = Stretch("t1", 0)
    stretch.names, stretch.cursors = list(names), list(cursors)
    run.stretches.append(stretch)
    return list(oracle_of(ledger_of()).judge_run(run, is_complete=is_complete))


def test_what_is_right_is_right() -> None:
    assert judge(RIGHT, [(0, 0), (2, 1), (4, 3), (9, 6)], is_complete=True) == []
    assert judge(RIGHT[:3]) == []


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ((*RIGHT[:2], *RIGHT[3:]), "missing"),
        ((*RIGHT[:2], *RIGHT[1:]), "twice"),
        ((RIGHT[1], RIGHT[0], *RIGHT[2:]), "missing"),
        ((("group", G, 1), *RIGHT), "not for ann"),
        ((*RIGHT[:4], ("group", G, 5)), "not for ann"),
        ((*RIGHT, ("group", G, 6)), "discarded"),
        ((*RIGHT, ("group", G, 77)), "never committed"),
    ],
)
def test_a_hole_a_double_a_wrong_order_and_a_wrong_audience_are_found(
    names: Sequence[Name], said: str
) -> None:
    assert any(said in one for one in judge(names))


def test_what_never_came_is_found_at_the_end_only() -> None:
    assert judge(RIGHT[:-1]) == []
    assert any("never came" in one for one in judge(RIGHT[:-1], is_complete=True))


def test_a_cursor_that_promises_too_much_or_goes_back_is_found() -> None:
    assert any("promises" in one for one in judge(RIGHT[:2], [(4, 2)]))
    assert any("went back" in one for one in judge(RIGHT[:3], [(4, 3), (3, 3)]))


def welcomed(
    resume: Resume, cursor: str, hello_cursor: str | None, reason: ResetReason | None = None
) -> ConnectionRecord:
    hello = Hello(user_id="ann", user_sig="", device_id="d", cursor=hello_cursor)
    welcome = Welcome(
        session_id="s",
        resume=resume,
        reason=reason,
        cursor=cursor,
        server_time_ms=0,
        server="",
        heartbeat_ms=1,
        limits={},
    )
    return ConnectionRecord("ann", "ann/d", "t2", hello, welcome)


@pytest.mark.parametrize(
    ("record", "is_right"),
    [
        (welcomed(Resume.RESUMED, "t1:4", "t1:4"), True),
        (welcomed(Resume.RESUMED, "t1:6", "t1:6"), False),  # beyond the copy
        (welcomed(Resume.RESUMED, "t1:3", "t1:4"), False),
        (welcomed(Resume.FRESH, "t2:5", None), True),
        (welcomed(Resume.FRESH, "t2:5", "t1:4"), False),
        (welcomed(Resume.RESET, "t2:5", "t1:6", ResetReason.UNKNOWN_CURSOR), True),
        (welcomed(Resume.RESET, "t2:5", "t1:4", ResetReason.UNKNOWN_CURSOR), False),
        (welcomed(Resume.RESET, "t2:5", "t1:1", ResetReason.EXPIRED), True),
        (welcomed(Resume.RESET, "t2:5", "t1:4", ResetReason.EXPIRED), False),
        (welcomed(Resume.RESET, "t2:5", "t1:0", ResetReason.TOO_FAR), True),
        (welcomed(Resume.RESET, "t2:5", "t1:4", ResetReason.TOO_FAR), False),
    ],
)
def test_a_reset_has_a_cause_and_a_resume_has_none(
    record: ConnectionRecord, is_right: bool
) -> None:
    before = ledger_of()
    now = Ledger(before, 5, terms=["t1"])
    wrong = list(oracle_of(before, now).judge_welcome(record, floor=3, most_missed=2))
    assert (wrong == []) == is_right, wrong


def sighting(
    position: int, error: str | None = None, result: object = None, *, was_live: bool = True
) -> Sighting:
    return Sighting("r", "t1", position, result, error, was_live, 0.0)


KEY = RequestKey("ann", "r")


@pytest.mark.parametrize(
    ("times", "seen", "is_right"),
    [
        (1, [sighting(4)], True),
        (0, [sighting(4)], False),  # answered, and not there
        (2, [sighting(4)], False),
        (1, [sighting(3)], False),  # before its own events
        (1, [sighting(3, was_live=False)], True),
        (1, [sighting(4, "NO_PERMISSION")], False),
        (1, [sighting(3, "NO_PERMISSION")], True),  # it took effect later
        (0, [sighting(4, "NO_PERMISSION")], True),
        (1, [sighting(4, "OUTCOME_UNKNOWN")], True),
        (1, [sighting(4, result={"a": 1}), sighting(5, result={"a": 2})], False),
        (1, [sighting(4, "REQUEST_ID_CONFLICT")], False),  # with itself
    ],
)
def test_replies_agree_with_the_log(times: int, seen: Sequence[Sighting], is_right: bool) -> None:
    ledger = ledger_of()
    ledger.applied = {KEY: [Applied(b"", 3, 4, None)] * times} if times else {}
    oracle = oracle_of(ledger, contents={KEY: {"content"}})
    wrong = list(oracle.judge_replies("ann", seen))
    assert (wrong == []) == is_right, wrong


def test_a_group_that_begins_anew_has_the_same_numbers_again() -> None:
    joined = to_ann("group_created", joined=("ann",))
    ended = entry("group_disbanded", kind=EventKind.NOTICE, closes=True)
    log = [
        Committed(joined, 1, 1),
        Committed(ended, 2, 1),
        Committed(joined, 3, 2),
        Committed(entry(), 4, 1),
    ]
    names: list[Name] = [("inbox", INBOX, 1), ("group", G, 1), ("inbox", INBOX, 2), ("group", G, 1)]
    for count, is_complete in ((4, True), (3, False), (3, True)):
        run = RunRecord("ann", "ann/d", None)
        run.stretches.append(Stretch("t1", 0))
        run.stretches[-1].names = names[:count]
        wrong = list(oracle_of(ledger_of(log)).judge_run(run, is_complete=is_complete))
        assert (wrong == []) == (count == 4 or not is_complete), wrong
