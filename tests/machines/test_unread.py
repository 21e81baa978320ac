"""The law of unread counts: what came after one's place in the log, but for what is quiet.

Seeded rounds of many things at once: members speak, the operator says what counts and what does
not, also again by the same request id, and readers move on; all of a round may be one batch.
"""

import random
from pathlib import Path
from typing import Any, Final

import pytest

from protocol.messages import text_body
from protocol.vocabulary import GroupType
from server.domain.jobs import SendControlled, SetUnread
from server.domain.model import Actor
from server.service.ports import RequestKey
from server.storage.audit import audit
from server.storage.database import DATABASE_NAME
from tests.kit.devices import ADMIN, STORES, World, body, store_of, world_on

OPERATOR: Final = Actor(ADMIN, is_app_admin=True)
READERS: Final = ("ann", "bob")
AGAIN: Final = "again"
ROUNDS: Final = 12


class Model:
    """Whether each entry of the log counts, and up to where each reader has read.

    Of a reader whose number the operator has set nothing is known until it reads to the end.
    """

    def __init__(self) -> None:
        self.counts: list[bool] = []
        self.read: dict[str, int | None] = dict.fromkeys(READERS, 0)

    def say(self, who: str, *, quiet: bool = False) -> None:
        self.counts.append(not quiet)
        if who in self.read:
            self.read[who] = len(self.counts)

    def mark(self, who: str, seq: int) -> None:
        known = self.read[who]
        if known is not None:
            self.read[who] = max(known, min(seq, len(self.counts)))
        elif seq >= len(self.counts):
            self.read[who] = len(self.counts)

    def unread(self, who: str) -> int | None:
        read = self.read[who]
        return None if read is None else sum(self.counts[read:])


class Play:
    """What is done to the server and to the model alike."""

    def __init__(self, world: World, chance: random.Random) -> None:
        self.world = world
        self.chance = chance
        self.model = Model()

    async def begin(self) -> None:
        owner = await self.world.online("owner")
        self.readers = {name: await self.world.online(name) for name in READERS}
        members = [{"user_id": name} for name in READERS]
        await owner.call("create_group", type="Public", name="g", group_id="g", members=members)
        self.whisper(AGAIN, quiet=True)
        self.model.say(ADMIN, quiet=True)
        await self.world.settle()

    def whisper(self, name: str, *, quiet: bool) -> None:
        command = SendControlled(group_id="g", body=text_body("psst"), no_unread=quiet)
        request = RequestKey(ADMIN, name)
        self.world.executor.submit(command, OPERATOR, request, b"d", lambda _result, _refused: None)

    async def round(self) -> None:
        replies: list[tuple[Any, int | None]] = []
        is_repeated = False
        for _ in range(self.chance.randint(1, 6)):
            who = self.chance.choice(READERS)
            match self.chance.choice(["say", "whisper", "whisper", AGAIN, "mark", "mark"]):
                case "say":
                    _ = self.readers[who].send("send_message", group_id="g", body=body("x"))
                    self.model.say(who)
                case "whisper":
                    quiet = self.chance.random() < 0.7
                    self.whisper(f"w{len(self.model.counts)}", quiet=quiet)
                    self.model.say(ADMIN, quiet=quiet)
                case "again":
                    self.whisper(AGAIN, quiet=True)
                    is_repeated = True
                case _:
                    seq = self.chance.randint(0, len(self.model.counts) + 2)
                    reply = self.readers[who].send("mark_read", group_id="g", seq=seq)
                    self.model.mark(who, seq)
                    replies.append((reply, self.model.unread(who)))
        await self.world.settle()
        for reply, unread in replies:
            answered = await reply
            # A reply is made before it is known that something before it was a repeat.
            if unread is not None and not is_repeated:
                assert answered.result == {"unread": unread}

    async def set_unread(self) -> None:
        who, unread = self.chance.choice(READERS), self.chance.randint(0, 5)
        command = SetUnread(group_id="g", user_id=who, unread=unread)
        self.world.executor.submit(command, OPERATOR, None, b"", lambda _result, _refused: None)
        await self.world.settle()
        assert (await self.row(who))["unread"] == min(unread, sum(self.model.counts))
        self.model.read[who] = None

    async def row(self, who: str) -> dict[str, Any]:
        (row,) = (await self.readers[who].call("list_joined_groups"))["groups"]
        assert isinstance(row, dict)
        return row

    async def check(self) -> None:
        for name in READERS:
            row = await self.row(name)
            assert row["last_seq"] == len(self.model.counts)
            assert 0 <= row["unread"] <= sum(self.model.counts)
            unread = self.model.unread(name)
            if unread is not None:
                found = (row["self"]["read_seq"], row["unread"])
                assert found == (self.model.read[name], unread)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", STORES)
async def test_law(kind: str, seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    async with store_of(kind, tmp_path) as store, world_on(store) as world:
        play = Play(world, chance)
        await play.begin()
        for _ in range(ROUNDS):
            await play.round()
            await play.check()
            if chance.random() < 0.2:
                await play.set_unread()
    if kind == "sqlite":
        assert audit(tmp_path / DATABASE_NAME, [GroupType.AVCHATROOM]).findings == []
