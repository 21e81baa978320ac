"""Run by test_sqlite until it is killed: commit, and say so, again and again."""

import asyncio
import sys
from pathlib import Path

from server.storage.sqlite import open_sqlite
from tests.storage.builders import asked, done, log, message


async def main(directory: Path) -> None:
    store = await open_sqlite(directory, epoch="first")
    count = len(await log(store))
    while True:
        count += 1
        await done(store, asked(f"r{count}", message("m")))
        sys.stdout.write(f"{count}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
