"""Errors and cancellations at every place where the service waits for its store.

Faults F23 and F24 of ``reliability.md``: one after the other, each call of the store fails, before
it is made or after it was done. Whatever ends by it, every request that is repeated with its id,
on the next process if need be, is done once, and no device has a hole.
"""

import asyncio
from pathlib import Path
from typing import Any, Final

import pytest

from protocol.errors import Refused
from server.service.ports import OutcomeUnknown, Store, Unavailable
from tests.kit.devices import STORES, Device, Gone, World, body, result_of, store_of, world_on
from tests.kit.fakes import HookedStore

PATIENCE_S: Final = 5.0


class Bug(Exception):
    """Nobody expects it."""


HARMS: Final = {
    "unavailable": Unavailable("for a test"),
    "unknown": OutcomeUnknown("for a test"),
    "bug": Bug("for a test"),
    "cancelled": None,
}

Request = tuple[str, str, dict[str, Any]]

SCRIPT: Final[list[list[Request]]] = [
    [
        (
            "alice",
            "create_group",
            {"type": "Work", "name": "g", "group_id": "g", "members": [{"user_id": "bob"}]},
        )
    ],
    [
        (user, "send_message", {"group_id": "g", "body": body(f"{user} {n}")})
        for n in range(3)
        for user in ("alice", "bob")
    ],
    [
        ("alice", "invite_members", {"group_id": "g", "user_ids": ["carol"]}),
        ("bob", "disband_group", {"group_id": "g"}),
    ],
    [
        ("bob", "quit_group", {"group_id": "g"}),
        ("alice", "send_message", {"group_id": "g", "body": body("last")}),
    ],
]
"""Steps; the requests of one step are in flight together."""

NAMES: Final = [name for name in vars(Store) if not name.startswith("_") and name != "close"]


class Trap:
    """Does harm at the call number ``at`` of the store, and counts them all.

    A cancellation is the executor's only: nobody cancels what reads while its device is there.
    """

    def __init__(self, harm: str, at: int) -> None:
        self.calls = 0
        self.has_struck = False
        self.world: World | None = None
        self._error = HARMS[harm]
        self._at = at

    def set_up(self, hooked: HookedStore, *, is_before: bool) -> None:
        hooks = hooked.before if is_before else hooked.after
        hooks.update(dict.fromkeys(NAMES, self._come_by))

    async def _come_by(self) -> None:
        self.calls += 1
        if self.calls != self._at:
            return
        if self._error is not None:
            self.has_struck = True
            raise self._error
        task = asyncio.current_task()
        if self.world is not None and task is self.world._work:
            self.has_struck = True
            self.world._work.cancel()
            await asyncio.sleep(0)


class Story:
    """The script as it is carried out, by one world after the other, with one id per request."""

    def __init__(self) -> None:
        self.results: dict[str, Any] = {}
        self.refusals: dict[str, str] = {}
        self.cursors: dict[str, str | None] = {}

    async def carry_on(self, world: World) -> None:
        """Do what is not done yet, until all is done or something has failed."""
        devices = {
            user: world.connect(user, cursor=self.cursors.get(user)) for user in ("alice", "bob")
        }
        try:
            for number, step in enumerate(SCRIPT):
                asked = [
                    self._ask(world, devices[request[0]], f"{number}-{place}", request)
                    for place, request in enumerate(step)
                ]
                await asyncio.gather(*asked)
        except (Gone, Refused):
            return
        finally:
            for user, device in devices.items():
                seqs = [event.seq for event in device.events if event.seq is not None]
                assert seqs == sorted(set(seqs)), "each once, in order"
                assert not seqs or seqs == list(range(seqs[0], seqs[-1] + 1)), "no hole"
                self.cursors[user] = device.cursor or self.cursors.get(user)

    async def _ask(self, world: World, device: Device, request_id: str, request: Request) -> None:
        _user, method, params = request
        if request_id in self.refusals:
            return
        reply = device.send(method, request_id=request_id, **params)
        either: list[asyncio.Future[Any]] = [reply, world._work]
        await asyncio.wait(either, timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
        assert reply.done() or world._work.done(), "nobody is left without an answer"
        if not reply.done():
            raise Gone
        try:
            result = result_of(reply.result())
        except Refused as refusal:
            if refusal.code.name in PASSING:
                raise
            self.refusals[request_id] = refusal.code.name
        else:
            assert self.results.setdefault(request_id, result) == result


PASSING: Final = ("UNAVAILABLE", "OUTCOME_UNKNOWN", "INTERNAL")


async def strike(kind: str, directory: Path, harm: str, at: int, *, is_before: bool) -> Trap:
    """The script with one harm; then what is left of it, and all must be true."""
    story = Story()
    trap = Trap(harm, at)
    async with store_of(kind, directory) as store:
        hooked = HookedStore(store)
        async with world_on(hooked.store) as world:
            trap.world = world
            trap.set_up(hooked, is_before=is_before)
            await story.carry_on(world)
        trap.world = None
        hooked.before.clear()
        hooked.after.clear()
        async with world_on(store) as world:
            await story.carry_on(world)
            await check(world, story)
    return trap


async def check(world: World, story: Story) -> None:
    asked = {f"{n}-{place}" for n, step in enumerate(SCRIPT) for place in range(len(step))}
    assert story.results.keys() | story.refusals.keys() == asked
    assert story.refusals.keys() == {"2-1"}
    log = [told for told in await world.log() if told.entry.inbox_of is None]
    assert [told.seq for told in log] == list(range(1, len(log) + 1))
    said = [told.entry.data["body"] for told in log if told.entry.event == "message"]
    wanted = [params["body"] for step in SCRIPT for _u, m, params in step if m == "send_message"]
    key = str
    assert sorted(said, key=key) == sorted(wanted, key=key), "each once"
    for request_id, result in story.results.items():
        if "seq" in result:
            step, place = map(int, request_id.split("-"))
            assert log[result["seq"] - 1].entry.data["body"] == SCRIPT[step][place][2]["body"]


@pytest.mark.parametrize("is_before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("kind", STORES)
async def test_one_harm_at_every_call_of_the_store(
    kind: str, harm: str, is_before: bool, tmp_path: Path
) -> None:
    at = struck = 0
    while True:
        at += 1
        trap = await strike(kind, tmp_path / str(at), harm, at, is_before=is_before)
        struck += trap.has_struck
        if trap.calls < at:
            break
    assert at > 10
    assert struck > 5
