"""The command line, the settings, the files, the admin listener, TLS and the drain.

``design.md`` section 5 is the contract. Nothing here listens on anything but 127.0.0.1.
"""

import asyncio
import base64
import json
import os
import shutil
import socket
import sqlite3
import ssl
import stat
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import pytest

from protocol import usersig
from server.__main__ import main
from tests.kit.certificates import make_certificate
from tests.kit.server_process import ROOT, SDKAPPID, ServerProcess, run_command
from tests.kit.system_device import JSON, MSGPACK, Device, connect_device
from tests.kit.system_peer import CLOSE, Peer, frame_bytes
from tests.system.conftest import Connect, Serve

PATIENCE = aiohttp.ClientTimeout(total=10)


@pytest.fixture(scope="module")
def server(serve: Serve) -> ServerProcess:
    return serve()


async def get(url: str, tls: ssl.SSLContext | None = None) -> tuple[int, Any]:
    """The status and the JSON of an HTTP answer."""
    async with (
        aiohttp.ClientSession(timeout=PATIENCE) as session,
        session.get(url, ssl=tls or True) as response,
    ):
        is_json = response.content_type == "application/json"
        return response.status, await response.json() if is_json else None


# The ready line and the admin listener.


def test_the_ready_line(server: ServerProcess) -> None:
    ready = json.loads(server.ready_line)
    assert list(ready) == ["ready", "ws", "admin"]
    assert ready["ready"] is True
    host, port = server.address()
    assert ready["ws"] == f"ws://127.0.0.1:{port}/ws"
    assert host == "127.0.0.1"
    assert port > 0, "port 0 picks a free one"
    assert ready["admin"].startswith("http://127.0.0.1:")
    assert int(ready["admin"].rpartition(":")[2]) not in (0, port)
    assert server.ready_line == json.dumps(ready, separators=(",", ":")), "no blanks, one line"


async def test_health_and_readiness(server: ServerProcess) -> None:
    assert await get(f"{server.admin}/healthz") == (200, {"status": "ok"})
    assert (await get(f"{server.admin}/readyz"))[0] == 200
    assert (await get(f"{server.admin}/nothing"))[0] == 404


async def test_one_line_on_standard_output_and_the_log_on_standard_error(
    data_directory: Path,
) -> None:
    with ServerProcess(data_directory) as server:
        assert str(data_directory / "secret.key") in server.log(), "the new key is announced"
        device = await connect_device(server, "alice")
        await device.call("create_group", type="Public", name="x")
        await device.close()
        server.terminate()
        assert await server.ended() == 0
        assert server.output() == [server.ready_line]
        assert server.log()
        assert server.trouble() == []


def test_sigint_ends_it_too(data_directory: Path) -> None:
    with ServerProcess(data_directory) as server:
        server.interrupt()
        assert server.wait() == 0
        assert server.trouble() == []


# The data directory and the key.


def test_files_are_private_whatever_the_umask(server: ServerProcess) -> None:
    """The process runs with umask 0."""
    assert stat.S_IMODE(server.data.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in server.data.iterdir()}
    assert modes["secret.key"] == 0o600
    assert {name: mode for name, mode in modes.items() if mode & 0o077} == {}


async def test_the_key_stays_the_same(data_directory: Path) -> None:
    with ServerProcess(data_directory) as server:
        key = server.secret_key
        token = server.token("alice")
        assert len(key) >= 32
        server.kill()
        server.start()
        assert server.secret_key == key
        assert "secret.key" not in server.log(), "nothing new is announced"
        device = await Device.open(server.ws)
        await device.hello("alice", token)
        await device.close()


def test_two_servers_make_two_keys(server: ServerProcess, data_directory: Path) -> None:
    with ServerProcess(data_directory) as other:
        assert other.secret_key != server.secret_key


def test_a_directory_is_made_with_its_parents(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "a" / "b c" / "d") as server:
        assert (tmp_path / "a" / "b c" / "d" / "secret.key").exists()
        assert server.is_running


def test_an_empty_key_file_is_refused(left_behind: Path) -> None:
    (left_behind / "secret.key").write_text("\n")
    refused = serve_command(left_behind)
    assert refused.returncode != 0
    assert "secret.key" in refused.stderr


def serve_command(data: Path, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
    """A start that is expected to be refused."""
    refused = run_command(
        "serve",
        *("--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data", str(data)),
        *options,
        env=env,
    )
    assert refused.stdout == "", "not ready"
    assert "Traceback" not in refused.stderr
    return refused


def test_a_second_server_on_the_same_data_is_refused(server: ServerProcess) -> None:
    refused = serve_command(server.data)
    assert refused.returncode != 0
    assert str(server.data) in refused.stderr
    assert str(server.pid) in refused.stderr, "it names who holds it"
    assert server.is_running


def change_database(data: Path, statement: str) -> None:
    with closing(sqlite3.connect(data / "muster.db")) as connection:
        connection.execute(statement)
        connection.commit()


@pytest.fixture(scope="module")
def ended_well(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of a server that was ended in good order."""
    data = tmp_path_factory.mktemp("ended") / "data"
    with ServerProcess(data) as server:
        assert server.stop() == 0
    return data


@pytest.fixture
def left_behind(ended_well: Path, data_directory: Path) -> Path:
    """A copy of it."""
    shutil.copytree(ended_well, data_directory)
    return data_directory


def test_a_newer_schema_is_refused(left_behind: Path) -> None:
    change_database(left_behind, "PRAGMA user_version = 1000")
    refused = serve_command(left_behind)
    assert refused.returncode != 0
    assert "1000" in refused.stderr
    assert "newer" in refused.stderr


def test_another_programs_database_is_refused(left_behind: Path) -> None:
    change_database(left_behind, "PRAGMA application_id = 1")
    refused = serve_command(left_behind)
    assert refused.returncode != 0
    assert "another program" in refused.stderr


def test_a_damaged_database_is_refused(left_behind: Path) -> None:
    (left_behind / "muster.db").write_bytes(b"no database at all" * 1000)
    refused = serve_command(left_behind)
    assert refused.returncode != 0
    assert "muster.db" in refused.stderr


def test_a_lost_database_is_not_replaced_by_an_empty_one(left_behind: Path) -> None:
    (left_behind / "muster.db").unlink()
    refused = serve_command(left_behind)
    assert refused.returncode != 0
    assert "muster.db" in refused.stderr
    assert not (left_behind / "muster.db").exists()


def test_data_that_is_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    refused = serve_command(path)
    assert refused.returncode != 0
    assert str(path) in refused.stderr


def test_a_port_that_is_taken_is_an_error_that_names_it(data_directory: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        for option in ("--listen", "--admin-listen"):
            refused = serve_command(data_directory, option, f"127.0.0.1:{port}")
            assert refused.returncode != 0
            assert str(port) in refused.stderr


# Tokens.


def claims(token: str) -> dict[str, Any]:
    """What a token says, unverified."""
    packed = base64.b64decode(token.translate(str.maketrans("*-_", "+/=")))
    found: dict[str, Any] = json.loads(zlib.decompress(packed))
    return found


def token_command(data: Path, *arguments: str, **env: str) -> str:
    """The token that the command prints."""
    done = run_command("token", *arguments, "--data", str(data), env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("\n")
    assert done.stdout.count("\n") == 1
    return done.stdout.strip()


async def test_the_token_command(server: ServerProcess) -> None:
    token = token_command(server.data, "alice")
    verified = usersig.verify(
        token,
        user_id="alice",
        sdkappid=SDKAPPID,
        secret_keys=[server.secret_key],
        now_s=int(time.time()),
    )
    assert verified.expires_s > verified.issued_s
    device = await Device.open(server.ws, MSGPACK)
    await device.hello("alice", token)
    await device.close()


def test_a_tokens_life_can_be_chosen(server: ServerProcess) -> None:
    assert claims(token_command(server.data, "alice", "--expire-s", "60"))["TLS.expire"] == 60


class Main(Protocol):
    """Runs the command line in this process; a start that is not refused fails."""

    def __call__(self, *arguments: str, **env: str) -> tuple[int | str | None, str]: ...


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Main:
    """See ``Main``: what is refused before anything is opened needs no process of its own."""

    def serves(_settings: object) -> None:
        raise AssertionError("this was expected to be refused")

    def run(*arguments: str, **env: str) -> tuple[int | str | None, str]:
        for name in [name for name in os.environ if name.startswith("MUSTER_")]:
            monkeypatch.delenv(name)
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("server.app.serve", serves)
        try:
            status: int | str | None = main(arguments)
        except SystemExit as end:
            status = end.code
        output = capsys.readouterr()
        assert output.out == ""
        return status, output.err

    return run


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("token", "zoë"), "user_id"),
        (("token", ""), "user_id"),
        (("token", "alice", "--expire-s", "0"), "expire"),
        (("token", "alice", "--expire-s", "soon"), "expire-s"),
        (("token",), "USER"),
    ],
)
def test_a_token_that_cannot_be_made(
    refused: Main, server: ServerProcess, arguments: tuple[str, ...], named: str
) -> None:
    status, error = refused(*arguments, "--data", str(server.data))
    assert status == 2
    assert named in error


def test_no_key_no_token(data_directory: Path) -> None:
    done = run_command("token", "alice", "--data", str(data_directory))
    assert done.returncode != 0
    assert "key" in done.stderr
    assert not data_directory.exists(), "asking makes nothing"


# Settings: flags beat the environment, which beats the file.


def toml(tmp_path: Path, content: str) -> Path:
    path = tmp_path / "muster.toml"
    path.write_text(content)
    return path


KEY = {"MUSTER_SECRET_KEY": "a key for tests"}


def test_flags_beat_the_environment_which_beats_the_file(tmp_path: Path) -> None:
    config = str(toml(tmp_path, "sdkappid = 1400000003\n"))

    def sdkappid(*flags: str, **env: str) -> int:
        found: int = claims(token_command(tmp_path, "alice", *flags, **(KEY | env)))["TLS.sdkappid"]
        return found

    assert sdkappid() == SDKAPPID
    assert sdkappid("--config", config) == 1400000003
    assert sdkappid(MUSTER_CONFIG=config) == 1400000003
    assert sdkappid("--config", config, MUSTER_SDKAPPID="1400000002") == 1400000002
    assert (
        sdkappid("--config", config, "--sdkappid", "1400000001", MUSTER_SDKAPPID="1400000002")
        == 1400000001
    )


async def test_everything_from_the_environment(tmp_path: Path) -> None:
    data = tmp_path / "from-the-environment"
    env = KEY | {
        "MUSTER_LISTEN": "127.0.0.1:0",
        "MUSTER_ADMIN_LISTEN": "127.0.0.1:0",
        "MUSTER_DATA": str(data),
        "MUSTER_SDKAPPID": "1400000009",
        "MUSTER_ADMINS": "root, boss",
        "MUSTER_LOG_LEVEL": "debug",
        "MUSTER_LIMIT_REQUESTS_IN_FLIGHT": "7",
    }
    with ServerProcess(data, env=env, listens=False) as server:
        assert not (data / "secret.key").exists(), "no key is made when there is one"

        async def connected(user: str, sdkappid: int) -> Device:
            key = KEY["MUSTER_SECRET_KEY"]
            token = server.token(user, sdkappid=sdkappid, secret_key=key)
            device = await Device.open(server.ws)
            await device.say_hello(user, token)
            return device

        refused = await connected("boss", SDKAPPID)
        assert (await refused.closing()).code == 4401
        boss = await connected("boss", 1400000009)
        assert (await boss.frame("welcome"))["limits"]["requests_in_flight"] == 7
        group = (await boss.call("create_group", type="Work", name="x", as_user_id="bob"))["group"]
        assert group["owner_id"] == "bob", "boss is an operator"
        administrator = await connected("administrator", 1400000009)
        error = await administrator.refusal("create_group", type="Work", name="x", as_user_id="bob")
        assert error["name"] == "NO_PERMISSION", "administrator is none any more"
        for device in (boss, administrator, refused):
            await device.close()
        assert await asyncio.to_thread(server.stop) == 0


async def test_everything_from_a_file(tmp_path: Path) -> None:
    data = tmp_path / "from a file"
    config = toml(
        tmp_path,
        f"""
        listen = "127.0.0.1:0"
        admin_listen = "127.0.0.1:0"
        data = '{data}'
        secret_key = "a key in a file"
        admins = ["root", "boss"]
        behind_proxy = false
        log_level = "WARNING"

        [limits]
        requests_in_flight = 7
        name_bytes = 10
        """,
    )
    env = {"MUSTER_LIMIT_NAME_BYTES": "20"}
    server = ServerProcess(data, env=env, options=("--config", str(config)), listens=False)
    with server:
        device = await Device.open(server.ws)
        await device.hello("boss", server.token("boss", secret_key="a key in a file"))
        limits = device.frames[0]["limits"]
        assert (limits["requests_in_flight"], limits["name_bytes"]) == (7, 20)
        assert "error" in await device.request("create_group", type="Public", name="n" * 21)
        await device.call("create_group", type="Public", name="n" * 20, as_user_id="bob")
        await device.close()
        assert await asyncio.to_thread(server.stop) == 0
        assert server.log() == "", "nothing to warn of"


async def test_a_limit_of_0_is_none(data_directory: Path) -> None:
    with ServerProcess(data_directory, limits={"DEVICES_PER_USER": 0}) as server:
        devices = [await connect_device(server, "alice", f"d{n}") for n in range(18)]
        await devices[0].call("create_group", type="Public", name="x")
        for device in devices:
            await device.event("group_created")
            await device.close()


WRONG: dict[str, tuple[tuple[str, ...], dict[str, str], str, str]] = {
    "unknown option": (("--colour", "red"), {}, "", "--colour"),
    "abbreviated option": (("--behind",), {}, "", "--behind"),
    "option without value": (("--listen",), {}, "", "--listen"),
    "secret on the command line": (("--secret-key", "x"), {}, "", "--secret-key"),
    "listen without port": (("--listen", "127.0.0.1"), {}, "", "--listen"),
    "port too high": (("--listen", "127.0.0.1:65536"), {}, "", "--listen"),
    "port no number": (("--admin-listen", "127.0.0.1:http"), {}, "", "--admin-listen"),
    "app no number": (("--sdkappid", "mine"), {}, "", "--sdkappid"),
    "level": (("--log-level", "loud"), {}, "", "--log-level"),
    "variable's value": ((), {"MUSTER_SDKAPPID": "mine"}, "", "MUSTER_SDKAPPID"),
    "variable's boolean": ((), {"MUSTER_BEHIND_PROXY": "perhaps"}, "", "MUSTER_BEHIND_PROXY"),
    "unknown limit": ((), {"MUSTER_LIMIT_PATIENCE": "1"}, "", "MUSTER_LIMIT_PATIENCE"),
    "limit no number": ((), {"MUSTER_LIMIT_NAME_BYTES": "many"}, "", "MUSTER_LIMIT_NAME_BYTES"),
    "limit negative": ((), {"MUSTER_LIMIT_NAME_BYTES": "-1"}, "", "MUSTER_LIMIT_NAME_BYTES"),
    "limit that is always on": ((), {"MUSTER_LIMIT_NESTING": "0"}, "", "MUSTER_LIMIT_NESTING"),
    "unknown key": ((), {}, "colour = 'red'", "colour"),
    "unknown limit in the file": ((), {}, "[limits]\npatience = 1", "patience"),
    "unknown table": ((), {}, "[colours]\nred = 1", "colours"),
    "limits no table": ((), {}, "limits = 5", "limits"),
    "limit no number in the file": ((), {}, "[limits]\nname_bytes = 'many'", "name_bytes"),
    "limit float in the file": ((), {}, "[limits]\nname_bytes = 1.5", "name_bytes"),
    "limit boolean in the file": ((), {}, "[limits]\nname_bytes = true", "name_bytes"),
    "value in the file": ((), {}, "listen = 7700", "listen"),
    "table for a value in the file": ((), {}, "[listen]\nport = 1", "listen"),
    "no TOML": ((), {}, "listen: 127.0.0.1:0", "muster.toml"),
    "not UTF-8": ((), {}, "listen = '\udcff'", "muster.toml"),
    "no such file": (("--config", "nowhere.toml"), {}, "", "nowhere.toml"),
    "certificate without key": (("--tls-cert", "cert.pem"), {}, "", "tls_key"),
    "key without certificate": (("--tls-key", "key.pem"), {}, "", "tls_cert"),
    "app empty": ((), {"MUSTER_SDKAPPID": ""}, "", "MUSTER_SDKAPPID"),
    "app 0, for which nobody can sign": (("--sdkappid", "0"), {}, "", "--sdkappid"),
    "app 2^32": (("--sdkappid", "4294967296"), {}, "", "--sdkappid"),
    "data empty": ((), {"MUSTER_DATA": ""}, "", "MUSTER_DATA"),
}


@pytest.mark.parametrize(("options", "env", "file", "named"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_setting_is_an_error_that_names_it(
    refused: Main,
    tmp_path: Path,
    options: tuple[str, ...],
    env: dict[str, str],
    file: str,
    named: str,
) -> None:
    if file:
        path = tmp_path / "muster.toml"
        path.write_bytes(file.encode("utf-8", "surrogateescape"))
        env = env | {"MUSTER_CONFIG": str(path)}
    status, error = refused("serve", *options, **env)
    assert status == 2
    assert named in error


@pytest.mark.parametrize(
    ("options", "env", "named"),
    [
        (("--colour", "red"), {}, "--colour"),
        (("--listen", "nowhere"), {}, "--listen"),
        ((), {"MUSTER_LIMIT_PATIENCE": "1"}, "MUSTER_LIMIT_PATIENCE"),
        (("--tls-cert", "nowhere.pem", "--tls-key", "nowhere.key"), {}, "tls_cert"),
    ],
)
def test_the_process_ends_with_it(
    data_directory: Path, options: tuple[str, ...], env: dict[str, str], named: str
) -> None:
    done = serve_command(data_directory, *options, **env)
    assert done.returncode == 2
    assert named in done.stderr


def test_no_command_and_a_wrong_command_are_errors(refused: Main) -> None:
    for arguments in ((), ("dance",)):
        status, error = refused(*arguments)
        assert status == 2
        assert error


@pytest.mark.parametrize("option", ["--listen", "--admin-listen"])
@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "[::]", "chat.example"])
def test_an_address_that_others_reach_needs_tls_or_a_proxy(
    refused: Main, option: str, host: str
) -> None:
    status, error = refused("serve", option, f"{host}:0")
    assert status == 2
    assert option.removeprefix("--").replace("-", "_") in error
    assert "--behind-proxy" in error


def test_behind_a_proxy_it_is_allowed(tmp_path: Path) -> None:
    """Shown by a command that reads the settings and does not listen."""
    env = KEY | {"MUSTER_LISTEN": "0.0.0.0:7700"}
    assert run_command("token", "alice", "--data", str(tmp_path), env=env).returncode != 0
    token_command(tmp_path, "alice", "--behind-proxy", **env)
    token_command(tmp_path, "alice", **(env | {"MUSTER_BEHIND_PROXY": "true"}))


def test_it_needs_nothing_of_its_environment(data_directory: Path) -> None:
    """Promise 6: no variable, no home, no path, no other program."""
    with ServerProcess(data_directory, inherits=False) as server:
        assert server.stop() == 0


def test_help_names_every_option() -> None:
    done = run_command("serve", "--help")
    assert done.returncode == 0
    for option in ("--config", "--listen", "--admin-listen", "--data", "--behind-proxy"):
        assert option in done.stdout


# The drain.


@contextmanager
def locked_database(data: Path) -> Iterator[Callable[[], None]]:
    """Hold the database's write lock, so that commits wait; gives what lets go of it.

    For less than the two seconds after which the server calls its store unavailable.
    """
    with closing(sqlite3.connect(data / "muster.db", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")

        def let_go() -> None:
            connection.execute("ROLLBACK")

        yield let_go


async def test_sigterm_drains(data_directory: Path) -> None:
    """Requests in flight are answered, everybody is sent away with 4503, the status is 0."""
    with ServerProcess(data_directory) as server:
        devices = [
            await connect_device(server, user, wire=wire)
            for user, wire in (("alice", JSON), ("bob", MSGPACK))
        ]
        alice, bob = devices
        silent = await Device.open(server.ws)
        with locked_database(server.data) as let_go:
            asked = [
                await alice.ask("create_group", request_id=f"a{n}", type="Public", name=f"g{n}")
                for n in range(20)
            ]
            # What comes behind them on the connection has been read, so they have been.
            await alice.send({"type": "ping"})
            await alice.frame("pong")
            server.terminate()
            await server.logged("draining")
            with pytest.raises(ConnectionRefusedError):
                await Device.open(server.ws)
            assert (await get(f"{server.admin}/readyz"))[0] == 503
            assert not any(device.is_closed for device in devices)
            let_go()
        replies = [await alice.reply(request_id) for request_id in asked]
        assert all("result" in reply for reply in replies)
        for device in (*devices, silent):
            closing_ = await device.closing()
            assert closing_.code == 4503
            assert closing_.bye is not None
            assert closing_.bye["code"] == 4503
            assert closing_.bye["retry_after_ms"] > 0
        assert alice.frames[-1]["type"] == "bye"
        assert await server.ended() == 0
        assert server.trouble() == []
        assert bob.events == []
        # And what was answered is there.
        server.start()
        again = await connect_device(server, "alice")
        listed = (await again.call("list_joined_groups"))["groups"]
        assert [group["name"] for group in listed] == [f"g{n}" for n in range(20)]
        await again.close()


async def test_return_times_are_spread(data_directory: Path) -> None:
    with ServerProcess(data_directory) as server:
        devices = [await connect_device(server, f"user-{n}") for n in range(30)]
        server.terminate()
        waits = []
        for device in devices:
            bye = (await device.closing()).bye
            assert bye is not None
            waits.append(bye["retry_after_ms"])
        assert len(set(waits)) > 10
        assert await server.ended() == 0


async def test_a_peer_that_does_not_answer_does_not_hold_up_the_drain(
    data_directory: Path,
) -> None:
    limits = {"CLOSE_MS": 300, "DRAIN_MS": 300}
    with ServerProcess(data_directory, limits=limits) as server, Peer() as peer, Peer() as mute:
        await mute.connect(server)
        await peer.connect(server)
        await peer.hello(server, "alice")
        server.terminate()
        frames = await peer.rest(answers_close=False)
        assert frames[-1].opcode == CLOSE
        assert await server.ended() == 0
        assert server.trouble() == []


async def test_a_stuck_store_does_not_hold_up_the_drain(data_directory: Path) -> None:
    """DRAIN_MS is all the time there is; who was not answered is sent away to ask again."""
    with ServerProcess(data_directory, limits={"DRAIN_MS": 200, "CLOSE_MS": 300}) as server:
        device = await connect_device(server, "alice")
        with locked_database(server.data) as let_go:
            await device.ask("create_group", request_id="a", type="Public", name="x")
            await device.send({"type": "ping"})
            await device.frame("pong")
            server.terminate()
            assert (await device.closing()).code == 4503
            let_go()
        assert await server.ended() == 0
        server.start()
        again = await connect_device(server, "alice")
        await again.call("create_group", request_id="a", type="Public", name="x")
        assert len((await again.call("list_joined_groups"))["groups"]) == 1
        await again.close()


# TLS.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signed itself, and its key."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def tls_server(serve: Serve, certificate: tuple[Path, Path]) -> ServerProcess:
    cert, key = certificate
    return serve(options=("--tls-cert", str(cert), "--tls-key", str(key)))


@pytest.fixture
def tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate[0]))


async def test_tls(tls_server: ServerProcess, tls: ssl.SSLContext) -> None:
    assert tls_server.ws.startswith("wss://127.0.0.1:")
    assert tls_server.admin.startswith("https://127.0.0.1:")
    assert (await get(f"{tls_server.admin}/readyz", tls))[0] == 200
    for wire in (JSON, MSGPACK):
        device = await connect_device(tls_server, f"alice-{wire.name}", wire=wire, tls=tls)
        await device.call("create_group", type="Public", name="secret")
        await device.event("group_created")
        await device.close()
        assert (await device.closing()).code in (None, 1000)


async def test_without_tls_nobody_speaks_to_a_tls_listener(
    tls_server: ServerProcess, tls: ssl.SSLContext
) -> None:
    with Peer() as peer:
        await peer.connect(tls_server)
        assert await peer.handshake() == 0
    device = await connect_device(tls_server, "bystander", tls=tls)
    await device.settle()
    await device.close()


async def test_over_tls_the_server_ends_what_it_closes(
    data_directory: Path, certificate: tuple[Path, Path], tls: ssl.SSLContext
) -> None:
    """Once the close is answered, or the request is refused, it ends the stream itself."""
    cert, key = certificate
    options = ("--tls-cert", str(cert), "--tls-key", str(key))
    with ServerProcess(data_directory, options=options, limits={"CLOSE_MS": 60_000}) as server:

        async def said(first: bytes, then: bytes) -> tuple[bytes, bytes]:
            reader, writer = await asyncio.open_connection(*server.address(), ssl=tls)
            writer.write(first)
            try:
                async with asyncio.timeout(10):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(then)
                    return head[:12], await reader.read()
            finally:
                writer.close()
                await writer.wait_closed()

        upgrade = (
            b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        answers = await asyncio.gather(
            said(b"GET /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b""),
            said(upgrade, frame_bytes(CLOSE, b"\x03\xe8")),
            return_exceptions=True,
        )
        for answer, status in zip(answers, (b"404", b"101"), strict=True):
            assert not isinstance(answer, BaseException), "the end did not come"
            assert answer[0] == b"HTTP/1.1 " + status
        assert answers[1] == (b"HTTP/1.1 101", b"\x88\x02\x03\xe8")


async def test_a_drain_over_tls(
    data_directory: Path, certificate: tuple[Path, Path], tls: ssl.SSLContext
) -> None:
    cert, key = certificate
    options = ("--tls-cert", str(cert), "--tls-key", str(key))
    with ServerProcess(data_directory, options=options) as server:
        device = await connect_device(server, "alice", tls=tls)
        server.terminate()
        assert (await device.closing()).code == 4503
        assert await server.ended() == 0
        assert server.trouble() == []


# Restarting.


async def test_it_starts_again_on_the_same_ports(data_directory: Path, connect: Connect) -> None:
    """Right after its end, with connections that were open."""
    with ServerProcess(data_directory) as first:
        ports = [first.ws.rpartition(":")[2].removesuffix("/ws"), first.admin.rpartition(":")[2]]
        await connect(first, "alice")
        first.kill()
    options = ("--listen", f"127.0.0.1:{ports[0]}", "--admin-listen", f"127.0.0.1:{ports[1]}")
    with ServerProcess(data_directory, options=options) as second:
        assert (second.ws, second.admin) == (first.ws, first.admin)
        await connect(second, "alice")


def test_it_runs_from_any_directory(tmp_path: Path) -> None:
    """The default data directory is where it is started, nothing else is."""
    done = subprocess.run(
        (sys.executable, "-m", "server", "token", "alice"),
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)} | KEY,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
