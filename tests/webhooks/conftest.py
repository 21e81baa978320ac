from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from server.service.ports import Store
from tests.kit.devices import STORES, World, store_of, world_on
from tests.kit.receivers import ScriptedReceiver


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with store_of(request.param, tmp_path) as opened:
        yield opened


@pytest.fixture
def receiver() -> ScriptedReceiver:
    return ScriptedReceiver()


@pytest.fixture
async def world(store: Store, receiver: ScriptedReceiver) -> AsyncIterator[World]:
    async with world_on(store, receiver=receiver) as running:
        yield running
