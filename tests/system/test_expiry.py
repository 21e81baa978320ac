"""What a running server lets go of: logs after HISTORY_MS, request ids after REQUEST_ID_MS."""

import asyncio
from pathlib import Path

from tests.kit.server_process import ServerProcess
from tests.kit.system_device import PATIENCE_S, text
from tests.system.conftest import Connect


async def test_a_cursor_from_before_what_is_kept_is_a_reset(
    data_directory: Path, connect: Connect
) -> None:
    with ServerProcess(data_directory, limits={"HISTORY_MS": 200}) as server:
        alice = await connect(server, "alice")
        old = alice.cursor
        await alice.call("create_group", type="Public", name="-", group_id="g")
        await alice.call("send_message", group_id="g", body=text("soon forgotten"))
        async with asyncio.timeout(PATIENCE_S):
            while (page := await alice.call("list_messages", group_id="g"))["events"]:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert page["first_seq"] > 1
        late = await connect(server, "alice", "late", cursor=old)
        welcome = late.frames[0]
        assert (welcome["resume"], welcome["reason"]) == ("reset", "expired")
        listed = await late.call("list_joined_groups")
        assert [group["group_id"] for group in listed["groups"]] == ["g"]

        # Who has seen all of it goes on without a hole, and numbers go on.
        here = await connect(server, "alice", "here", cursor=alice.cursor)
        assert here.frames[0]["resume"] == "resumed"
        sent = await alice.call("send_message", group_id="g", body=text("new"))
        assert sent["seq"] == page["first_seq"]
        for device in (here, late):
            assert (await device.event("message"))["seq"] == sent["seq"]


async def test_an_id_that_is_over_is_new(data_directory: Path, connect: Connect) -> None:
    """Until then it gives the first reply and no other; then it is free for anything."""
    asked = {"request_id": "r", "group_id": "g"}
    with ServerProcess(data_directory) as server:
        alice = await connect(server, "alice")
        await alice.call("create_group", type="Public", name="-", group_id="g")
        first = await alice.call("send_message", **asked, body=text("one"))
        there = await connect(server, "alice", "there")
        assert await there.call("send_message", **asked, body=text("one")) == first
        error = await there.refusal("send_message", **asked, body=text("two"))
        assert error["name"] == "REQUEST_ID_CONFLICT"

    with ServerProcess(data_directory, limits={"REQUEST_ID_MS": 1}) as server:
        alice = await connect(server, "alice")
        async with asyncio.timeout(PATIENCE_S):
            while "error" in (
                reply := await alice.request("send_message", **asked, body=text("two"))
            ):
                assert reply["error"]["name"] == "REQUEST_ID_CONFLICT"
                await asyncio.sleep(0.05)
        assert reply["result"]["seq"] == first["seq"] + 1
        page = await alice.call("list_messages", group_id="g", after_seq=0)
        said = [event for event in page["events"] if event["event"] == "message"]
        texts = [event["data"]["body"][0]["content"]["text"] for event in said]
        assert texts == ["one", "two"]
