"""Installs what others wrote, starts a server, and says what became of it."""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import venv
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.request import urlopen

import msgspec

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGES: Final = (
    "openapi-spec-validator>=0.9",
    "schemathesis>=4.32",
    "tencentcloud-sdk-python-im==0.9.4",
    "timsdk==1.1.12",
)
_HOME: Final = Path(tempfile.gettempdir()) / f"muster-restcheck-{os.getuid()}"
_INSTALL_S: Final = 900
_CHECKS: Final = (
    "not_a_server_error,response_schema_conformance,status_code_conformance,"
    "content_type_conformance"
)


class CannotRun(Exception):
    """What others wrote cannot be run here; the message says why."""


class Running(msgspec.Struct, frozen=True):
    """A server: where its admin listener is, its key, and where it writes its log."""

    admin: str
    key: str
    token: str
    log: Path


def main(arguments: Sequence[str], description: str) -> int:
    """Run it; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--examples", type=int, default=20, help="of each command (20)")
    parser.add_argument("--seconds", type=int, default=120, help="at most for schemathesis (120)")
    options = parser.parse_args(arguments)
    try:
        python = _install()
        with tempfile.TemporaryDirectory() as directory, _server(Path(directory)) as server:
            trouble = _validated(python, server)
            trouble += _fuzzed(python, server, Path(directory), options.examples, options.seconds)
            trouble += _called(python, server)
            trouble += _looked_through(server.log)
    except CannotRun as error:
        sys.stderr.write(f"restcheck: {error}\n")
        return 3
    for line in trouble:
        sys.stdout.write(f"TROUBLE: {line}\n")
    sys.stdout.write("all is well\n" if not trouble else f"{len(trouble)} troubles\n")
    return 1 if trouble else 0


def _install() -> Path:
    """A Python that has the packages.

    Raises:
        CannotRun: they cannot be installed.
    """
    python = _HOME / "bin" / "python"
    marker = _HOME / "installed"
    if marker.exists() and marker.read_text() == " ".join(PACKAGES):
        return python
    sys.stderr.write(f"restcheck: installing into {_HOME} (once) ...\n")
    venv.create(_HOME, with_pip=True, clear=True)
    done = subprocess.run(
        (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES),
        check=False,
        capture_output=True,
        text=True,
        timeout=_INSTALL_S,
    )
    if done.returncode:
        raise CannotRun(f"pip could not install the packages:\n{done.stderr[-2000:]}")
    marker.write_text(" ".join(PACKAGES))
    return python


@contextmanager
def _server(directory: Path) -> Iterator[Running]:
    """A server without the limits that keep a flood of calls off."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith("MUSTER")}
    environment |= {
        "PYTHONPATH": str(ROOT),
        "MUSTER_DATA": str(directory / "data"),
        "MUSTER_LISTEN": "127.0.0.1:0",
        "MUSTER_ADMIN_LISTEN": "127.0.0.1:0",
        "MUSTER_LIMIT_REST_CALLS_PER_S": "0",
    }
    log = directory / "log"
    run = (sys.executable, "-m", "server")
    with (
        log.open("w") as errors,
        subprocess.Popen(
            (*run, "serve"), stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        ) as process,
    ):
        try:
            assert process.stdout is not None
            admin = json.loads(process.stdout.readline())["admin"]
            token = subprocess.run(
                (*run, "token", "administrator"),
                env=environment,
                capture_output=True,
                text=True,
                check=True,
            ).stdout.strip()
            key = (directory / "data" / "secret.key").read_text().strip()
            yield Running(admin, key, token, log)
        finally:
            process.terminate()
            process.wait(20)


def _validated(python: Path, server: Running) -> list[str]:
    with urlopen(f"{server.admin}/openapi.json", timeout=10) as response:
        document = response.read()
    check = "import json, sys, openapi_spec_validator as v; v.validate(json.load(sys.stdin))"
    done = subprocess.run((python, "-c", check), input=document, check=False, capture_output=True)
    sys.stdout.write(f"openapi.json: {len(document)} bytes\n")
    return (
        [f"the document is not valid:\n{done.stderr.decode()[-2000:]}"] if done.returncode else []
    )


def _fuzzed(
    python: Path, server: Running, directory: Path, examples: int, seconds: int
) -> list[str]:
    settings = directory / "schemathesis.toml"
    settings.write_text(
        "[parameters]\n"
        '"query.sdkappid" = 1400000000\n'
        '"query.identifier" = "administrator"\n'
        f'"query.usersig" = "{server.token}"\n'
        '"query.random" = 7\n'
        '"query.contenttype" = "json"\n'
    )
    done = subprocess.run(
        (
            *(python.parent / "st", "--config-file", settings, "run"),
            *(f"{server.admin}/openapi.json", "--checks", _CHECKS, "--no-color"),
            *("--phases", "examples,fuzzing", "--workers", "1"),
            *("--max-examples", str(examples), "--max-time", str(seconds)),
        ),
        check=False,
        capture_output=True,
        text=True,
        cwd=directory,
        timeout=seconds + 300,
    )
    cases = re.search(r"\d+ generated.*", done.stdout)
    sys.stdout.write(f"schemathesis: {cases[0] if cases else 'no cases'}\n")
    return [done.stdout[-4000:]] if done.returncode or cases is None else []


def _called(python: Path, server: Running) -> list[str]:
    program = Path(__file__).with_name("clients.py")
    done = subprocess.run(
        (python, "-I", program, server.admin, server.key),
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    sys.stdout.write(done.stdout)
    return [done.stderr[-2000:]] if done.returncode else []


def _looked_through(log: Path) -> list[str]:
    """What the server wrote that it should not have to."""
    text = log.read_text()
    codes = Counter(re.findall(r"by administrator: (\d+),", text))
    shown = ", ".join(f"{code} {count}" for code, count in codes.most_common())
    sys.stdout.write(f"answers by ErrorCode: {shown}\n")
    bad = [line for line in text.splitlines() if " ERROR " in line or line.startswith("Traceback")]
    return bad[:20]
