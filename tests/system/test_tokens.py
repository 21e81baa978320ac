"""Which tokens a real server takes, by its settings."""

import asyncio
import json
import time
from pathlib import Path

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from protocol import usersig
from tests.kit.server_process import SDKAPPID, ServerProcess, run_command
from tests.kit.system_device import PATIENCE_S, Device

SECRET = "a secret of HS256, long enough for it"
OLD, NEW, STRANGE = "the old key", "the new key", "a key of somebody else"


async def code_of_hello(server: ServerProcess, user_sig: str, user_id: str = "alice") -> int | None:
    """With which error code a hello of the user ends; None when it is welcome."""
    device = await Device.open(server.ws)
    try:
        await device.say_hello(user_id, user_sig)
        first = await device.until(lambda: next(iter(device.frames), None), "an answer")
        return None if first["type"] == "welcome" else int(first["error_code"])
    finally:
        await device.close()


async def code_of_call(
    server: ServerProcess,
    user_sig: str,
    command: str = "group_open_http_svc/get_joined_group_list",
    body: object = None,
) -> int:
    query = {"sdkappid": str(SDKAPPID), "identifier": "administrator", "usersig": user_sig}
    async with (
        aiohttp.ClientSession() as http,
        http.post(
            f"{server.admin}/v4/{command}",
            params=query,
            json=body or {"Member_Account": "alice"},
        ) as response,
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


async def test_what_was_revoked_stays_so_over_a_kill(tmp_path: Path) -> None:
    """The documented kick: the user's token so far is refused, a newer one is good."""
    kick = ("im_open_login_svc/kick", {"UserID": "alice"})
    with ServerProcess(tmp_path) as server:
        old = server.token("alice")
        device = await Device.open(server.ws)
        await device.say_hello("alice", old)
        await device.frame("welcome")
        assert await code_of_call(server, server.token("administrator"), *kick) == 0
        bye = await device.frame("bye")
        assert (bye["code"], bye["error_code"]) == (4401, usersig.SigCode.REVOKED)
        await device.close()
        for _ in range(2):
            newer = server.token("alice", now_s=int(time.time()) + 30)
            assert await code_of_hello(server, old) == usersig.SigCode.REVOKED
            assert await code_of_hello(server, newer) is None
            assert await code_of_hello(server, server.token("bob"), "bob") is None
            server.kill()
            server.start()
        assert await code_of_call(server, server.token("administrator")) == 0
        assert server.trouble() == []


async def test_a_server_takes_jwts_by_its_settings(tmp_path: Path) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    row = ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [{**row, "kid": "k1"}]}))
    env = {"MUSTER_JWT_SECRET": SECRET, "MUSTER_JWT_AUDIENCE": "chat"}
    options = ("--jwt-keys", str(tmp_path / "keys.json"))
    claims = {"sub": "alice", "exp": int(time.time()) + 600, "aud": "chat"}
    by_secret = jwt.encode(claims, SECRET, algorithm="HS256")
    by_set = jwt.encode(claims, private, algorithm="ES256", headers={"kid": "k1"})
    with ServerProcess(tmp_path / "data", env=env, options=options) as server:
        for token in (by_secret, by_set, server.token("alice")):
            assert await code_of_hello(server, token) is None
        assert await code_of_hello(server, by_set[:-9]) == usersig.SigCode.MALFORMED
        newer = ec.generate_private_key(ec.SECP256R1())
        by_newer = jwt.encode(claims, newer, algorithm="ES256", headers={"kid": "k2"})
        assert await code_of_hello(server, by_newer) == usersig.SigCode.WRONG_KEY
        rows = [{**ECAlgorithm.to_jwk(newer.public_key(), as_dict=True), "kid": "k2"}]
        (tmp_path / "keys.new").write_text(json.dumps({"keys": rows}))
        (tmp_path / "keys.new").rename(tmp_path / "keys.json")
        async with asyncio.timeout(PATIENCE_S):
            while await code_of_hello(server, by_newer) is not None:  # noqa: ASYNC110 - a file
                await asyncio.sleep(0.2)
        assert await code_of_hello(server, by_set) == usersig.SigCode.WRONG_KEY
        other = jwt.encode(claims | {"sub": "bob"}, SECRET, algorithm="HS256")
        assert await code_of_hello(server, other) == usersig.SigCode.OTHER_USER
        assert token_free(server.log(), [by_secret, by_set])
        assert server.trouble() == []
    with ServerProcess(tmp_path / "data") as server:
        assert await code_of_hello(server, by_secret) == usersig.SigCode.MALFORMED


def token_free(log: str, tokens: list[str]) -> bool:
    return not any(part in log for token in tokens for part in token.split("."))


@pytest.mark.parametrize(
    ("env", "named"),
    [
        ({"MUSTER_JWT_SECRET": "short"}, "jwt_secret"),
        ({"MUSTER_JWT_KEYS": "there is no such file"}, "jwt_keys"),
        ({"MUSTER_JWT_KEYS": "/dev/null"}, "jwt_keys (/dev/null) cannot be used: it is empty"),
        ({"MUSTER_JWT_AUDIENCE": "chat"}, "jwt_audience is set, and neither jwt_secret nor"),
        ({"MUSTER_JWT_ISSUER": "https://id.example"}, "jwt_issuer is set, and neither"),
    ],
)
def test_keys_that_cannot_be_used_are_refused_at_the_start(
    env: dict[str, str], named: str, tmp_path: Path
) -> None:
    where = ("--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data", str(tmp_path))
    refused = run_command("serve", *where, env=env)
    assert refused.returncode == 2
    assert named in refused.stderr
    assert "Traceback" not in refused.stderr
