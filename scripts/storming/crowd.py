"""Many SDK clients on one event loop; each follows one group and counts what it is given."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection as Pipe
from typing import Final

import msgspec

from protocol.client import Client, Connected, Disconnected, Event
from protocol.errors import ConnectionRefused
from protocol.frames import Resume
from scripts.common.process import raise_open_files

_AT_ONCE: Final = 32
_PATIENCE_S: Final = 120.0
_POLL_S: Final = 0.1
_SHOWN: Final = 5


class Member(msgspec.Struct, frozen=True):
    """One client to be: who it is, and the group that it follows."""

    user_id: str
    user_sig: str
    group_id: str


class Task(msgspec.Struct, frozen=True):
    """What a crowd is told to do.

    ``connect`` everybody; ``returned``: wait until everybody has been connected ``connections``
    times; ``finish``: wait until everybody has the last message of the group (``last_seqs``).
    """

    name: str
    connections: int = 0
    last_seqs: dict[str, int] = {}
    patience_s: float = _PATIENCE_S


class Answer(msgspec.Struct, kw_only=True):
    """What a crowd reports when it has done it.

    Attributes:
        welcomed_s: for each client when the last welcome came, by ``time.monotonic``.
        wrong: in words, what was lost, doubled or reset, up to some; ``wrong_count`` is all.
        endings: how connections ended, by close code and reason.
    """

    welcomed_s: list[float] = []
    wrong: list[str] = []
    wrong_count: int = 0
    endings: dict[str, int] = {}
    events: int = 0


class Crowd:
    """The clients of one process.

    Args:
        url: ``ws://host:port/ws``.
    """

    def __init__(self, url: str, members: list[Member]) -> None:
        self._clients = [_Follower(url, member) for member in members]

    @property
    def wrong(self) -> list[str]:
        """What was lost, doubled or reset, in words."""
        return [text for client in self._clients for text in client.wrong]

    def take(self, user_id: str, seq: int) -> None:
        """Count an event of its group that a client was given."""
        for client in self._clients:
            if client.user_id == user_id:
                client.take(seq)

    async def perform(self, task: Task) -> Answer:
        """Do it, and report."""
        if task.name == "connect":
            await self._connect()
        elif task.name == "returned":
            await _until(
                lambda: all(c.connections >= task.connections for c in self._clients),
                task.patience_s,
            )
        else:
            await _until(
                lambda: all(c.is_at(task.last_seqs) for c in self._clients), task.patience_s
            )
            for client in self._clients:
                client.note_if_behind(task.last_seqs)
        wrong = self.wrong
        endings: Counter[str] = Counter()
        for client in self._clients:
            endings.update(client.endings)
        return Answer(
            welcomed_s=[client.welcomed_s for client in self._clients],
            wrong=wrong[:_SHOWN],
            wrong_count=len(wrong),
            endings=dict(endings),
            events=sum(client.events for client in self._clients),
        )

    async def close(self) -> None:
        """End all clients."""
        await asyncio.gather(*(client.close() for client in self._clients))

    async def _connect(self) -> None:
        turns = asyncio.Semaphore(_AT_ONCE)

        async def connect(client: "_Follower") -> None:
            async with turns:
                await client.start()

        await asyncio.gather(*(connect(client) for client in self._clients))


class _Follower:
    def __init__(self, url: str, member: Member) -> None:
        self._member = member
        self.user_id = member.user_id
        self._client = Client(url, member.user_id, member.user_sig, device_id="storm")
        self._reader: asyncio.Task[None] | None = None
        self._last_seq = 0
        self.connections = 0
        self.events = 0
        self.welcomed_s = 0.0
        self.wrong: list[str] = []
        self.endings: Counter[str] = Counter()

    async def start(self) -> None:
        await self._client.start(_PATIENCE_S)
        self._reader = asyncio.create_task(self._read())

    async def close(self) -> None:
        await self._client.close()
        if self._reader is not None:
            await asyncio.gather(self._reader, return_exceptions=True)

    def is_at(self, last_seqs: dict[str, int]) -> bool:
        return self._last_seq >= last_seqs[self._member.group_id]

    def note_if_behind(self, last_seqs: dict[str, int]) -> None:
        if not self.is_at(last_seqs):
            self._note(f"has {self._last_seq}, the last is {last_seqs[self._member.group_id]}")

    async def _read(self) -> None:
        try:
            async for item in self._client.events():
                if isinstance(item, Event):
                    self.events += 1
                    if item.seq is not None:
                        self.take(item.seq)
                elif isinstance(item, Connected):
                    self.connections += 1
                    self.welcomed_s = time.monotonic()
                    if item.resume is Resume.RESET:
                        self._note(f"was reset: {item.reason}")
                elif isinstance(item, Disconnected):
                    self.endings[f"{item.code}"] += 1
        except ConnectionRefused as refused:
            self._note(f"was refused: {refused}")

    def take(self, seq: int) -> None:
        # From 1 on: the client is a member from the beginning of the group.
        if seq != self._last_seq + 1:
            what = "lost" if seq > self._last_seq + 1 else "doubled"
            self._note(f"{what}: {seq} after {self._last_seq}")
        self._last_seq = max(self._last_seq, seq)

    def _note(self, text: str) -> None:
        self.wrong.append(f"{self._member.user_id} in {self._member.group_id}: {text}")


def run_crowd(pipe: Pipe, url: str, members: list[Member]) -> None:
    """The whole of a process: does what comes through ``pipe`` until None comes."""
    raise_open_files()
    asyncio.run(_serve(pipe, url, members))


async def _serve(pipe: Pipe, url: str, members: list[Member]) -> None:
    crowd = Crowd(url, members)
    while (task := await asyncio.to_thread(pipe.recv)) is not None:
        pipe.send(await crowd.perform(task))
    await crowd.close()


async def _until(is_so: Callable[[], bool], patience_s: float) -> None:
    """Wait until it is so, or for so long that it will not be."""
    give_up_s = time.monotonic() + patience_s
    # Polled, so that an event costs nothing more.
    while not is_so() and time.monotonic() < give_up_s:  # noqa: ASYNC110
        await asyncio.sleep(_POLL_S)
