"""Which tokens a real server takes, by its settings."""

import asyncio
from pathlib import Path

import aiohttp

from protocol import usersig
from tests.kit.server_process import SDKAPPID, ServerProcess
from tests.kit.system_device import Device

OLD, NEW, STRANGE = "the old key", "the new key", "a key of somebody else"


async def code_of_hello(server: ServerProcess, user_sig: str) -> int | None:
    """With which error code a hello of alice ends; None when she is welcome."""
    device = await Device.open(server.ws)
    try:
        await device.say_hello("alice", user_sig)
        first = await device.until(lambda: next(iter(device.frames), None), "an answer")
        return None if first["type"] == "welcome" else int(first["error_code"])
    finally:
        await device.close()


async def code_of_call(server: ServerProcess, user_sig: str) -> int:
    query = {"sdkappid": str(SDKAPPID), "identifier": "administrator", "usersig": user_sig}
    path = f"{server.admin}/v4/group_open_http_svc/get_joined_group_list"
    async with (
        aiohttp.ClientSession() as http,
        http.post(path, params=query, json={"Member_Account": "alice"}) as response,
    ):
        return int((await response.json())["ErrorCode"])


async def test_two_keys_are_valid_while_the_key_is_changed(tmp_path: Path) -> None:
    changing = {"MUSTER_SECRET_KEY": NEW, "MUSTER_SECRET_KEY_PREVIOUS": OLD}
    for env, valid in (
        ({"MUSTER_SECRET_KEY": OLD}, {OLD}),
        (changing, {OLD, NEW}),
        ({"MUSTER_SECRET_KEY": NEW}, {NEW}),
    ):
        with ServerProcess(tmp_path, env=env, secret_key=NEW) as server:
            for key in (OLD, NEW, STRANGE):
                code = await code_of_hello(server, server.token("alice", secret_key=key))
                assert code == (None if key in valid else usersig.SigCode.WRONG_KEY)
                code = await code_of_call(server, server.token("administrator", secret_key=key))
                assert code == (0 if key in valid else usersig.SigCode.WRONG_KEY)
            assert server.trouble() == []
            assert await asyncio.to_thread(server.stop) == 0
