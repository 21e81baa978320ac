"""scripts/storm at a small size against a real server."""

from pathlib import Path

import msgspec
import pytest

from scripts.storming.crowd import Crowd, Member, Task
from tests.scripts.running import run_program


@pytest.mark.slow
def test_all_clients_come_back_and_miss_nothing(tmp_path: Path) -> None:
    page = tmp_path / "storm.json"
    done = run_program("storm", "--clients", "50", "--processes", "1", "--json", str(page))

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nothing is wrong." in done.stdout
    result = msgspec.json.decode(page.read_bytes())
    assert [storm["how"] for storm in result["storms"]] == ["SIGTERM", "kill -9"]
    assert all(len(storm["back_s"]) == 50 for storm in result["storms"])
    assert result["endings"]["4503"] == 50
    assert result["events"] >= 50 * result["messages"]


@pytest.mark.slow
def test_it_says_what_it_needs() -> None:
    done = run_program("storm", "--clients", "100000000")

    assert done.returncode == 2
    assert "open files" in done.stderr


def _crowd() -> Crowd:
    return Crowd("ws://127.0.0.1:9/ws", [Member("bob", "sig", "g")])


@pytest.mark.parametrize(
    ("seqs", "words"),
    [((1, 2, 3), ()), ((1, 3), ("lost",)), ((1, 1, 2), ("doubled",)), ((2,), ("lost",))],
)
def test_what_is_lost_or_doubled_is_found(seqs: tuple[int, ...], words: tuple[str, ...]) -> None:
    crowd = _crowd()
    for seq in seqs:
        crowd.take("bob", seq)
    assert tuple(text.partition(": ")[2].partition(":")[0] for text in crowd.wrong) == words


async def test_who_does_not_have_the_last_message_is_found() -> None:
    crowd = _crowd()
    crowd.take("bob", 1)
    right = await crowd.perform(Task("finish", last_seqs={"g": 1}))
    assert (right.wrong_count, right.wrong) == (0, [])
    late = await crowd.perform(Task("finish", last_seqs={"g": 2}, patience_s=0.0))
    assert late.wrong == ["bob in g: has 1, the last is 2"]
