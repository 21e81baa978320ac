"""Run by test_sqlite on a file system of two megabytes: fill it, and make room again."""

import asyncio
import sys
from pathlib import Path

from server.service.ports import Unavailable
from server.storage.sqlite import open_sqlite
from tests.storage.builders import asked, done, log, message


async def main(directory: Path) -> None:
    store = await open_sqlite(directory / "data")
    await done(store, asked("first", message("first")))
    ballast = directory / "ballast"
    ballast.write_bytes(b"x" * 1_200_000)
    count = 0
    try:
        while True:
            await done(store, asked(f"r{count}", message("m", data="x" * 20_000)))
            count += 1
    except Unavailable:
        assert count > 5
    assert len(await log(store)) == 1 + count
    ballast.unlink()
    await done(store, asked(f"r{count}", message("m", data="x" * 20_000)))
    assert [told.seq for told in await log(store)] == list(range(1, count + 3))
    await store.close()
    store = await open_sqlite(directory / "data")
    assert len(await log(store)) == count + 2
    await store.close()
    sys.stdout.write("recovered\n")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
