"""kill -9 under load, again and again, on the same data: promises 1, 2 and 3 of ``design.md``.

Several users with two devices each send changing requests with ids that the test knows. The
process is killed at seeded moments and started again; what was not answered is asked again with
the same id, on either device, and what was answered is now and then asked again too. At the end:

- everything that was answered, and everything that was asked again, is in the logs exactly once,
  at the number that the answer said;
- group logs and inboxes are numbered without holes;
- every device, resumed by its cursor each time, has got exactly the events that its user may see,
  each once, and all of them in one order.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.server_process import ServerProcess
from tests.kit.system_device import JSON, MSGPACK, Device, Frame, Wire, text

KILLS = 22
KILLS_WHILE_STARTING = 4
SEED = 20_240_229
WINDOW = 6

OWNER = "owner"
MEMBERS = ["ann", "ben", "cem"]
COMERS = ["dora", "emil"]
GROUPS = {"work": "Work", "public": "Public", "meeting": "Meeting", "@TGS#_all": "Community"}
UNLIMITED = {"REQUESTS_PER_S": 0, "USER_REQUESTS_PER_S": 0, "GROUPS_PER_DAY": 0}


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
    """A user with two devices and what was asked in their name, by request id."""

    def __init__(self, user_id: str, dice: random.Random) -> None:
        self.user_id = user_id
        self.dice = dice
        self.gadgets = [
            Gadget(user_id, "phone", MSGPACK),
            Gadget(user_id, "laptop", JSON),
        ]
        self.asked: dict[str, tuple[str, Frame]] = {}
        self.answers: dict[str, Frame] = {}
        self._script = self._requests()

    def unanswered(self) -> list[str]:
        return [request_id for request_id in self.asked if request_id not in self.answers]

    def plan(self) -> str:
        """The id of one more request."""
        request_id = f"{self.user_id}-{len(self.asked)}"
        self.asked[request_id] = next(self._script)
        return request_id

    async def ask(self, gadget: Gadget, request_id: str) -> None:
        method, params = self.asked[request_id]
        await gadget.live.ask(method, request_id=request_id, **params)

    def take(self, reply: Frame) -> None:
        """An answer: a result, and always the same one."""
        assert "error" not in reply, (self.asked[reply["id"]], reply)
        known = self.answers.setdefault(reply["id"], reply["result"])
        assert known == reply["result"], "the first answer is the answer"

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
    """The server, its users, and how far they got."""

    def __init__(self, server: ServerProcess, dice: random.Random) -> None:
        self.server = server
        self.dice = dice
        self.users = [User(name, dice) for name in (OWNER, *MEMBERS, *COMERS)]
        self.replies = 0
        self._enough = asyncio.Event()
        self._threshold = 0

    @property
    def gadgets(self) -> list[Gadget]:
        return [gadget for user in self.users for gadget in user.gadgets]

    async def connect(self) -> None:
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
            user.take(await gadget.live.reply(request_id))

    async def run_until(self, replies: int) -> None:
        """Everybody asks on and on; returns after so many answers, with requests in flight."""
        self._threshold = self.replies + replies
        self._enough.clear()
        self._workers = [asyncio.create_task(self._work(user)) for user in self.users]
        waiting = asyncio.create_task(self._enough.wait())
        async with asyncio.timeout(30):
            done, _ = await asyncio.wait(
                [waiting, *self._workers], return_when=asyncio.FIRST_COMPLETED
            )
        assert waiting in done, [task.exception() for task in done]

    async def after_the_kill(self) -> None:
        """Take what still came, on every device."""
        await asyncio.gather(*self._workers)
        await asyncio.gather(*(gadget.harvest() for gadget in self.gadgets))

    async def _work(self, user: User) -> None:
        """Keep WINDOW requests in flight until the connection ends; one for who comes and goes."""
        gadget = user.gadgets[0]
        device = gadget.live
        window = 1 if user.user_id in COMERS else WINDOW
        in_flight: list[str] = []
        while not device.is_closed:
            while len(in_flight) < window and not device.is_closed:
                request_id = user.plan()
                in_flight.append(request_id)
                await device.send_unless_closed(
                    {
                        "type": "request",
                        "id": request_id,
                        "method": user.asked[request_id][0],
                        "params": user.asked[request_id][1],
                    }
                )
            if not (replies := device.replies()):
                await device.news()
            for reply in replies or device.replies():
                user.take(reply)
                in_flight.remove(reply["id"])
                self.replies += 1
            if self.replies >= self._threshold:
                self._enough.set()
        for reply in device.replies():
            user.take(reply)


def texts(events: list[Frame]) -> list[str]:
    """The words by which each message of the load is known."""
    return [
        event["data"]["body"][0]["content"]["text"].split(" ")[0]
        for event in events
        if event["event"] == "message"
    ]


async def whole_log(device: Device, group_id: str) -> list[Frame]:
    """All entries of a group's log."""
    entries: list[Frame] = []
    has_more = True
    while has_more:
        after_seq = entries[-1]["seq"] if entries else 0
        page = await device.call("list_messages", group_id=group_id, after_seq=after_seq)
        entries += page["events"]
        has_more = page["has_more"]
    return entries


async def read_all(load: Load) -> dict[str, list[Frame]]:
    """End the load with a word in each group and wait for it on every device; then the logs."""
    owner = load.users[0].gadgets[0].live
    for user in load.users[4:]:
        await user.gadgets[0].live.call("create_group", group_id=f"end-{user.user_id}", **LAST)
    for group_id in GROUPS:
        await owner.call("send_message", group_id=group_id, body=text("the end"))
    for user in load.users[:4]:
        for gadget in user.gadgets:
            await hear_the_end(gadget.live)
    for user in load.users[4:]:
        for gadget in user.gadgets:
            await gadget.live.event("group_created", group_id=f"end-{user.user_id}")
    return {group_id: await whole_log(owner, group_id) for group_id in GROUPS}


LAST = {"type": "Public", "name": "the end"}


async def hear_the_end(device: Device) -> None:
    """Wait for the last word in each group, on a device that hears them all."""

    def heard() -> bool | None:
        last = {event["group_id"] for event in device.events[-50:] if texts([event]) == ["the"]}
        return last == set(GROUPS) or None

    await device.until(heard, "last words")


def check_answers(load: Load, logs: dict[str, list[Frame]]) -> None:
    """What was answered is in the logs, once, where the answer said."""
    for group_id, log in logs.items():
        assert [entry["seq"] for entry in log] == list(range(1, len(log) + 1)), "no hole"
        said = Counter(texts(log))
        said.pop("the")
        assert set(said.values()) <= {1}, "nothing is there twice"
        wanted = {
            request_id: user.answers[request_id]["seq"]
            for user in load.users
            for request_id, (method, params) in user.asked.items()
            if method == "send_message" and params["group_id"] == group_id
        }
        found = {words: e["seq"] for e in log for words in texts([e]) if words != "the"}
        assert found == wanted
    for user in load.users:
        assert user.unanswered() == []
        for request_id, (method, params) in user.asked.items():
            answer = user.answers[request_id]
            if method == "invite_members":
                guest = params["user_ids"][0]
                assert answer["members"] == [{"user_id": guest, "result": "added"}]
                invited = [e for e in logs["work"] if guest in e["data"].get("user_ids", ())]
                assert len(invited) == 1
            elif method == "join_group":
                assert answer == {"status": "joined"}


def check_devices(load: Load, logs: dict[str, list[Frame]]) -> None:
    """Every device has what its user may see: each event once, all in one order."""
    orders: list[list[tuple[str, int]]] = []
    for user in load.users:
        phone, laptop = user.gadgets
        assert phone.told == laptop.told, "both devices were told the same in the same order"
        inbox = [event for event in phone.told if "inbox_seq" in event]
        assert [event["inbox_seq"] for event in inbox] == list(range(1, len(inbox) + 1))
        created = Counter(e["group_id"] for e in inbox if e["event"] == "group_created")
        wanted = {
            params["group_id"] for method, params in user.asked.values() if method == "create_group"
        }
        extra = set(GROUPS) if user.user_id == OWNER else {f"end-{user.user_id}"}
        assert created.keys() - extra == wanted
        assert set(created.values()) <= {1}
        if user.user_id in COMERS:
            check_comer(user, logs["public"])
            continue
        for group_id, log in logs.items():
            assert [e for e in phone.told if "seq" in e and e["group_id"] == group_id] == log
        orders.append([(e["group_id"], e["seq"]) for e in phone.told if "seq" in e])
    assert all(order == orders[0] for order in orders), "one order over all logs and users"


def check_comer(user: User, log: list[Frame]) -> None:
    """Who joins and quits sees the log from each joining up to each quitting, both included."""
    expected: list[Frame] = []
    is_in = False
    for entry in log:
        concerns_user = user.user_id in entry["data"].get("user_ids", ())
        if concerns_user and entry["event"] == "member_joined":
            assert not is_in, "nobody joins twice"
            is_in = True
        if is_in:
            expected.append(entry)
        if concerns_user and entry["event"] == "member_quit":
            assert is_in
            is_in = False
    assert [e for e in user.gadgets[0].told if "seq" in e] == expected
    joins = sum(method == "join_group" for method, _ in user.asked.values())
    assert (
        sum(e["event"] == "member_joined" and user.user_id in e["data"]["user_ids"] for e in log)
        == joins
    )


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_kill_9_loses_nothing_and_does_nothing_twice(data_directory: Path) -> None:
    dice = random.Random(SEED)
    with ServerProcess(data_directory, limits=UNLIMITED) as server:
        load = Load(server, dice)
        await load.connect()
        await load.create_groups()
        for kill in range(KILLS):
            await load.run_until(dice.randint(20, 150))
            # Not at an answer, but anywhere between it and the next commits.
            await asyncio.sleep(dice.uniform(0, 0.02))
            server.kill()
            await load.after_the_kill()
            if kill % (KILLS // KILLS_WHILE_STARTING) == 0:
                server.launch()
                await asyncio.sleep(dice.uniform(0.05, 0.6))
                server.kill()
            server.start()
            await load.connect()
            await load.catch_up_with_answers()
        logs = await read_all(load)
        assert server.starts > KILLS
        assert server.trouble() == []
        server.terminate()
        await asyncio.gather(*(gadget.harvest() for gadget in load.gadgets))
        assert await server.ended() == 0
    assert load.replies > 20 * KILLS
    check_answers(load, logs)
    check_devices(load, logs)
