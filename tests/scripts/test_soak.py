"""scripts/soak for some seconds, and what it judges by."""

from pathlib import Path
from typing import Final

import msgspec
import pytest

from scripts.loadgen.record import Entry, Fault
from scripts.soaking.follower import Chain, Follower
from scripts.soaking.watch import Sample, files_verdict, memory_verdict
from tests.scripts.running import run_program


@pytest.mark.slow
def test_a_short_soak_goes_right(tmp_path: Path) -> None:
    page = tmp_path / "soak.json"
    done = run_program(
        "soak", "--minutes", "0.05", "--users", "12", "--rate", "120", "--json", str(page)
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nothing is wrong." in done.stdout
    result = msgspec.json.decode(page.read_bytes())
    assert result["finding_count"] == 0
    assert result["chapters"] >= 2
    assert result["resumes"] > 0
    assert {"send_message", "join_group", "send", "create"} <= result["acts"].keys()
    assert len(result["samples"]) >= 6


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--url", "ws://127.0.0.1:9/ws"), "--key-file"),
        (("--minutes", "0"), "above 0"),
    ],
)
def test_it_says_what_it_needs(options: tuple[str, ...], reason: str) -> None:
    done = run_program("soak", *options)

    assert done.returncode == 2
    assert reason in done.stderr


# The follower: what it must find.


def _logged(number: int, event: str = "message", *users: str) -> Entry:
    return Entry(
        index=number,
        log="g",
        is_inbox=False,
        number=number,
        event=event,
        group_id="g",
        user_ids=users,
    )


def _inboxed(number: int, event: str, group_id: str = "g") -> Entry:
    return Entry(
        index=1000 + number, log="bob", is_inbox=True, number=number, event=event, group_id=group_id
    )


_RIGHT: Final = (
    _inboxed(1, "joined"),
    _logged(4, "member_joined", "bob"),
    _logged(5),
    _logged(6, "member_kicked", "carol"),
    _logged(7),
    _inboxed(2, "kicked"),
    _logged(8, "member_kicked", "bob"),
    _inboxed(3, "invited"),
    _logged(11, "member_invited", "bob", "dave"),
    _logged(12),
    _inboxed(4, "member_profile_changed"),
)


def _faults(entries: tuple[Entry, ...]) -> set[Fault]:
    follower = Follower("bob", "d1", Chain())
    return {finding.fault for entry in entries for finding in follower.take(entry)}


def test_a_stream_from_coming_to_going_and_back_is_right() -> None:
    follower = Follower("bob", "d1", Chain())
    assert [finding for entry in _RIGHT for finding in follower.take(entry)] == []
    assert follower.last == {"g": 12}
    assert follower.given == len(_RIGHT)


@pytest.mark.parametrize("place", range(len(_RIGHT) - 2))
def test_whatever_is_left_out_before_the_end_is_found(place: int) -> None:
    assert _faults(_RIGHT[:place] + _RIGHT[place + 1 :])


@pytest.mark.parametrize("place", range(len(_RIGHT)))
def test_whatever_comes_twice_is_found(place: int) -> None:
    assert _faults(_RIGHT[: place + 1] + _RIGHT[place:])


def test_what_comes_after_the_end_of_a_membership_is_found() -> None:
    assert _faults((*_RIGHT[:7], _logged(9))) == {Fault.LEAKED}


def test_devices_of_a_user_that_disagree_are_found() -> None:
    chain = Chain()
    one, other = Follower("bob", "d1", chain), Follower("bob", "d2", chain)
    right = [finding for entry in _RIGHT for finding in one.take(entry)]
    # Between two logs, where no number tells.
    swapped = (*_RIGHT[:4], _RIGHT[5], _RIGHT[4], *_RIGHT[6:])
    found = [finding for entry in swapped for finding in other.take(entry)]

    assert right == []
    assert {finding.fault for finding in found} == {Fault.REORDERED}
    assert len(found) == 2


# Memory and files.


def _samples(*mebibytes: float) -> list[Sample]:
    return [
        Sample(
            at_s=60.0 * minute,
            rss_bytes=int(size * 2**20),
            files=20,
            server_cpu_s=0,
            load_cpu_s=0,
            lag_ms=0,
        )
        for minute, size in enumerate(mebibytes)
    ]


def test_memory_is_compared_with_five_minutes_after_the_start() -> None:
    growth, words = memory_verdict(_samples(10, 40, 80, 90, 95, *[100] * 5, *[109] * 3))
    assert growth == pytest.approx(0.09)
    assert "100.0 MiB, then 109.0 MiB: +9.0%" in words


def test_one_burst_does_not_decide() -> None:
    growth, _ = memory_verdict(_samples(*[100] * 12, 200))
    assert growth == pytest.approx(0)


def test_a_short_soak_says_nothing_about_memory() -> None:
    growth, words = memory_verdict(_samples(*[100] * 10))
    assert growth is None
    assert "shorter than 10 minutes" in words


def test_files_that_stay_open_are_found() -> None:
    assert files_verdict(16, 20)[0]
    assert not files_verdict(16, 40)[0]
