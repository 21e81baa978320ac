"""The README cannot lie: its blocks run, its tables are current, and what it names exists.

The word after a block's language says how it is checked; see ``CHECKED`` and ``NOT_RUN``.
"""

import asyncio
import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import ClientConnection, connect

from protocol import usersig
from protocol.codec import JSON, to_client_frame
from protocol.frames import ClientFrame, Hello
from protocol.limits import LIMITS
from server import config
from server.domain.overrides import configured_rulebook
from server.domain.rules import Rulebook
from tests.kit.server_process import ROOT, SDKAPPID, ServerProcess, run_command

README = (ROOT / "README.md").read_text(encoding="utf-8")

CHECKED = {
    "sh start",  # starts a server that prints the `json ready` block after it
    "json ready",
    "sh run",  # runs beside a server, prints the `text output` block after it if there is one
    "text output",
    "text conversation",  # is had with a server
    "toml config",  # is accepted as a configuration file
    "json examples",  # are sent by tests/test_method_examples.py
    "ini",  # is read as such, and its flags exist
}
NOT_RUN = {"sh", "nginx", "text"}
"""What would run this test again, or needs what is not there, or is a drawing."""

VOLATILE = {"session_id", "cursor", "server_time_ms", "time_ms", "message_id", "message"}
"""Fields whose values differ from run to run, but are the same wherever the README says so."""


@dataclass(frozen=True)
class Block:
    """A fenced block: what follows the fence, what is in it, where it starts."""

    info: str
    text: str
    line: int

    def __str__(self) -> str:
        return f"line {self.line}"


BLOCKS = [
    Block(match[1], match[2], README.count("\n", 0, match.start()) + 1)
    for match in re.finditer(r"^```(\S[^\n]*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
]
PROSE = re.sub(r"^```.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL)


def blocks(info: str) -> list[Block]:
    return [block for block in BLOCKS if block.info == info]


def output_of(block: Block) -> str | None:
    """The expected output: the next block, if it is one of output."""
    after = BLOCKS[BLOCKS.index(block) + 1 :][:1]
    return after[0].text if after and after[0].info == "text output" else None


# What a reader has: the repository as the current directory, and a server on the default ports.


@dataclass(frozen=True)
class Place:
    """A directory that looks like the repository to the README's commands, and its server."""

    directory: Path
    environment: Mapping[str, str]
    ws: str
    admin: str

    def real(self, text: str) -> str:
        """``text`` with the server's real addresses for the default ones."""
        return text.replace("127.0.0.1:7700", self.ws).replace("127.0.0.1:7701", self.admin)

    def run(self, block: Block) -> str:
        """What the commands of ``block`` print."""
        result = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.real(block.text)],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout


def environment(**more: str) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("MUSTER_") and not name.lower().endswith("_proxy")
    }
    return kept | {"PYTHONPATH": str(ROOT)} | more


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("a reader")
    (directory / ".venv").symlink_to(sys.prefix)
    for block in BLOCKS:
        name = block.info.partition(" file=")[2]
        if name:
            (directory / name).write_text(block.text, encoding="utf-8")
    with ServerProcess(directory / "muster-data") as server:
        addresses = urlsplit(server.ws).netloc, urlsplit(server.admin).netloc
        yield Place(directory, environment(), *addresses)
        assert server.trouble() == []
        assert server.stop() == 0


# The blocks.


def test_every_kind_of_block_is_there() -> None:
    assert {block.info for block in BLOCKS} >= CHECKED


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_block_says_how_it_is_checked(block: Block) -> None:
    assert block.info in CHECKED | NOT_RUN or re.fullmatch(r"python file=\w+\.py", block.info)


def test_the_start_command_prints_what_the_readme_shows(tmp_path: Path) -> None:
    script = '. "$root/scripts/_environment.sh" && current serve'
    found = subprocess.run(["sh", "-c", script], env=environment(root=str(ROOT)), check=False)
    if found.returncode != 0:
        pytest.skip("scripts/run would install first: .venv is not from scripts/test")
    (start,), (ready,) = blocks("sh start"), blocks("json ready")
    with subprocess.Popen(
        ["bash", "-euc", f"exec {shlex.quote(str(ROOT))}/{start.text}"],
        cwd=tmp_path,
        env=environment(MUSTER_LISTEN="127.0.0.1:0", MUSTER_ADMIN_LISTEN="127.0.0.1:0"),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            printed = process.stdout.readline()
        finally:
            process.terminate()
    assert process.returncode == 0
    without_ports = re.compile(r"(?<=:)\d+")
    assert without_ports.sub("", printed) == without_ports.sub("", ready.text)
    assert (tmp_path / "muster-data").is_dir()


@pytest.mark.parametrize("block", blocks("sh run"), ids=str)
def test_the_commands_print_what_the_readme_shows(block: Block, place: Place) -> None:
    if "curl " in block.text and shutil.which("curl") is None:
        pytest.skip("there is no curl here")
    printed = place.run(block)
    expected = output_of(block)
    if expected is not None:
        pattern = ".*?".join(re.escape(part) for part in expected.strip().split("..."))
        assert re.fullmatch(pattern, printed.strip(), re.DOTALL), printed


@pytest.mark.parametrize(
    "block",
    [b for b in blocks("sh run") if re.match(r"\S+ (sign_in.py|-m server token)", b.text)],
    ids=str,
)
def test_what_the_commands_call_a_token_is_one(block: Block, place: Place) -> None:
    key = (place.directory / "muster-data" / "secret.key").read_text(encoding="ascii").strip()
    found = usersig.verify(
        place.run(block).strip(),
        user_id="alice",
        sdkappid=SDKAPPID,
        secret_keys=[key],
        now_s=int(time.time()),
    )
    assert found.expires_s - found.issued_s == 86_400


def test_the_client_has_fifteen_lines() -> None:
    (block,) = blocks("python file=hello.py")
    assert len([line for line in block.text.splitlines() if line.strip()]) == 15


@pytest.mark.parametrize("block", blocks("text conversation"), ids=str)
async def test_the_conversation_goes_as_shown(block: Block, tmp_path: Path) -> None:
    lines = [line for line in block.text.splitlines() if not line.startswith("--")]
    with ServerProcess(tmp_path) as server:
        conversation = Conversation(server.token("alice"))
        for part in connections_of(lines):
            async with connect(server.ws, proxy=None) as connection:
                await conversation.have(connection, part)
        assert server.trouble() == []


def connections_of(lines: list[str]) -> list[list[str]]:
    """The lines of each connection: each begins with a hello."""
    parts: list[list[str]] = []
    for line in lines:
        if line.startswith("C ") and isinstance(frame_of_client(line[2:]), Hello):
            parts.append([])
        parts[-1].append(line)
    return parts


def frame_of_client(text: str) -> ClientFrame:
    return to_client_frame(JSON.decode(text.encode()))


class Conversation:
    """Plays the client's lines and compares what the server says with its lines."""

    def __init__(self, user_sig: str) -> None:
        self._user_sig = user_sig
        self._real: dict[str, Any] = {}

    async def have(self, connection: ClientConnection, lines: list[str]) -> None:
        for line in lines:
            speaker, _, text = line.partition(" ")
            if speaker == "C":
                frame_of_client(text)
                await connection.send(json.dumps(self._as_sent(json.loads(text))))
            else:
                assert speaker == "S", line
                JSON.decode_server(text.encode())
                async with asyncio.timeout(20):
                    said = await connection.recv()
                self._compare(json.loads(text), json.loads(said), "")

    def _as_sent(self, shown: dict[str, Any]) -> dict[str, Any]:
        sent = dict(shown)
        if "user_sig" in sent:
            sent["user_sig"] = self._user_sig
        if "cursor" in sent:
            sent["cursor"] = self._real[f"cursor {sent['cursor']}"]
        return sent

    def _compare(self, shown: object, said: object, where: str) -> None:
        """What is shown was said; more may have been said."""
        if isinstance(shown, dict):
            assert isinstance(said, dict), where
            assert shown.keys() <= said.keys(), where
            for key, value in shown.items():
                if key in VOLATILE:
                    assert type(said[key]) is type(value), f"{where}.{key}"
                    real = self._real.setdefault(f"{key} {value}", said[key])
                    assert value == "..." or said[key] == real, f"{where}.{key}"
                else:
                    self._compare(value, said[key], f"{where}.{key}")
        elif isinstance(shown, list):
            assert isinstance(said, list), where
            assert len(shown) == len(said), where
            for index, (one, other) in enumerate(zip(shown, said, strict=True)):
                self._compare(one, other, f"{where}[{index}]")
        else:
            assert said == shown, where


@pytest.mark.parametrize("block", blocks("toml config"), ids=str)
def test_the_configuration_is_accepted(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "muster.toml"
    file.write_text(block.text, encoding="utf-8")
    settings = config.load_settings({}, {}, file)
    rulebook = configured_rulebook(
        limits=settings.limits,
        types=settings.types,
        group_fields=settings.group_fields,
        member_fields=settings.member_fields,
    )
    assert rulebook != Rulebook()


@pytest.mark.parametrize("block", blocks("ini"), ids=str)
def test_the_unit_is_one(block: Block) -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # keeps the case of names
    parser.read_string(block.text)
    assert "ExecStart" in parser["Service"]


# The tables.


def test_the_tables_are_current(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, ROOT / "scripts" / "tables", "--check"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")


# What is named exists.


def sources(*folders: str) -> str:
    return "\n".join(
        path.read_text(encoding="utf-8")
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*"))
        if path.is_file() and path.suffix in ("", ".py", ".sh", ".txt")
    )


def test_files_exist() -> None:
    named = set(re.findall(r"\b(?:server|protocol|tests|scripts)/[\w./]*\w", README))
    assert named
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_every_promise_names_its_tests() -> None:
    section = re.search(r"^## What is promised$(.*?)^## ", README, re.MULTILINE | re.DOTALL)
    assert section is not None
    promises = re.split(r"^\d+\. ", section[1], flags=re.MULTILINE)[1:]
    assert len(promises) == 6
    for promise in promises:
        named = re.findall(r"`(tests/[\w./]+)`", promise)
        assert named, promise
        for name in named:
            path = ROOT / name
            assert path.is_file() or list(path.rglob("test_*.py")), name


def test_commands_and_flags_exist() -> None:
    commands = sorted(set(re.findall(r"python (?:-P )?-m server (\w+(?: [a-z]+\b)?)", README)))
    helps = [run_command(*command.split(), "--help") for command in commands]
    assert [text.stderr for text in helps if text.returncode != 0] == []
    known = "".join(text.stdout for text in helps) + sources("scripts")
    flags = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", README))
    assert flags
    assert {flag for flag in flags if not re.search(rf"{flag}(?![\w-])", known)} == set()


def test_variables_exist() -> None:
    known = {f"MUSTER_{name.upper()}" for name in config.SETTINGS}
    known |= {f"MUSTER_LIMIT_{name}" for name in LIMITS} | {"MUSTER_LIMIT_", "MUSTER_CONFIG"}
    named = set(re.findall(r"MUSTER_\w+", README))
    assert named
    assert named - known == set()


def test_names_in_code_exist() -> None:
    known = set(re.findall(r"\w+", sources("server", "protocol", "scripts")))
    known |= {f"MUSTER_{name.upper()}" for name in config.SETTINGS}
    spans = [span for span in re.findall(r"`([^`\n]+)`", PROSE) if "/" not in span]
    names = {name for span in spans for name in re.findall(r"[A-Za-z]+(?:_[A-Za-z]+)+", span)}
    assert names
    assert {name for name in names - known if not name.startswith("MUSTER_")} == set()


def test_links_lead_somewhere() -> None:
    headings = re.findall(r"^#+ (.+)$", PROSE, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    links = set(re.findall(r"\]\(#([^)]+)\)", PROSE))
    assert links
    assert links - anchors == set()
