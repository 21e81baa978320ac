"""scripts/load at a small size against a real server, and its oracle on what came of it."""

import asyncio
from pathlib import Path
from random import Random
from typing import Final

import msgspec
import pytest

from scripts.common.target import own_server
from scripts.loadgen.glimpse import Glimpse
from scripts.loadgen.oracle import judge
from scripts.loadgen.picture import picture
from scripts.loadgen.program import SETTINGS, main
from scripts.loadgen.record import DeviceRecord, Fault, Record
from scripts.loadgen.result import Result
from scripts.loadgen.run import Manner, Watch, run
from scripts.loadgen.writer import Options, write_plan
from tests.scripts.running import run_program

SMALL: Final = ("--users", "20", "--groups", "8", "--requests", "400", "--churn", "2")
MANNER: Final = Manner(seed=5, admin="administrator", in_flight=32, seconds=30)


@pytest.mark.slow
def test_a_small_conversation_goes_right(tmp_path: Path) -> None:
    out = tmp_path / "result"
    done = run_program("load", *SMALL, "--slow", "2", "--rate", "400", "--out", str(out))

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nothing is wrong." in done.stdout
    assert "of the messages are stored" in done.stdout
    assert "400/400 requests" in done.stderr
    for fault in Fault:
        assert f"  {fault.value} " in done.stdout
    assert (out / "load.txt").read_text() == done.stdout
    result = msgspec.json.decode((out / "load.json").read_bytes(), type=Result)
    assert (result.total.offered, result.total.answered) == (400, 400)
    assert result.deliveries >= sum(bucket.deliveries for bucket in result.points) > 400
    assert (out / "load.svg").read_text() == picture(result)


@pytest.mark.slow
def test_it_goes_right_when_the_server_is_killed_in_the_middle() -> None:
    done = run_program("load", *SMALL, "--rate", "200", "--kills", "1", "--restarts", "1")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "killed and restarted 2 times" in done.stdout
    assert done.stdout.count(" s: kill -9") == 1
    assert done.stdout.count(" s: SIGTERM") == 1


@pytest.mark.slow
def test_it_ends_in_time_and_says_that_it_was_cut() -> None:
    options = ("--users", "20", "--groups", "8", "--rate", "0", "--requests", "20000")
    done = run_program("load", *options, "--churn", "0", "--seconds", "1")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "The time was up" in done.stdout


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--url", "ws://127.0.0.1:9/ws"), "--key-file"),
        (("--url", "ws://127.0.0.1:9/ws", "--key-file", "/nowhere/secret.key"), "key file"),
        (("--url", "http://127.0.0.1:9/ws", "--secret-key", "k"), "no ws:// or wss://"),
        (("--url", "ws://127.0.0.1:9/ws", "--secret-key", "k", "--kills", "1"), "of its own"),
        (("--users", "many"), "expected a whole number"),
        (("--users", "0"), "1 or more"),
        (("--rate", "-1"), "requests per second, 0 or more"),
        (("--seconds", "0"), "above 0"),
        (("--rate", "0.1", "--seconds", "1"), "nothing to do"),
        (("--picture", "load.png"), "something.svg"),
        (("--json", "/nowhere/load.json"), "cannot be written"),
        (("--colour",), "unrecognized"),
    ],
)
def test_it_says_what_it_needs(
    options: tuple[str, ...],
    reason: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MUSTER_SECRET_KEY", raising=False)
    try:
        status: int | str | None = main(options)
    except SystemExit as error:  # by argparse
        status = error.code

    assert status == 2
    assert reason in capsys.readouterr().err


@pytest.mark.slow
async def test_the_oracle_finds_what_is_spoiled_in_a_real_run() -> None:
    plan = write_plan(
        Options(seed=5, users=15, groups=6, requests=250, rate=0, devices=2, churn=2, slow=1)
    )
    with own_server(SETTINGS) as server:
        _, record = await run(plan, server.target(), server, MANNER)
    assert judge(record) == []

    random = Random(5)
    for _ in range(15):
        for spoil, fault in (
            (_lose, Fault.LOST),
            (_double, Fault.DOUBLE),
            (_swap, Fault.REORDERED),
        ):
            spoiled = msgspec.structs.replace(record, devices=_copies(record.devices))
            told = [device for device in spoiled.devices if len(device.stream) > 3]
            spoil(random, random.choice(told), record)
            assert fault in {finding.fault for finding in judge(spoiled)}
    spoiled = msgspec.structs.replace(record, devices=_copies(record.devices))
    _leak(spoiled)
    assert Fault.LEAKED in {finding.fault for finding in judge(spoiled)}


def _copies(devices: list[DeviceRecord]) -> list[DeviceRecord]:
    return [msgspec.structs.replace(device, stream=list(device.stream)) for device in devices]


def _lose(random: Random, device: DeviceRecord, _record: Record) -> None:
    del device.stream[random.randrange(len(device.stream))]


def _double(random: Random, device: DeviceRecord, _record: Record) -> None:
    place = random.randrange(len(device.stream))
    device.stream.insert(place + random.randrange(3), device.stream[place])


def _swap(random: Random, device: DeviceRecord, record: Record) -> None:
    """Exchange two entries of one log, whatever lies between them."""
    stream = device.stream
    log_of = [(record.entries[index].is_inbox, record.entries[index].log) for index in stream]
    pairs = [
        (one, other)
        for one in range(len(stream))
        for other in range(one + 1, len(stream))
        if log_of[one] == log_of[other]
    ]
    one, other = random.choice(pairs)
    stream[one], stream[other] = stream[other], stream[one]


def _leak(record: Record) -> None:
    """Give a message to all devices of a user who is not in its group."""
    for device in record.devices:
        mine = {record.entries[index].group_id for index in device.stream}
        for entry in record.entries:
            if entry.mark and entry.number and entry.group_id not in mine:
                for other in record.devices:
                    if other.user_id == device.user_id:
                        other.stream.append(entry.index)
                return


@pytest.mark.slow
async def test_it_can_be_stopped_early_and_what_was_seen_is_right() -> None:
    plan = write_plan(Options(users=15, groups=6, requests=5_000, rate=1_000, churn=50, slow=1))
    stops = asyncio.Event()
    seen: list[int] = []

    def look(glimpse: Glimpse) -> None:
        seen.append(glimpse.answered)
        if glimpse.answered > 100:
            stops.set()

    with own_server(SETTINGS) as server:
        played, record = await run(plan, server.target(), server, MANNER, Watch(look, stops))

    assert played.was_cut
    assert judge(record) == []
    assert 100 < seen[-1] < 4_000
    assert seen == sorted(seen)
    assert played.timeline.total().answered == seen[-1]
    assert all(outcome.replied_s is not None for outcome in record.outcomes)
