"""What is older than HISTORY_MS is let go of by a running server, and who comes for it is told."""

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
