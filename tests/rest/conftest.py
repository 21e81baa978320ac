"""An office on an empty store in memory, with the examples' group or without."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.kit.office import Office, office_of
from tests.rest.examples import EXAMPLE


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with office_of("memory", tmp_path) as opened:
        yield opened


@pytest.fixture
async def crew(office: Office) -> Office:
    """With the group of the example: leckie the owner, bob an admin, peter a member."""
    await office.ok("create_group", EXAMPLE["create_group"])
    return office
