"""The judge of webhooks finds what is wrong, and nothing in what is right."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from protocol.callbacks import OFFERED
from protocol.events import MessageData
from protocol.messages import Element
from protocol.vocabulary import EventKind
from server.domain.model import Entry
from server.service.ports import Committed
from server.webhooks.receiver import Answer, NoAnswer
from tests.simulation.ledger import Ledger
from tests.simulation.service import OK, Heard
from tests.simulation.service_oracle import Limits, ServiceOracle

SAID = "Group.CallbackAfterSendMsg"
ASKED = "Group.CallbackBeforeSendMsg"
DOWN = NoAnswer("down")
GONE = Answer(410, b"")
BUSY = Answer(503, b"")
ATTEMPTS = 4
ON = frozenset(OFFERED)


def text_body(text: str) -> list[dict[str, Any]]:
    return [{"MsgType": "TIMTextElem", "MsgContent": {"Text": text}}]


def said(text: str, seq: int) -> Sequence[Committed]:
    body = msgspec.convert([{"type": "text", "content": {"text": text}}], list[Element])
    entry = Entry(
        kind=EventKind.MESSAGE,
        event="message",
        group_id="g",
        time_ms=0,
        data=MessageData(body=body),
    )
    return [Committed(entry, seq, seq)]


def ledger_of(*texts: str) -> Ledger:
    ledger = Ledger()
    ledger.changes = [said(text, seq) for seq, text in enumerate(texts, 1)]
    return ledger


def told(
    text: str,
    seq: int,
    seen: Answer | NoAnswer | None = OK,
    *,
    attempt: int = 1,
    at_s: float = 0.0,
    end_s: float | None = None,
    generation: str = "server 1",
    delivery_id: str = "",
) -> Heard:
    body = {"GroupId": "g", "MsgSeq": seq, "MsgBody": text_body(text)}
    return Heard(
        generation=generation,
        begin_s=at_s or float(seq),
        name=SAID,
        delivery_id=delivery_id or f"id-{seq}",
        attempt=attempt,
        body=body,
        is_heard=not isinstance(seen, NoAnswer),
        end_s=(at_s or float(seq)) + 0.5 if end_s is None else end_s,
        seen=seen,
    )


def judged(
    calls: Sequence[Heard],
    *ledgers: Ledger,
    revived_s: float | None = None,
    wanted: frozenset[str] = ON,
) -> list[str]:
    judge = ServiceOracle(calls, Limits(wanted, ATTEMPTS, True), revived_s)
    return list(judge.judge_told(ledgers, is_room=lambda _group_id: False, is_complete=True))


TWO = ledger_of("t1 a", "t2 b")
A, B = told("t1 a", 1), told("t2 b", 2)

RIGHT: dict[str, Sequence[Heard]] = {
    "once each": [A, B],
    "again until it was taken": [
        told("t1 a", 1, DOWN),
        told("t1 a", 1, BUSY, attempt=2, at_s=1.6),
        told("t1 a", 1, attempt=3, at_s=2.2),
        told("t2 b", 2, at_s=3),
    ],
    "again in the next life, whose number is the same": [
        told("t1 a", 1, None, end_s=9e9),
        told("t1 a", 1, generation="server 2", at_s=2),
        told("t2 b", 2, generation="server 2", at_s=3),
    ],
    "again in the next life although it was taken": [A, told("t1 a", 1, generation="server 2"), B],
}
WRONG: dict[str, tuple[str, Sequence[Heard]]] = {
    "never": ("never told", [A]),
    "in another order": ("was due", [B, A]),
    "twice": ("although it was over", [A, told("t1 a", 1, attempt=2, at_s=1.6), B]),
    "under two ids": ("was due", [A, told("t1 a", 1, delivery_id="other", at_s=1.6), B]),
    "with another number": ("was due", [A, told("t2 b", 3)]),
    "with another text": ("was due", [A, told("t2 x", 2)]),
    "with another body the second time": (
        "and then",
        [told("t1 a", 1, DOWN), told("t1 b", 1, attempt=2, at_s=1.6), B],
    ),
    "before the first was over": (
        "was not over",
        [told("t1 a", 1, DOWN, end_s=5), told("t2 b", 2), told("t1 a", 1, attempt=2, at_s=6)],
    ),
    "with the same attempt": (
        "attempt 1 after 1",
        [told("t1 a", 1, DOWN), told("t1 a", 1, at_s=1.6), B],
    ),
    "given up": ("in vain", [A, told("t2 b", 2, GONE)]),
}


@pytest.mark.parametrize("calls", RIGHT.values(), ids=RIGHT)
def test_what_is_right_is_right(calls: Sequence[Heard]) -> None:
    assert judged(calls, TWO) == []


@pytest.mark.parametrize(("what", "calls"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_found(what: str, calls: Sequence[Heard]) -> None:
    assert any(what in one for one in judged(calls, TWO)), judged(calls, TWO)


def test_what_was_dead_comes_last_once_it_is_revived() -> None:
    calls = [told("t1 a", 1, GONE), B, told("t1 a", 1, at_s=9)]
    assert judged(calls, TWO, revived_s=8) == []
    assert judged(calls, TWO) != []


def test_what_is_not_on_is_not_told() -> None:
    assert judged([], TWO, wanted=ON - {SAID}) == []
    assert any("is not on" in one for one in judged([A, B], TWO, wanted=ON - {SAID}))


def test_of_a_history_that_was_replaced_anything_may_have_been_told() -> None:
    now = ledger_of("t1 a", "t3 c")
    calls = [A, B, told("t3 c", 2, delivery_id="id-3")]
    assert judged(calls, TWO, now) == []
    assert any("never told" in one for one in judged([A, B], TWO, now))
    gone = [A, told("t2 b", 2, GONE), told("t3 c", 2, delivery_id="id-3")]
    assert judged(gone, TWO, now) == [], "what is no more need not be told on"
    vain = [A, B, told("t3 c", 2, GONE, delivery_id="id-3")]
    assert any("never told" in one for one in judged(vain, TWO, now))
    assert any("never committed" in one for one in judged([*calls, told("t4", 9)], TWO, now))


def asked(text: str, seen: Answer | NoAnswer | None) -> Heard:
    return Heard(
        generation="server 1",
        begin_s=0,
        name=ASKED,
        delivery_id="",
        attempt=0,
        body={"GroupId": "g", "MsgBody": text_body(text)},
        seen=seen,
    )


def says(code: int, text: str | None = None) -> Answer:
    body = {} if text is None else {"MsgBody": text_body(text)}
    return Answer(200, msgspec.json.encode({"ErrorCode": code, **body}))


@pytest.mark.parametrize(
    ("done", "calls", "blocks", "is_right"),
    [
        ("t1 a", [asked("t1 a", says(0))], True, True),
        ("t1 a", [asked("t1 a", says(1))], True, False),
        ("t1 a", [asked("t1 a", says(2)), asked("t1 a", says(0))], True, True),
        ("t1 b", [asked("t1 a", says(0, "t1 b"))], True, True),
        ("t1 a", [asked("t1 a", says(0, "t1 b"))], True, False),
        ("t1 b", [asked("t1 a", says(0, "t1 c"))], False, False),
        ("t1 a", [asked("t1 a", DOWN)], True, False),
        ("t1 a", [asked("t1 a", DOWN)], False, True),
        ("t1 a", [], True, False),
        ("t1 a", [], False, True),
    ],
)
def test_what_is_said_is_what_was_allowed(
    done: str, calls: Sequence[Heard], blocks: bool, is_right: bool
) -> None:
    judge = ServiceOracle(calls, Limits(ON, ATTEMPTS, blocks), None)
    assert (list(judge.judge_asked([ledger_of(done)])) == []) is is_right


def test_what_was_answered_as_sent_was_said_or_dropped() -> None:
    judge = ServiceOracle([asked("t1 a", says(2))], Limits(ON, ATTEMPTS, True), None)
    assert list(judge.judge_dropped(["t1 a"])) == []
    assert list(judge.judge_dropped(["t2 a"])) != []
