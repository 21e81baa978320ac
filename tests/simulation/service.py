"""The operator's own service: asked before changes and told after them, over a bad network.

It stands where ``HttpReceiver`` does, and outside of the server's process: what it has heard it
knows also when whoever said it is dead.
"""

import asyncio
from collections.abc import Mapping
from random import Random
from typing import Any, Final
from zlib import crc32

import msgspec

from protocol.callbacks import CALLBACKS, CallbackKind
from server.webhooks.receiver import Answer, Call, NoAnswer
from tests.simulation.trace import Trace
from tests.simulation.virtual_loop import PROCESS, Process

OK: Final = Answer(200, b'{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}')
MASK: Final = "masked "
"""What a rewritten text has before its number."""

_USELESS: Final = (
    Answer(500, b""),
    Answer(302, b""),
    Answer(404, b"<html>"),
    Answer(200, None),
)
_GARBAGE: Final = Answer(200, b"garbage")
_PERMANENT: Final = Answer(410, b"")


class Heard(msgspec.Struct):
    """One call, which has reached the service or not.

    ``seen`` is what came back to the server at ``end_s``: an answer, or why there was none; None
    when the server ended first.
    """

    generation: str
    begin_s: float
    name: str
    delivery_id: str
    attempt: int
    body: dict[str, Any]
    is_heard: bool = False
    end_s: float = float("inf")
    seen: Answer | NoAnswer | None = None

    @property
    def stream(self) -> str:
        """The group that it is about; "" for none."""
        return str(self.body.get("GroupId", ""))


class Temper(msgspec.Struct):
    """How the service is at the moment; the history changes it as it goes.

    Attributes:
        travel_s, delay_s: the longest that a call is on its way, and that it is thought about.
        failing: which part of the answers is none, or is useless.
        poison: which part of what it is told it never takes, however often.
        is_down: nobody can reach it.
    """

    travel_s: float = 0.0
    delay_s: float = 0.0
    failing: float = 0.0
    poison: float = 0.0
    is_down: bool = False


class Service:
    """Implements ``Receiver``.

    Attributes:
        calls: every call, in the order in which they were begun.
    """

    def __init__(self, random: Random, trace: Trace, usual: Temper) -> None:
        self._random = random
        self._trace = trace
        self._usual = usual
        self._masks = 0
        self.temper = usual
        self.calls: list[Heard] = []

    def change(self, **fields: float | bool) -> None:
        """It is as usual, but for these fields."""
        values: Mapping[str, Any] = fields
        self.temper = msgspec.structs.replace(self._usual, **values)

    async def close(self) -> None:
        """See ``Receiver.close``."""

    async def post(self, call: Call, timeout_s: float) -> Answer:
        """See ``Receiver.post``."""
        process = PROCESS.get()
        assert process is not None
        if process.is_dead:
            await asyncio.get_running_loop().create_future()  # nothing of it leaves the machine
        one = self._begun(call, process)
        seen: Answer | NoAnswer
        try:
            seen = await self._way(call, one, timeout_s)
        except NoAnswer as error:
            seen = error
        one.seen, one.end_s = seen, asyncio.get_running_loop().time()
        kind = "told" if one.delivery_id else "asked"
        how = seen.status if isinstance(seen, Answer) else "nothing"
        self._trace.note(f"{kind} {how}", one.name, one.delivery_id, one.attempt)
        if isinstance(seen, NoAnswer):
            raise seen
        return seen

    def end_process(self, process: Process, *, is_told: bool) -> None:
        """A server's process has ended."""

    async def _way(self, _call: Call, one: Heard, timeout_s: float) -> Answer:
        """There and back."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._pass(self.temper.travel_s)
                if self.temper.is_down:
                    raise NoAnswer("connection refused")
                one.is_heard = True
                answer = await self._thought(one)
                await self._pass(self.temper.travel_s)
                return answer
        except TimeoutError:
            raise NoAnswer(f"no answer within {timeout_s:g} s") from None

    async def _thought(self, one: Heard) -> Answer:
        """What is answered, if it is.

        Raises:
            NoAnswer: the connection is closed instead.
        """
        word = self._word(one)
        is_failing = self._random.random() < self.temper.failing
        await self._pass(self.temper.delay_s)
        if one.delivery_id and crc32(one.delivery_id.encode()) % 100 < self.temper.poison * 100:
            self._trace.note("poison")
            return _USELESS[0]
        return await self._fail(one) if is_failing else word

    async def _pass(self, most_s: float) -> None:
        if most_s:
            await asyncio.sleep(self._random.random() * most_s)

    async def _fail(self, one: Heard) -> Answer:
        chance = self._random.random()
        if chance < 0.2:
            raise NoAnswer("the connection was closed")
        if chance < 0.3:
            await asyncio.get_running_loop().create_future()  # until the caller gives it up
        if one.delivery_id and chance < 0.4:
            return _PERMANENT
        if not one.delivery_id and chance < 0.6:
            return _GARBAGE
        return self._random.choice(_USELESS)

    def _begun(self, call: Call, process: Process) -> Heard:
        body: dict[str, Any] = msgspec.json.decode(call.body)
        now_s = asyncio.get_running_loop().time()
        one = Heard(process.name, now_s, call.name, call.delivery_id, call.attempt, body)
        self.calls.append(one)
        return one

    def _word(self, one: Heard) -> Answer:
        """What it thinks; of what it is told nothing but that it was told."""
        if CALLBACKS[one.name].kind is not CallbackKind.BEFORE:
            return OK
        chance = self._random.random()
        if chance < 0.06:
            self._trace.note("word: refused")
            return _says(self._random.choice([1, 1, 5, 120_001]), "no")
        if chance < 0.1:
            self._trace.note("word: vetoed")
            return _says(self._random.choice([10100, 10150, 10200]), "never")
        if one.name.endswith("BeforeSendMsg") and chance < 0.18:
            self._trace.note("word: dropped")
            return _says(2)
        if one.name.endswith("BeforeSendMsg") and chance < 0.3:
            self._trace.note("word: rewritten")
            self._masks += 1
            content = {"Text": f"{text_of(one.body)} {MASK}{self._masks}"}
            return _says(0, MsgBody=[{"MsgType": "TIMTextElem", "MsgContent": content}])
        if one.name.endswith("BeforeInviteJoinGroup") and chance < 0.3:
            self._trace.note("word: members refused")
            users = [user["Member_Account"] for user in one.body["DestinationMembers"]]
            return _says(0, RefusedMembers_Account=self._random.sample(users, 1))
        return OK


def text_of(body: Mapping[str, Any]) -> str:
    """What a message says."""
    return str(body["MsgBody"][0]["MsgContent"]["Text"])


def _says(code: int, info: str = "", **fields: object) -> Answer:
    status = "OK" if code == 0 else "FAIL"
    body = {"ActionStatus": status, "ErrorCode": code, "ErrorInfo": info, **fields}
    return Answer(200, msgspec.json.encode(body))
