"""Somebody who writes to all groups all the time, whatever happens to the server."""

import asyncio
import itertools
import time
from random import Random
from typing import Final

import msgspec

from protocol.client import Client
from protocol.errors import Refused
from protocol.messages import text_body
from scripts.storming.crowd import Member

_CREATING: Final = 4
_ANSWERS_S: Final = 120.0


class Sent(msgspec.Struct, frozen=True):
    """One message: when it was sent and answered, by ``time.monotonic``.

    One that was sent while there was no connection had to wait for the client's own return.
    """

    sent_s: float
    replied_s: float
    was_connected: bool


class _Eager(Random):
    """Has a client come back among the first, so that there are messages while others do."""

    def random(self) -> float:
        return 0.02

    def uniform(self, a: float, b: float) -> float:
        return a + (b - a) * self.random()


class Pulse:
    """A member of every group, on an SDK client of its own.

    Attributes:
        sent: every message that was answered.
        last_seqs: group -> the last number answered.
        refusals: how many calls failed although they were retried.
    """

    def __init__(self, url: str, user_id: str, user_sig: str, rate: float) -> None:
        self._client = Client(
            url,
            user_id,
            user_sig,
            device_id="pulse",
            receive_events=False,
            timeout_s=_ANSWERS_S,
            random=_Eager(),
        )
        self._rate = rate
        self._is_beating = True
        self._calls: set[asyncio.Task[None]] = set()
        self.sent: list[Sent] = []
        self.last_seqs: dict[str, int] = {}
        self.refusals = 0

    async def found(self, members: list[Member]) -> None:
        """Connect, and make the groups with everybody in them."""
        await self._client.start()
        turns = asyncio.Semaphore(_CREATING)

        async def create(group_id: str, user_ids: list[str]) -> None:
            async with turns:
                rows = [{"user_id": user_id} for user_id in user_ids]
                params = {"type": "Public", "name": "Storm", "group_id": group_id, "members": rows}
                await self._client.call("create_group", params)
                self.last_seqs[group_id] = 0

        by_group = itertools.groupby(members, lambda member: member.group_id)
        await asyncio.gather(
            *(create(group_id, [m.user_id for m in group]) for group_id, group in by_group)
        )

    async def beat(self) -> None:
        """Write to one group after the other until ``stop``; returns when all is answered."""
        groups = itertools.cycle(sorted(self.last_seqs))
        started_s = time.monotonic()
        for number in itertools.count():
            if not self._is_beating:
                break
            call = asyncio.create_task(self._send(next(groups)))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
            due_s = started_s + number / self._rate
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
        await asyncio.gather(*self._calls)

    def stop(self) -> None:
        """Write nothing more."""
        self._is_beating = False

    async def close(self) -> None:
        """End the client."""
        await self._client.close()

    async def _send(self, group_id: str) -> None:
        sent_s, was_connected = time.monotonic(), self._client.is_connected
        try:
            done = await self._client.send_message(group_id, text_body("still there"))
        except (Refused, TimeoutError):
            self.refusals += 1
            return
        self.sent.append(Sent(sent_s, time.monotonic(), was_connected))
        assert done.seq is not None  # these groups store what is said
        self.last_seqs[group_id] = max(self.last_seqs[group_id], done.seq)
