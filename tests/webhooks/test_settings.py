"""What an operator can set about webhooks, and the wishes that the command line leaves."""

from pathlib import Path

import pytest

from protocol.callbacks import CALLBACKS, OFFERED, CallbackKind
from server.config import SETTINGS, SettingsRefused, load_settings
from server.storage.memory import MemoryStore
from server.webhook_commands import send_sample
from server.webhooks.replays import ask_for_replay, wishes
from server.webhooks.webhooks import Webhooks
from tests.kit.devices import rulebook_with
from tests.kit.fakes import FakeClock
from tests.kit.receivers import ScriptedReceiver, http_peer


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("WEBHOOK_URL", "ftp://host/", "http"),
        ("WEBHOOK_URL", "host/hook", "http"),
        ("WEBHOOK_URL", "https://", "http"),
        ("WEBHOOK_URL", "http://user:secret@host/", "without user"),
        ("WEBHOOK_URL", "http://host/#part", "fragment"),
        ("WEBHOOK_CALLBACKS", "Group.CallbackAfterSendMsg,Group.CallbackNo", "Group.CallbackNo"),
        ("WEBHOOK_CALLBACKS", "Group.CallbackBeforeCreateTopic", "not offered"),
        ("WEBHOOK_CALLBACKS", " , ", "there is none"),
        ("WEBHOOK_SECRET", ",", "there is none"),
        ("WEBHOOK_SECRET", " ", "there is none"),
        ("WEBHOOK_ON_FAILURE", "deny", "allow or block"),
        ("LIMIT_WEBHOOK_BEFORE_MS", "0", "cannot be 0"),
    ],
)
def test_what_makes_no_sense_is_refused(name: str, value: str, reason: str) -> None:
    with pytest.raises(SettingsRefused, match=reason):
        load_settings({}, {f"MUSTER_{name}": value}, None)


def test_the_settings_are_read() -> None:
    settings = load_settings(
        {"webhook_url": "http://10.0.0.1:8080/hook?k=v"},
        {
            "MUSTER_WEBHOOK_CALLBACKS": "State.StateChange, Group.CallbackAfterSendMsg",
            "MUSTER_WEBHOOK_SECRET": "new,old",
            "MUSTER_WEBHOOK_ON_FAILURE": "Block",
        },
        None,
    )
    assert settings.webhook_url == "http://10.0.0.1:8080/hook?k=v"
    assert settings.webhook_callbacks == ("State.StateChange", "Group.CallbackAfterSendMsg")
    assert settings.webhook_secret == ("new", "old")
    assert settings.webhook_on_failure == "block"
    assert {name for name, row in SETTINGS.items() if row.is_secret} >= {
        "secret_key",
        "webhook_token",
        "webhook_secret",
    }


def webhooks_in(directory: Path, *wanted: str) -> Webhooks:
    return Webhooks(
        asked=ScriptedReceiver(),
        told=ScriptedReceiver(),
        wanted=wanted,
        blocks_on_failure=False,
        outbox=MemoryStore(),
        clock=FakeClock(),
        limits=rulebook_with().limits,
        directory=directory,
    )


def test_all_are_on_unless_some_are_named(tmp_path: Path) -> None:
    everything = webhooks_in(tmp_path)
    assert (everything.wanted, everything.asks) == (OFFERED, True)
    for name in OFFERED:
        one = webhooks_in(tmp_path, name)
        assert one.wanted == {name}
        assert one.asks is (CALLBACKS[name].kind is CallbackKind.BEFORE)


def test_that_a_question_was_answered_is_known_where_things_are_told(tmp_path: Path) -> None:
    webhooks = webhooks_in(tmp_path)
    assert webhooks.questions.on_word == webhooks.deliveries.was_asked


def names_in(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


@pytest.mark.parametrize(
    ("status", "is_good"), [(200, True), (204, True), (299, True), (302, False), (500, False)]
)
async def test_a_sample_is_taken_as_what_is_told_is(status: int, is_good: bool) -> None:
    response = f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode()
    async with http_peer(response) as peer:
        settings = load_settings({"webhook_url": peer.url}, {}, None)
        answer, is_taken = await send_sample(settings)
        assert answer.startswith(f"HTTP {status} after ")
        assert is_taken is is_good


async def test_wishes_are_taken_up_once_and_nonsense_is_removed(tmp_path: Path) -> None:
    ask_for_replay(tmp_path, ["a", "b"])
    ask_for_replay(tmp_path, ["c"])
    (tmp_path / "webhooks.replay.x").write_bytes(b"{")
    (tmp_path / "muster.lock").write_bytes(b"")
    assert sorted(ids for _, ids in wishes(tmp_path)) == [["a", "b"], ["c"]]
    webhooks = webhooks_in(tmp_path)
    await webhooks.replay_now()
    assert not list(wishes(tmp_path))
    assert names_in(tmp_path) == ["muster.lock"]
