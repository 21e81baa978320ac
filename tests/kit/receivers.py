"""Receivers of webhooks that do what a test wants, without a network and with one."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from server.webhooks.receiver import Answer, Call, NoAnswer

OK = Answer(200, b'{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}')
DOWN = NoAnswer("connection refused")


def says(code: int, info: str = "", **fields: object) -> Answer:
    """An answer with this ErrorCode."""
    status = "OK" if code == 0 else "FAIL"
    body = {"ActionStatus": status, "ErrorCode": code, "ErrorInfo": info, **fields}
    return Answer(200, msgspec.json.encode(body))


Reaction = Answer | NoAnswer | Callable[[Call], Awaitable[Answer]]


class ScriptedReceiver:
    """``Receiver`` that answers from a script, and OK when that is over.

    Attributes:
        calls: every call that came, answered or not.
        script: what the next calls get.
        by_name: what calls of a name get, before the script is looked at.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.script: deque[Reaction] = deque()
        self.by_name: dict[str, Reaction] = {}
        self._held: list[tuple[Call, asyncio.Future[Answer]]] = []

    async def post(self, call: Call, timeout_s: float) -> Answer:
        assert timeout_s > 0
        self.calls.append(call)
        reaction = self.by_name.get(call.name)
        if reaction is None:
            reaction = self.script.popleft() if self.script else OK
        if isinstance(reaction, NoAnswer):
            raise reaction
        if isinstance(reaction, Answer):
            return reaction
        return await reaction(call)

    async def hold(self, call: Call) -> Answer:
        """A reaction: wait until the test answers."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._held.append((call, future))
        try:
            return await future
        finally:
            self._held = [one for one in self._held if one[1] is not future]

    @property
    def held(self) -> list[str]:
        """What those that are held say, in the order of coming."""
        return [text_of(call) for call, _ in self._held]

    def answer(self, text: str, answer: Answer | NoAnswer = OK) -> None:
        """Answer the one of those that are held which says ``text``."""
        for call, future in self._held:
            if text_of(call) == text and not future.done():
                self._held = [one for one in self._held if one[1] is not future]
                if isinstance(answer, Answer):
                    future.set_result(answer)
                else:
                    future.set_exception(answer)
                return
        raise AssertionError(f"nothing that says {text!r} is held: {self.held}")

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """The bodies of all calls."""
        return [body_of(call) for call in self.calls]

    def told(self, name: str) -> list[dict[str, Any]]:
        """The bodies of the calls of that name, which is given without what all have."""
        return [body for body in self.bodies if body["CallbackCommand"].endswith(name)]


def body_of(call: Call) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.json.decode(call.body)
    assert body["CallbackCommand"] == call.name
    return body


def text_of(call: Call) -> str:
    """What the message of a call says; for others the name."""
    body = body_of(call)
    if "MsgBody" in body:
        return str(body["MsgBody"][0]["MsgContent"]["Text"])
    return str(body.get("Name") or call.name)
