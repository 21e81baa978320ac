"""Both adapters keep the contract."""

from pathlib import Path

import pytest

from server.service.ports import Store
from server.storage.memory import MemoryStore
from tests.storage.conftest import Opening
from tests.storage.contract import StoreContract


class TestMemory(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore(epoch="first")


class TestSqlite(StoreContract):
    @pytest.fixture
    async def store(self, tmp_path: Path, opening: Opening) -> Store:
        return await opening(tmp_path / "data")
