"""Users with two devices each who ask on and on, while a test does harm to the server.

They send changing requests with ids that are known here; what was not answered is asked again
with the same id, on either device, and what was answered is now and then asked again too.
``tests.kit.crash_oracle`` says what must be true at the end.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from typing import Final

from tests.kit.server_process import ServerProcess
from tests.kit.system_device import JSON, MSGPACK, Device, Frame, Wire, text

WINDOW: Final = 6

OWNER: Final = "owner"
MEMBERS: Final = ["ann", "ben", "cem"]
COMERS: Final = ["dora", "emil"]
GROUPS: Final = {
    "work": "Work",
    "public": "Public",
    "meeting": "Meeting",
    "@TGS#_all": "Community",
}
UNLIMITED: Final = {"REQUESTS_PER_S": 0, "USER_REQUESTS_PER_S": 0, "GROUPS_PER_DAY": 0}


class Gadget:
    """A device over all its connections: what it was told, and up to where."""

    def __init__(self, user_id: str, device_id: str, wire: Wire) -> None:
        self.user_id = user_id
        self.device_id = device_id
        self.wire = wire
        self.cursor: str | None = None
        self.told: list[Frame] = []
        self.device: Device | None = None

    async def connect(self, server: ServerProcess) -> None:
        device = await Device.open(server.ws, self.wire)
        self.device = device
        welcome = await device.hello(
            self.user_id,
            server.token(self.user_id),
            device_id=self.device_id,
            cursor=self.cursor,
        )
        assert welcome["resume"] == ("fresh" if self.cursor is None else "resumed")
        assert self.cursor in (None, welcome["cursor"])

    async def harvest(self) -> None:
        """The connection has ended: keep what came over it."""
        assert self.device is not None
        await self.device.closing()
        await self.device.close()
        self.told += self.device.events
        self.cursor = self.device.cursor
        self.device = None

    @property
    def live(self) -> Device:
        assert self.device is not None
        return self.device


class User:
    """A user with two devices and what was asked in their name, by request id.

    Attributes:
        answers: request id -> its result.
        told_ns: request id -> when its first result came, as ``time.monotonic_ns``.
        errors: name -> how often it was the answer.
        is_in_doubt: whether OUTCOME_UNKNOWN was answered since the server was started.
    """

    def __init__(self, user_id: str, dice: random.Random, tolerated: Collection[str]) -> None:
        self.user_id = user_id
        self.dice = dice
        self.tolerated = tolerated
        self.gadgets = [
            Gadget(user_id, "phone", MSGPACK),
            Gadget(user_id, "laptop", JSON),
        ]
        self.asked: dict[str, tuple[str, Frame]] = {}
        self.answers: dict[str, Frame] = {}
        self.told_ns: dict[str, int] = {}
        self.errors: Counter[str] = Counter()
        self.is_in_doubt = False
        self._script = self._requests()

    def unanswered(self) -> list[str]:
        return [request_id for request_id in self.asked if request_id not in self.answers]

    def plan(self) -> str:
        """The id of one more request."""
        request_id = f"{self.user_id}-{len(self.asked)}"
        self.asked[request_id] = next(self._script)
        return request_id

    async def ask(self, gadget: Gadget, request_id: str) -> None:
        """Send a planned request, unless the connection has ended."""
        method, params = self.asked[request_id]
        await gadget.live.send_unless_closed(
            {"type": "request", "id": request_id, "method": method, "params": params}
        )

    def take(self, reply: Frame) -> bool:
        """An answer: whether it was a result, which is always the same one."""
        if "error" in reply:
            name = reply["error"]["name"]
            assert name in self.tolerated, (self.asked[reply["id"]], reply)
            assert reply["error"]["retryable"]
            self.errors[name] += 1
            self.is_in_doubt |= name == "OUTCOME_UNKNOWN"
            return False
        assert not self.is_in_doubt, "a server that does not know acknowledges nothing more"
        self.told_ns.setdefault(reply["id"], time.monotonic_ns())
        known = self.answers.setdefault(reply["id"], reply["result"])
        assert known == reply["result"], "the first answer is the answer"
        return True

    def _requests(self) -> Iterator[tuple[str, Frame]]:
        """What this user wants, without end; a text says which request it is."""
        while True:
            words = f"{self.user_id}-{len(self.asked)}"
            choice = self.dice.random()
            if self.user_id in COMERS:
                yield "join_group", {"group_id": "public"}
                yield "quit_group", {"group_id": "public"}
            elif choice < 0.8:
                group_id = self.dice.choice(list(GROUPS))
                filler = "." * self.dice.choice((0, 10, 100, 3000))
                yield "send_message", {"group_id": group_id, "body": text(f"{words} {filler}")}
            elif choice < 0.9:
                yield (
                    "create_group",
                    {"type": "Public", "name": words, "group_id": f"own-{words}"},
                )
            else:
                yield "invite_members", {"group_id": "work", "user_ids": [f"guest-{words}"]}


class Load:
    """The server, its users, and how far they got.

    Args:
        tolerated: the errors that may be answered; the request is asked again then.

    Attributes:
        replies: how many results came while the load ran.
    """

    def __init__(
        self, server: ServerProcess, dice: random.Random, tolerated: Collection[str] = ()
    ) -> None:
        self.server = server
        self.dice = dice
        self.users = [User(name, dice, tolerated) for name in (OWNER, *MEMBERS, *COMERS)]
        self.replies = 0
        self._workers: list[asyncio.Task[None]] = []
        self._goes_on = False
        self._changed = asyncio.Event()

    @property
    def gadgets(self) -> list[Gadget]:
        return [gadget for user in self.users for gadget in user.gadgets]

    @property
    def errors(self) -> Counter[str]:
        """name -> how often it was an answer."""
        return sum((user.errors for user in self.users), Counter())

    async def connect(self) -> None:
        """Connect every device to a server that was started."""
        for user in self.users:
            user.is_in_doubt = False
        await asyncio.gather(*(gadget.connect(self.server) for gadget in self.gadgets))

    async def create_groups(self) -> None:
        owner = self.users[0].gadgets[0].live
        for group_id, kind in GROUPS.items():
            await owner.call(
                "create_group",
                group_id=group_id,
                type=kind,
                name=group_id,
                members=[{"user_id": name} for name in MEMBERS],
                **({} if kind == "Work" else {"apply_join_option": "FreeAccess"}),
            )

    async def catch_up_with_answers(self) -> None:
        """Ask again what was not answered, and some of what was; wait for all answers."""
        await asyncio.gather(*(self._ask_again(user) for user in self.users))

    async def _ask_again(self, user: User) -> None:
        again = user.unanswered()
        answered = list(user.answers)
        again += self.dice.sample(answered, min(3, len(answered)))
        asked = [(self.dice.choice(user.gadgets), request_id) for request_id in again]
        for gadget, request_id in asked:
            await user.ask(gadget, request_id)
        for gadget, request_id in asked:
            assert user.take(await gadget.live.reply(request_id))

    def begin(self) -> None:
        """Everybody asks on and on, until the connections end or ``pause`` is called."""
        self._goes_on = True
        self._workers = [asyncio.create_task(self._work(user)) for user in self.users]

    async def until(self, is_enough: Callable[[], bool]) -> bool:
        """Return when it is, or when the connections have ended; whether it is."""
        waiting = asyncio.create_task(self._until(is_enough))
        try:
            async with asyncio.timeout(30):
                await asyncio.wait([waiting, *self._workers], return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        for worker in self._workers:
            if worker.done():
                worker.result()
        return is_enough()

    async def _until(self, is_enough: Callable[[], bool]) -> None:
        while not is_enough():
            self._changed.clear()
            await self._changed.wait()

    async def run_until(self, replies: int) -> None:
        """Everybody asks on and on; returns after so many answers, with requests in flight."""
        enough = self.replies + replies
        self.begin()
        assert await self.until(lambda: self.replies >= enough)

    async def pause(self) -> None:
        """Ask nothing new; returns when all is answered."""
        self._goes_on = False
        await asyncio.gather(*self._workers)

    async def after_the_end(self) -> None:
        """The connections end: take what still came, on every device."""
        await asyncio.gather(*self._workers)
        await asyncio.gather(*(gadget.harvest() for gadget in self.gadgets))

    async def _work(self, user: User) -> None:
        """Keep WINDOW requests in flight until the connection ends; one for who comes and goes.

        What was refused is asked again: only the first answer that is a result is one.
        """
        gadget = user.gadgets[0]
        device = gadget.live
        window = 1 if user.user_id in COMERS else WINDOW
        in_flight: set[str] = set()
        while not device.is_closed:
            while self._goes_on and len(in_flight) < window and not device.is_closed:
                request_id = user.plan()
                in_flight.add(request_id)
                await user.ask(gadget, request_id)
            if not in_flight:
                return
            if not (replies := device.replies()):
                await device.news()
            for reply in replies or device.replies():
                await self._answered(user, gadget, reply, in_flight)
            self._changed.set()
        for reply in device.replies():
            user.take(reply)

    async def _answered(
        self, user: User, gadget: Gadget, reply: Frame, in_flight: set[str]
    ) -> None:
        if user.take(reply):
            in_flight.remove(reply["id"])
            self.replies += 1
        else:
            await user.ask(gadget, reply["id"])
