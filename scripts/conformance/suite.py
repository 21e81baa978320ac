"""The Autobahn test suite: found or installed, run, and its verdicts read."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

_PACKAGE: Final = "autobahntestsuite"
_HOME: Final = Path(tempfile.gettempdir()) / f"muster-autobahn-{os.getuid()}"
_INSTALL_S: Final = 600
_RUN_S: Final = 1800

_START: Final = """
import site, sys
site.addsitedir(sys.argv.pop(1))
from autobahntestsuite import wstest
wstest.run()
"""

PASSES: Final = frozenset({"OK", "NON-STRICT", "INFORMATIONAL"})


class CannotRun(Exception):
    """The suite cannot run on this machine; the message says what it needs."""


class Verdict(msgspec.Struct, frozen=True):
    """What the suite says of one case.

    ``behavior`` and ``close`` are its words: OK, NON-STRICT, INFORMATIONAL, FAILED and so on, for
    what was sent and for how the connection ended.
    """

    case: str
    behavior: str
    close: str
    close_code: int | None
    expected: str
    received: str
    ends_with_bye: bool

    @property
    def passes(self) -> bool:
        """Whether both are as they should be."""
        return self.behavior in PASSES and self.close in PASSES


def find_python() -> Path:
    """A CPython 2.7.

    Raises:
        CannotRun: there is none.
    """
    on_path = shutil.which("python2.7")
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = [*sorted(pyenv.glob("versions/2.7*/bin/python2.7"), reverse=True)]
    if on_path is not None:
        candidates.append(Path(on_path))
    for candidate in candidates:
        if _is_python2(candidate):
            return candidate
    raise CannotRun(
        "the Autobahn test suite needs a CPython 2.7: put a python2.7 on the PATH, or install one "
        "with pyenv (pyenv install 2.7.18)"
    )


def _is_python2(program: Path) -> bool:
    try:
        said = subprocess.run(
            [program, "-c", "import sys, ssl; print(sys.version_info[:2] == (2, 7))"],
            check=False,
            capture_output=True,
            text=True,
            timeout=30,
        )
    except OSError:
        return False
    return said.stdout.strip() == "True"


def install(python: Path) -> Path:
    """Install the suite for ``python`` unless it is; returns the directory with its packages.

    Raises:
        CannotRun: pip could not install it.
    """
    packages = _HOME / "packages"
    if (packages / _PACKAGE).is_dir():
        return packages
    sys.stderr.write(f"autobahn: installing {_PACKAGE} into {_HOME} (once) ...\n")
    _HOME.mkdir(mode=0o700, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=_HOME))
    pip = (str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    done = subprocess.run(
        (*pip, "--target", str(fresh), _PACKAGE),
        check=False,
        capture_output=True,
        text=True,
        timeout=_INSTALL_S,
    )
    if done.returncode or not (fresh / _PACKAGE).is_dir():
        raise CannotRun(f"pip could not install {_PACKAGE}:\n{done.stderr[-2000:]}")
    fresh.rename(packages)
    return packages


async def run_suite(python: Path, packages: Path, url: str, cases: Sequence[str]) -> list[Verdict]:
    """Run the fuzzing client against ``url``; the verdicts in the suite's order.

    Raises:
        CannotRun: the client did not get to its end.
    """
    with tempfile.TemporaryDirectory(prefix="muster-autobahn-") as name:
        directory = Path(name)
        spec = directory / "spec.json"
        spec.write_text(
            json.dumps(
                {
                    "outdir": str(directory / "reports"),
                    "servers": [{"agent": "muster", "url": url}],
                    "cases": list(cases),
                    "exclude-cases": ["12.*", "13.*"],
                    "exclude-agent-cases": {},
                }
            )
        )
        client = await asyncio.create_subprocess_exec(
            python,
            "-c",
            _START,
            packages,
            "-m",
            "fuzzingclient",
            "-s",
            spec,
            cwd=directory,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(_RUN_S):
                output, _ = await client.communicate()
        finally:
            if client.returncode is None:
                client.kill()
                await client.wait()
        index = directory / "reports" / "index.json"
        if not index.is_file():
            raise CannotRun(f"the suite made no report:\n{output.decode()[-2000:]}")
        report = json.loads(index.read_bytes())["muster"]
        return [_verdict(case, row, index.parent) for case, row in _in_order(report)]


def _in_order(report: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return sorted(report.items(), key=lambda row: [int(part) for part in row[0].split(".")])


def _verdict(case: str, row: Mapping[str, Any], reports: Path) -> Verdict:
    full = json.loads((reports / row["reportfile"]).read_bytes())
    return Verdict(
        case=case,
        behavior=row["behavior"],
        close=row["behaviorClose"],
        close_code=row["remoteCloseCode"],
        expected=str(full["expected"])[:300],
        received=str(full["received"])[:300],
        ends_with_bye=bool(full["received"]) and _is_bye(full["received"][-1]),
    )


def _is_bye(event: Sequence[Any]) -> bool:
    return event[0] == "message" and str(event[1]).startswith('{"type":"bye"')
