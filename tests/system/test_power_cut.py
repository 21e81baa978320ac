"""The power goes while the server works: fault F2 of ``reliability.md``, promise 1.

A few of the cuts that ``scripts/faults`` does by the hundred.
"""

import random
from pathlib import Path

import pytest

from tests.kit.power_cut import (
    WAYS,
    assert_kept,
    cut_points,
    leave_behind,
    moment_ns,
    traced_run,
)
from tests.kit.server_process import ServerProcess
from tests.kit.system_device import connect_device, text

SEED = 20_251_125
CUTS = 12


@pytest.mark.slow
@pytest.mark.usefixtures("shim")
async def test_what_was_answered_survives_a_power_cut(data_directory: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    load, trace = await traced_run(data_directory, base, SEED, 150)
    dice = random.Random(SEED)
    points = cut_points(trace)
    chosen = [*dice.choices(points, k=CUTS - 1), len(trace)]
    kept = []
    target = base
    for number, cut in enumerate(sorted(chosen)):
        target = tmp_path / f"cut-{number}"
        leave_behind(base, trace, cut, WAYS[number % len(WAYS)], dice, target)
        kept.append(await assert_kept(target, load, moment_ns(trace, cut)))
    assert kept == sorted(kept)
    assert kept[-1] >= 150

    # And the whole server starts on it, tells it, and goes on.
    with ServerProcess(target) as server:
        server.assert_sound()
        owner = await connect_device(server, "owner")
        page = await owner.call("list_messages", group_id="work", after_seq=0)
        sent = await owner.call("send_message", group_id="work", body=text("on"))
        assert sent["seq"] > page["events"][-1]["seq"]
        await owner.close()
        assert server.trouble() == []
