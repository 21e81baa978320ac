"""Servers and devices for the system tests; all of them are gone at the end of their scope."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from tests.kit.faults import library
from tests.kit.server_process import ServerProcess
from tests.kit.system_device import JSON, WIRES, Device, Wire, connect_device


class Serve(Protocol):
    """Makes a server of a data directory of its own; it ends with the module."""

    def __call__(
        self, *, limits: dict[str, int] | None = None, options: tuple[str, ...] = ()
    ) -> ServerProcess: ...


class Connect(Protocol):
    """Makes a welcomed device; it is closed with the test."""

    async def __call__(
        self,
        server: ServerProcess,
        user_id: str,
        device_id: str = "device-1",
        *,
        wire: Wire = JSON,
        cursor: str | None = None,
    ) -> Device: ...


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """See ``Serve``. At the end no server has logged an error, and all data is sound."""
    servers: list[ServerProcess] = []

    def make(
        *, limits: dict[str, int] | None = None, options: tuple[str, ...] = ()
    ) -> ServerProcess:
        data = tmp_path_factory.mktemp("server") / "data"
        server = ServerProcess(data, limits=limits, options=options)
        servers.append(server)
        return server.start()

    yield make
    statuses = [server.stop() for server in servers]
    assert [server.trouble() for server in servers] == [[] for _ in servers]
    assert set(statuses) <= {0, None}
    for server in servers:
        server.assert_sound()


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """See ``Connect``."""
    devices: list[Device] = []

    async def make(
        server: ServerProcess,
        user_id: str,
        device_id: str = "device-1",
        *,
        wire: Wire = JSON,
        cursor: str | None = None,
    ) -> Device:
        device = await connect_device(server, user_id, device_id, wire=wire, cursor=cursor)
        devices.append(device)
        return device

    yield make
    for device in devices:
        device.drop()
    await asyncio.gather(*(device.close() for device in devices))


@pytest.fixture(params=WIRES, ids=lambda wire: wire.name)
def wire(request: pytest.FixtureRequest) -> Wire:
    """Both encodings."""
    chosen: Wire = request.param
    return chosen


@pytest.fixture(scope="session")
def fresh() -> Callable[[str], str]:
    """Names that no other test uses: ``fresh("bob")`` is bob-1, then bob-2."""
    numbers = itertools.count(1)
    return lambda name: f"{name}-{next(numbers)}"


@pytest.fixture
def data_directory(tmp_path: Path) -> Path:
    """Where a server of one test keeps its data."""
    return tmp_path / "data"


@pytest.fixture(scope="session")
def shim() -> None:
    """For tests that use ``tests.kit.faults``."""
    if library() is None:
        pytest.skip("no C compiler here")
