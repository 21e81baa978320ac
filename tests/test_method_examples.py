"""The example of every method, as the README shows it, sent to a real server over the SDK."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from protocol.client import Client, connect
from protocol.methods import METHODS
from tests.kit.server_process import ServerProcess

STORY = (
    ("alice", "create_group"),
    ("alice", "get_groups"),
    ("bob", "list_joined_groups"),
    ("carol", "list_members"),
    ("carol", "get_members"),
    ("carol", "send_message"),
    ("carol", "recall_message"),
    ("alice", "update_group"),
    ("bob", "mark_read"),
    ("bob", "list_messages"),
    ("bob", "update_member"),
    ("administrator", "invite_members"),
    ("erin", "join_group"),
    ("bob", "list_applications"),
    ("bob", "read_applications"),
    ("bob", "handle_applications"),
    ("alice", "set_attributes"),
    ("carol", "get_attributes"),
    ("alice", "delete_attributes"),
    ("carol", "add_counters"),
    ("carol", "get_counters"),
    ("carol", "get_online_count"),
    ("carol", "get_rules"),
    ("carol", "list_devices"),
    ("carol", "list_methods"),
    ("bob", "remove_members"),
    ("alice", "transfer_group"),
    ("alice", "quit_group"),
    ("bob", "disband_group"),
)
"""Who sends which example, in an order in which each one can succeed."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(Path(tmp_path_factory.mktemp("examples")) / "data") as process:
        yield process


def test_the_story_has_every_method_once() -> None:
    assert sorted(method for _, method in STORY) == sorted(METHODS)


async def test_every_example_succeeds_and_answers_in_its_shape(
    server: ServerProcess,
) -> None:
    clients: dict[str, Client] = {}
    try:
        for user_id, name in STORY:
            if user_id not in clients:
                client = connect(
                    server.ws, user_id, server.token(user_id), device_id=f"{user_id}-1"
                )
                await client.start()
                clients[user_id] = client
            method = METHODS[name]
            params = dict(method.example)
            if name == "handle_applications":
                waiting = (await clients[user_id].list_applications()).applications
                params["application_ids"] = [waiting[0].application_id]
            result = await clients[user_id].call(name, params)
            msgspec.convert(msgspec.to_builtins(result), method.result)
    finally:
        for client in clients.values():
            await client.close()


def test_every_example_is_in_the_readme() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    for method in METHODS.values():
        assert msgspec.json.encode(method.example).decode() in readme, method.name
