"""How a device sends its requests: no more at a time than allowed, each until it is answered."""

import asyncio
from typing import Any

from protocol.errors import ErrorCode
from scripts.loadgen.calls import Call, Calls
from scripts.loadgen.ledger import Failure, Reply


class Wire:
    """What was sent, and an event for the next that is."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.has_news = asyncio.Event()
        self.calls = Calls(self.send, lambda: (len(self.sent), 0))

    def send(self, payload: bytes) -> None:
        self.sent.append(payload)
        self.has_news.set()

    def ask(self, name: str) -> Call:
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        call = Call(id=name, payload=name.encode(), is_watched=True, reply=reply)
        self.calls.add(call)
        return call

    def answer(self, name: str) -> None:
        self.calls.take(Reply(id=name, cursor="c", result={}))

    def refuse(self, name: str, **detail: Any) -> None:  # noqa: ANN401 - as JSON has it
        error = Failure(ErrorCode.TOO_MANY_REQUESTS, "TOO_MANY_REQUESTS", "slower", detail)
        self.calls.take(Reply(id=name, cursor="c", error=error))


async def test_no_more_than_allowed_are_in_flight_and_the_others_follow_in_order() -> None:
    wire = Wire()
    calls = [wire.ask(name) for name in "abcde"]
    assert wire.sent == []
    wire.calls.connected(2)
    assert wire.sent == [b"a", b"b"]
    wire.answer("b")
    assert wire.sent == [b"a", b"b", b"c"]
    for name in "acde":
        wire.answer(name)

    assert wire.sent == [b"a", b"b", b"c", b"d", b"e"]
    assert all(call.reply.done() for call in calls)
    assert len(wire.calls) == 0


async def test_what_a_limit_refuses_is_sent_again_in_order_and_nothing_before_it() -> None:
    wire = Wire()
    wire.calls.connected(0)
    first, second = wire.ask("a"), wire.ask("b")
    first_sent_s = first.sent_s
    wire.refuse("b", retry_after_ms=0)
    wire.refuse("a", retry_after_ms=0)
    third = wire.ask("c")
    assert wire.sent == [b"a", b"b"]
    wire.has_news.clear()
    await wire.has_news.wait()

    assert wire.sent == [b"a", b"b", b"a", b"b", b"c"]
    assert wire.calls.limited == 2
    assert not any(call.reply.done() for call in (first, second, third))
    assert first.sent_s > first_sent_s  # a refusal changes nothing, so it counts from here


async def test_a_new_connection_gets_all_that_is_not_answered() -> None:
    wire = Wire()
    wire.calls.connected(0)
    left, answered = wire.ask("a"), wire.ask("b")
    sent_s = left.sent_s
    wire.answer("b")
    wire.calls.disconnected(is_wanted=True)
    late = wire.ask("c")
    assert wire.sent == [b"a", b"b"]
    wire.calls.connected(0)

    assert wire.sent == [b"a", b"b", b"a", b"c"]
    assert (left.was_left, answered.was_left, late.was_left) == (True, False, False)
    assert not left.is_watched
    assert left.sent_s == sent_s  # it may have taken effect the first time
    assert not wire.calls.get("b")


async def test_a_connection_that_the_server_ends_is_the_servers_matter() -> None:
    wire = Wire()
    wire.calls.connected(0)
    call = wire.ask("a")
    wire.calls.disconnected(is_wanted=False)
    wire.calls.fail(ConnectionError("gone"))

    assert not call.was_left
    assert isinstance(call.reply.exception(), ConnectionError)
