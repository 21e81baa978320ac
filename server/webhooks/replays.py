"""How the command line asks a server, running or not, to tell dead items again.

Only the server writes to its database, so the command leaves a file beside it: a JSON list of
delivery ids. The server takes it up within seconds, or when it starts.
"""

import logging
import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

log = logging.getLogger(__name__)

_PREFIX: Final = "webhooks.replay."


def ask_for_replay(directory: Path, delivery_ids: Sequence[str]) -> None:
    """Leave the wish that these are told again.

    Raises:
        OSError: it cannot be written.
    """
    path = directory / f"{_PREFIX}{secrets.token_hex(8)}"
    draft = directory / f".{path.name}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(list(delivery_ids)))
    draft.rename(path)


def wishes(directory: Path) -> Iterator[tuple[Path, list[str]]]:
    """What was asked for, and the file to remove when it is done. What is no wish is removed."""
    for path in sorted(directory.glob(f"{_PREFIX}*")):
        try:
            yield path, msgspec.json.decode(path.read_bytes(), type=list[str])
        except (OSError, msgspec.DecodeError) as error:
            log.warning("%s is not understood and removed: %s", path, error)
            path.unlink(missing_ok=True)
