"""scripts/demo runs to its end and shows what it is there to show."""

import re
from typing import Final

import pytest

from scripts.common.target import own_server
from tests.scripts.running import run_program

MILESTONES: Final = (
    "connected, json, fresh",
    "connected, msgpack, fresh",
    'group_created "Night shift"',
    'invited "Night shift" by alice',
    "bob: Who has the keys?",
    'member_invited "Night shift" carol; 3 members',
    'joined "Stand-up"',
    "1 entry: I fixed the printer.",
    "connected, json, resumed",
    'not stored  message "Launch party" bob: Three, two, one!',
    "refused: NO_PERMISSION (10007), rule remove_member: have member, need admin",
    'kicked "Night shift" by alice',
    'quit "Night shift"',
    'group_disbanded "Night shift" by alice',
    "both devices of carol were given the same",
)


@pytest.mark.slow
def test_it_tells_the_whole_story_in_order() -> None:
    done = run_program("demo")

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    at = 0
    for milestone in MILESTONES:
        assert milestone in done.stdout, milestone
        place = done.stdout.rfind(milestone)
        assert place > at or milestone.startswith("connected"), milestone
        at = max(at, done.stdout.find(milestone))
    assert "\x1b" not in done.stdout, "no colours where there is no terminal"
    assert 60 <= len(done.stdout.splitlines()) <= 110


@pytest.mark.slow
def test_columns_are_aligned() -> None:
    lines = [
        line for line in run_program("demo").stdout.splitlines() if re.match(r" *\d+\.\d{3} ", line)
    ]

    assert len(lines) > 50
    assert {line[8:22].strip().split()[1] for line in lines} == {"phone", "laptop"}
    assert {line[23:25] for line in lines} == {">>", "<<", "<-", "  "}


@pytest.mark.slow
def test_it_runs_against_a_given_server_as_often_as_one_likes() -> None:
    with own_server({}) as server:
        for _ in range(2):
            done = run_program(
                "demo", "--url", server.url, "--key-file", str(server.data / "secret.key")
            )
            assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--url", "ws://127.0.0.1:9/ws"), "--key-file"),
        (("--url", "ws://127.0.0.1:9/ws", "--key-file", "/nowhere"), "key file cannot be read"),
    ],
)
def test_it_says_what_it_needs(options: tuple[str, ...], reason: str) -> None:
    done = run_program("demo", *options)

    assert done.returncode == 1
    assert reason in done.stderr
