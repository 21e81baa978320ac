"""Both adapters keep the contract."""

import copy
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from server.service.ports import Store
from server.storage.memory import MemoryStore
from server.storage.memory_tables import Tables
from server.storage.sqlite import SqliteStore, open_sqlite
from tests.storage.conftest import Opening
from tests.storage.contract import StoreContract


class MemoryPlaces:
    """See ``contract_terms.Places``."""

    def __init__(self) -> None:
        self._tables: dict[str, Tables] = {}

    async def open(self, place: str, term: str) -> Store:
        return MemoryStore(epoch=term, tables=self._tables.setdefault(place, Tables()))

    def copy(self, source: str, target: str) -> None:
        self._tables[target] = copy.deepcopy(self._tables[source])


class SqlitePlaces:
    """See ``contract_terms.Places``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.opened: list[SqliteStore] = []

    async def open(self, place: str, term: str) -> Store:
        store = await open_sqlite(self._directory / place, epoch=term)
        self.opened.append(store)
        return store

    def copy(self, source: str, target: str) -> None:
        shutil.copytree(self._directory / source, self._directory / target)


class TestMemory(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore(epoch="first")

    @pytest.fixture
    def places(self) -> MemoryPlaces:
        return MemoryPlaces()


class TestSqlite(StoreContract):
    @pytest.fixture
    async def store(self, tmp_path: Path, opening: Opening) -> Store:
        return await opening(tmp_path / "data")

    @pytest.fixture
    async def places(self, tmp_path: Path) -> AsyncIterator[SqlitePlaces]:
        places = SqlitePlaces(tmp_path)
        yield places
        for store in places.opened:
            await store.close()
