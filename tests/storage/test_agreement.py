"""Both adapters give the same answers to the same questions, whatever is committed."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from protocol.results import ApplicationKind, ApplicationStatus
from protocol.vocabulary import GroupType, ReceiveOption, Role
from server.domain.model import (
    ApplicationKey,
    ApplicationsSeen,
    ApplicationsSeenKey,
    Attributes,
    AttributesKey,
    Entry,
    GroupKey,
    MemberKey,
    PlaceAt,
    ReadUpTo,
    Redaction,
    RememberedKey,
    Row,
    RowKey,
    Spoke,
)
from server.service.ports import Done, RequestKey, Store, WriteSet
from server.storage.memory import MemoryStore
from tests.storage.builders import (
    EVERYTHING,
    application,
    disband,
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
from tests.storage.conftest import Opening

USERS = ["ann", "bob", "cat"]
GROUPS = ["g", "h", "i"]
REQUESTS = [RequestKey(user, name) for user in USERS[:2] for name in "rs"]
KEYS: list[RowKey] = [
    *(GroupKey(g) for g in GROUPS),
    *(MemberKey(g, u) for g in GROUPS for u in USERS),
    *(AttributesKey(g) for g in GROUPS),
    *(ApplicationsSeenKey(u) for u in USERS),
]

Step = list[tuple[WriteSet, dict[RowKey, int]]] | tuple[str, int, int]
HELD = -99
"""Expects whatever version the store holds when the batch begins."""


class Chance(random.Random):
    """Draws what is committed."""

    def rarely(self) -> bool:
        return self.random() < 0.3

    def time(self) -> int:
        return self.randint(1, 30)

    def entry(self, group_id: str) -> Entry:
        told = self.choice(
            [
                message("m", group_id),
                message("q", group_id, is_quiet=True, is_passing=self.rarely()),
                entry("t", group_id),
                notice("n", self.choice(USERS), group_id),
            ]
        )
        is_stored = self.random() < 0.75
        return msgspec.structs.replace(told, time_ms=self.time(), is_stored=is_stored)

    def entries(self, group_id: str, least: int) -> list[Entry]:
        return [self.entry(group_id) for _ in range(self.randint(least, 3))]

    def move(self) -> WriteSet:
        """Somebody joins or leaves, told by one of several entries, stored or not."""
        group_id, user_id = self.choice(GROUPS), self.choice(USERS)
        some = self.entries(group_id, 1)
        place = self.randrange(len(some))
        joins = self.random() < 0.6
        edge = {"joined" if joins else "left": (user_id,)}
        some[place] = msgspec.structs.replace(some[place], **edge)
        row = member(user_id, group_id, self.choice(list(Role))) if joins else None
        return write_set(*some, puts={MemberKey(group_id, user_id): row}, time_ms=self.time())

    def mixture(self) -> WriteSet:
        """Anything at once that is no move."""
        group_id, user_id = self.choice(GROUPS), self.choice(USERS)
        return write_set(
            *self.entries(group_id, 0),
            puts=self.rows(group_id, user_id),
            time_ms=self.time(),
            counts={"x": self.randint(-3, 3)} if self.rarely() else {},
            spoke=Spoke(group_id, user_id) if self.rarely() else None,
            reads=ReadUpTo(group_id, user_id, self.time(), self.time()) if self.rarely() else None,
            places=[PlaceAt(group_id, user_id, self.time(), 1)] if self.rarely() else [],
            redactions=[Redaction(group_id, self.randint(1, 8), {})] if self.rarely() else [],
        )

    def rows(self, group_id: str, user_id: str) -> dict[RowKey, Row | None]:
        option, role = self.choice(list(ReceiveOption)), self.choice(list(Role))
        rows: dict[RowKey, Row | None] = {
            MemberKey(group_id, user_id): member(user_id, group_id, role, receive_option=option),
            GroupKey(group_id): group(group_id, version=self.time()),
            AttributesKey(group_id): Attributes(group_id=group_id, values={"a": "b"}),
            RememberedKey(group_id, user_id): None,
            ApplicationsSeenKey(user_id): ApplicationsSeen(user_id=user_id, up_to_ms=self.time()),
        }
        return {key: row for key, row in rows.items() if self.rarely()}

    def application(self) -> WriteSet:
        one = application(
            self.choice("abcd"),
            self.choice(GROUPS),
            user_id=self.choice(USERS),
            kind=self.choice(list(ApplicationKind)),
            status=self.choice(list(ApplicationStatus)),
            created_ms=self.time(),
            handled_ms=self.time(),
        )
        return write_set(puts={ApplicationKey(one.application_id): one})

    def write_set(self) -> WriteSet:
        group_id, user_id = self.choice(GROUPS), self.choice(USERS)
        makers: list[Callable[[], WriteSet]] = [
            self.mixture,
            self.mixture,
            self.move,
            self.move,
            self.application,
            lambda: founding(group_id, *self.sample(USERS, self.randint(0, 3))),
            lambda: join(user_id, group_id),
            lambda: leave(user_id, group_id),
            lambda: say("s", user_id, group_id, self.time()),
            lambda: say("s", user_id, group_id, self.time()),
            lambda: disband(group_id) if self.rarely() else join(user_id, group_id),
        ]
        return self.choice(makers)()

    def batch(self) -> list[tuple[WriteSet, dict[RowKey, int]]]:
        batch = []
        for _ in range(self.randint(1, 6)):
            request = self.choice(REQUESTS) if self.rarely() else None
            one = msgspec.structs.replace(
                self.write_set(), request=request, digest=b"d", reply=b"r"
            )
            expected = self.choice([HELD, HELD, -1, -2, 0, self.randint(1, 9)])
            batch.append((one, {self.choice(KEYS): expected} if self.rarely() else {}))
        return batch

    def step(self) -> Step:
        if self.random() < 0.8:
            return self.batch()
        return (self.choice(["trim", "purge", "forget"]), self.time(), self.randint(0, 9))


async def everything(store: Store) -> dict[str, Any]:
    """The answers to all questions."""
    heads = await store.heads(0)
    end, middle = heads.position, (heads.floor + heads.position) // 2
    answers: dict[str, Any] = {
        "load": await store.load(KEYS),
        "counts": await store.group_counts(USERS),
        "counters": await store.counters("xyz"),
        "replay": [await store.replay(request) for request in REQUESTS],
        "heads": (heads.position, heads.floor),
        "tail": [await store.tail(0, after, 5) for after in (0, middle)],
        "group_heads": await store.group_heads([*GROUPS, "nowhere"]),
        "handlers": await store.handlers(GROUPS),
        "pending": [await store.pending(USERS, limit) for limit in (1, 9)],
        "idle": await store.idle_groups(15, 2),
        "read": await store.read_states([k for k in KEYS if isinstance(k, MemberKey)]),
    }
    for user in USERS:
        followed = (await store.followed([user]))[user]
        answers[user] = (
            followed.position,
            sorted(followed.group_ids),
            sorted(followed.discards),
            await store.groups_version(user),
            await store.groups_of(user, 0, 2, None),
            await store.groups_of(user, middle, 9, GroupType.WORK),
            await store.unread_applications(user),
            await store.applications_for(user, None, 2),
            await store.applications_for(user, (15, "b"), 9),
            [await store.missed(0, user, *part) for part in ((0, end, 99), (middle, end + 5, 2))],
            await store.missed_count(0, user, heads.floor, end),
            await store.missed_count(0, user, middle, end - 1),
        )
    for group_id in GROUPS:
        answers[group_id] = (
            [await store.quiet_above(group_id, seq) for seq in (0, 3, 9)],
            await store.member_states(group_id, USERS),
            await store.members(group_id, "", 2, list(Role)),
            await store.members(group_id, "ann", 9, [Role.OWNER, Role.ADMIN]),
            [
                await store.history(group_id, above, below, limit, newest=newest)
                for above, below, limit in ((0, EVERYTHING, 3), (1, 4, 9), (2, 9, 2))
                for newest in (True, False)
            ],
        )
    return answers


async def apply(store: Store, step: Step) -> object:
    if isinstance(step, list):
        batch = []
        for one, expect in step:
            rows = await store.load(list(expect))
            held = {key: rows[key].position if n == HELD else n for key, n in expect.items()}
            batch.append(msgspec.structs.replace(one, expect=held))
        return await store.commit(0, batch)
    name, before_ms, limit = step
    if name == "trim":
        return await store.trim(0, before_ms, limit)
    if name == "purge":
        return await store.purge(before_ms, limit)
    return await store.forget_requests(before_ms, limit)


@pytest.mark.parametrize("seed", range(30))
async def test_sqlite_answers_as_memory_does(seed: int, tmp_path: Path, opening: Opening) -> None:
    chance = Chance(seed)
    memory: Store = MemoryStore(epoch="first")
    sqlite: Store = await opening(tmp_path / "data")
    for _ in range(25):
        step = chance.step()
        assert await apply(sqlite, step) == await apply(memory, step)
        assert await everything(sqlite) == await everything(memory)
    await sqlite.close()
    sqlite = await opening(tmp_path / "data")
    assert await everything(sqlite) == await everything(memory)


@pytest.mark.parametrize("seed", range(50))
async def test_how_write_sets_are_gathered_makes_no_difference(seed: int) -> None:
    chance = Chance(seed)
    together, alone = MemoryStore(), MemoryStore()
    for _ in range(10):
        batch = [chance.write_set() for _ in range(chance.randint(1, 8))]
        outcomes = await together.commit(0, batch)
        assert all(isinstance(outcome, Done) for outcome in outcomes)
        assert outcomes == [(await alone.commit(0, [one]))[0] for one in batch]
        assert await everything(together) == await everything(alone)
