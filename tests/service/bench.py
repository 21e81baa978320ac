"""The executor on a real store and a real hub, with a record of what happened in which order."""

import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from protocol.commands import ChangingCommand
from protocol.errors import Refused
from protocol.methods import METHODS
from server.domain.model import Actor
from server.domain.rules import Rulebook
from server.service.ports import Committed, RequestKey, Store
from tests.kit.devices import SHARD, World, rulebook_with, world_on
from tests.kit.fakes import Gate, HookedStore, until

_numbers = itertools.count(1)

GATED = ("commit", "load", "replay")


class Answer:
    """What the executor said, as soon as it has."""

    def __init__(self) -> None:
        self.count = 0
        self.result: Any = None
        self.refusal: Refused | None = None

    @property
    def code(self) -> str | None:
        return None if self.refusal is None else self.refusal.code.name

    @property
    def map(self) -> dict[str, Any]:
        """The result as it travels."""
        result: dict[str, Any] = msgspec.to_builtins(self.result)
        return result


class Bench:
    """Attributes: trace: "commit", "publish" and "answer", in the order in which they happened."""

    def __init__(self, world: World, hooked: HookedStore, gate: Gate) -> None:
        self.world = world
        self.hooked = hooked
        self.gate = gate
        self.trace: list[str] = []
        self.answers: list[Answer] = []
        self._publish = world.hub.publish
        self.executor = world.executor
        self.executor._publisher = self

    def publish(self, committed: Sequence[Committed], position: int) -> None:
        self.trace.append("publish")
        self._publish(committed, position)

    def submit(
        self, who: str, method: str, /, *, request_id: str | None = None, **params: object
    ) -> Answer:
        """Hand in a command; its digest is that of its content."""
        command = msgspec.convert(params, METHODS[method].command)
        assert isinstance(command, ChangingCommand)
        key = RequestKey(who, request_id or f"r{next(_numbers)}")
        answer = Answer()
        self.answers.append(answer)

        def take(result: object | None, refusal: Refused | None) -> None:
            self.trace.append("answer")
            answer.count += 1
            answer.result, answer.refusal = result, refusal

        self.executor.submit(command, Actor(who), key, msgspec.json.encode([method, command]), take)
        return answer

    async def do(
        self, who: str, method: str, /, *, request_id: str | None = None, **params: object
    ) -> Answer:
        """Hand in a command, and wait until it is answered."""
        answer = self.submit(who, method, request_id=request_id, **params)
        await until(lambda: answer.count)
        return answer

    async def group(self, group_id: str, *members: str, group_type: str = "Work") -> None:
        """A group of alice's."""
        initial = [{"user_id": user_id} for user_id in members]
        made = await self.do(
            "alice", "create_group", type=group_type, name="-", group_id=group_id, members=initial
        )
        assert made.code is None

    async def told(self, event: str) -> list[Committed]:
        return [told for told in await self.world.log() if told.entry.event == event]

    async def texts(self, group_id: str) -> list[str]:
        """What was said in a group, in commit order."""
        return [
            told.entry.data["body"][0]["content"]["text"]
            for told in await self.told("message")
            if told.entry.group_id == group_id
        ]

    async def everything(self) -> object:
        """All that the store can tell, to see that nothing has changed."""
        users = ("alice", "bob", "carol")
        store = self.hooked.inner
        return [
            await store.heads(SHARD),
            await self.world.log(),
            await store.group_counts(users),
            [await store.groups_version(user_id) for user_id in users],
            [await store.groups_of(user_id, 0, 100, None) for user_id in users],
        ]


@asynccontextmanager
async def bench_on(
    store: Store, rulebook: Rulebook | None = None, *, is_only_writer: bool = True
) -> AsyncIterator[Bench]:
    """A bench on the store, with a gate before and after what the executor asks of it."""
    hooked, gate = HookedStore(store), Gate()
    gate.stand_in(hooked, GATED)
    rules = rulebook or rulebook_with()
    async with world_on(hooked.store, rules, is_only_writer=is_only_writer) as world:
        bench = Bench(world, hooked, gate)
        after = hooked.after["commit"]

        async def note() -> None:
            bench.trace.append("commit")
            await after()

        hooked.after["commit"] = note
        yield bench
        gate.open()
