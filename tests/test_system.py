"""The real clock."""

import time

import pytest

from server.system import SystemClock


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What the machine's clock says, in milliseconds; the last item is now."""
    says = [1000]
    monkeypatch.setattr(time, "time_ns", lambda: says[-1] * 1_000_000)
    return says


def test_it_never_goes_back(machine: list[int]) -> None:
    clock = SystemClock()
    for machine_ms, clock_ms in ((1000, 1000), (1005, 1005), (400, 1005), (1006, 1006)):
        machine.append(machine_ms)
        assert clock.now_ms() == clock_ms


def test_it_begins_no_earlier_than_told(machine: list[int]) -> None:
    clock = SystemClock(not_before_ms=1500)
    for machine_ms, clock_ms in ((1000, 1500), (1499, 1500), (1501, 1501), (1000, 1501)):
        machine.append(machine_ms)
        assert clock.now_ms() == clock_ms
