"""What a disk may hold after a power cut, from the trace of what a real server did to it.

Of each file there is everything that was synced. Of what was written since then any part may be
there, in any combination, and a write may be torn between sectors. A new file may be missing until
its directory was synced. kill -9 shows nothing of this: the kernel lives on and writes it all.
"""

import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from server.service.ports import RequestKey
from server.storage.sqlite import open_sqlite
from tests.kit.crash_load import UNLIMITED, Load
from tests.kit.faults import SYNC, TRUNCATE, WRITE, Change, Faults
from tests.kit.server_process import ServerProcess, assert_sound

SECTOR_BYTES: Final = 512
WAYS: Final = ("nothing", "everything", "some", "torn")
"""What of the unsynced writes is there."""


def cut_points(trace: Sequence[Change]) -> list[int]:
    """How many changes had happened: just before and just after each sync."""
    syncs = [place for place, change in enumerate(trace) if change.kind == SYNC]
    return sorted({point for place in syncs for point in (place, place + 1)})


def moment_ns(trace: Sequence[Change], cut: int) -> int:
    """A moment by which a cut after ``cut`` changes can have happened at the latest."""
    return trace[cut].begun_ns if cut < len(trace) else 2**63


def leave_behind(
    base: Path, trace: Sequence[Change], cut: int, way: str, dice: random.Random, target: Path
) -> None:
    """Make ``target`` what the directory may be: ``base``, then the first ``cut`` changes."""
    shutil.copytree(base, target)
    disk = _Disk(target)
    for change in trace[:cut]:
        disk.apply(change)
    disk.lose_power(way, dice)
    # The index of the log is memory that the kernel writes back as it likes.
    if dice.random() < 0.5:
        (target / "muster.db-shm").write_bytes(dice.randbytes(32_768))


class _Disk:
    """The files of a directory: what is synced, and what is on its way."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._synced: dict[str, bytearray] = {}
        self._pending: dict[str, list[Change]] = {}
        self._unlisted: set[str] = set()

    def apply(self, change: Change) -> None:
        if change.kind == SYNC:
            if change.name == "":
                self._unlisted.clear()
            else:
                content = self._content(change.name)
                for earlier in self._pending.pop(change.name, []):
                    _change(content, earlier, earlier.data)
            return
        self._content(change.name)
        self._pending.setdefault(change.name, []).append(change)

    def lose_power(self, way: str, dice: random.Random) -> None:
        for name, content in self._synced.items():
            for change in self._pending.get(name, []):
                if way == "everything" or (way != "nothing" and dice.random() < 0.5):
                    if way == "torn" and change.kind == WRITE:
                        _tear(content, change, dice)
                    else:
                        _change(content, change, change.data)
            path = self._directory / name
            if name in self._unlisted and dice.random() < 0.5:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(content)

    def _content(self, name: str) -> bytearray:
        if name not in self._synced:
            path = self._directory / name
            if not path.exists():
                self._unlisted.add(name)
            self._synced[name] = bytearray(path.read_bytes() if path.exists() else b"")
        return self._synced[name]


def _change(content: bytearray, change: Change, data: bytes) -> None:
    if change.kind == TRUNCATE:
        del content[change.offset :]
        content.extend(bytes(change.offset - len(content)))
        return
    end = change.offset + len(data)
    content.extend(bytes(max(0, end - len(content))))
    content[change.offset : end] = data


def _tear(content: bytearray, change: Change, dice: random.Random) -> None:
    """Some of the sectors of a write; sectors are places of the disk, not of the write."""
    end = change.offset + len(change.data)
    start = change.offset
    while start < end:
        stop = min(end, (start // SECTOR_BYTES + 1) * SECTOR_BYTES)
        if dice.random() < 0.5:
            piece = change.data[start - change.offset : stop - change.offset]
            part = Change(WRITE, change.name, start, piece, change.begun_ns)
            _change(content, part, piece)
        start = stop


async def assert_kept(data: Path, load: Load, before_ns: int) -> int:
    """Everything that was answered before this moment is in the store once; returns how many.

    What was not answered may be there, but not twice; the logs are dense. The database is sound
    by all that ``check`` looks at.
    """
    store = await open_sqlite(data)
    try:
        entries = await store.tail(0, 0, 1_000_000)
        positions = [told.position for told in entries]
        assert positions == sorted(set(positions)), "one order"
        assert (await store.heads(0)).position >= max(positions, default=0)
        seqs: dict[str, list[int]] = {}
        for told in entries:
            log = told.entry.inbox_of or told.entry.group_id
            seqs.setdefault(f"{told.entry.inbox_of is None} {log}", []).append(told.seq)
        assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in seqs.values())
        said = {
            (told.entry.group_id, told.seq): told.entry.data["body"][0]["content"]["text"].split()[
                0
            ]
            for told in entries
            if told.entry.event == "message"
        }
        words = list(said.values())
        assert len(words) == len(set(words)), "nothing is there twice"
        kept = 0
        for user in load.users:
            for request_id, answered_ns in user.told_ns.items():
                if answered_ns >= before_ns:
                    continue
                stored = await store.replay(RequestKey(user.user_id, request_id))
                assert stored is not None, f"{request_id} was answered and is lost"
                method, params = user.asked[request_id]
                if method == "send_message":
                    seq = user.answers[request_id]["seq"]
                    assert stored.seq == seq
                    assert said[params["group_id"], seq] == request_id
                kept += 1
    finally:
        await store.close()
    assert_sound(data)
    return kept


async def traced_run(data: Path, base: Path, seed: int, replies: int) -> tuple[Load, list[Change]]:
    """A load on a real server whose changes on disk are traced; ``base`` is what it began with."""
    with ServerProcess(data) as server:
        assert server.stop() == 0
    shutil.copytree(data, base)
    faults = Faults(data, trace=True)
    with ServerProcess(data, limits=UNLIMITED, env=faults.env) as server:
        load = Load(server, random.Random(seed))
        await load.connect()
        await load.create_groups()
        await load.run_until(replies)
        server.kill()
        await load.after_the_end()
    return load, list(faults.trace())
