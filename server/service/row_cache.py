"""Recently used rows, bounded in number."""

from typing import Final

from server.domain.model import RowKey
from server.service.ports import Version

DEFAULT_ROWS: Final = 200_000


class RowCache:
    """Rows with their versions, as last read or committed by this process.

    Two generations instead of a list of uses: what was used since the last turn survives it.
    That costs one dict look-up per hit and nothing per row to keep.

    Args:
        rows: about how many rows are kept; at most that many, at least half of them.
    """

    def __init__(self, rows: int = DEFAULT_ROWS) -> None:
        self._half = max(1, rows // 2)
        self._young: dict[RowKey, Version] = {}
        self._old: dict[RowKey, Version] = {}

    def get(self, key: RowKey) -> Version | None:
        """The row of ``key`` if it is here; a Version of position 0 says that there is none."""
        version = self._young.get(key)
        if version is None:
            version = self._old.get(key)
            if version is not None:
                self.put(key, version)
        return version

    def put(self, key: RowKey, version: Version) -> None:
        """Remember ``version``."""
        if len(self._young) >= self._half and key not in self._young:
            self._old = self._young
            self._young = {}
        self._young[key] = version

    def clear(self) -> None:
        """Ask the store for everything the next time."""
        self._young.clear()
        self._old.clear()

    def forget(self, key: RowKey) -> None:
        """Ask the store the next time."""
        self._young.pop(key, None)
        self._old.pop(key, None)
