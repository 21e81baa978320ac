"""Other servers that do the same work, measured beside ours where they are installed.

Each is a small file here. Those that need packages of their own find them in a directory outside
the repository, which ``scripts/bench install-peers`` fills; ``versions.json`` pins them.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import msgspec

from scripts.common.target import Trouble

_HERE: Final = Path(__file__).parent
_VERSIONS: Final = _HERE / "versions.json"
_HOW: Final = "scripts/bench install-peers gets it"


class Versions(msgspec.Struct):
    """Packages and their exact versions."""

    python: dict[str, str]
    node: dict[str, str]


def home() -> Path:
    """Where the peers' packages are, or would be; another place for other versions."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    mark = hashlib.sha256(_VERSIONS.read_bytes()).hexdigest()[:12]
    return cache / "muster-bench" / mark


def python_peer() -> Path | str:
    """The Python that has the peers' packages, or why there is none."""
    python = home() / "python" / "bin" / "python"
    return python if (home() / "python" / "complete").exists() else f"not installed; {_HOW}"


def node_peer() -> Path | str:
    """The Node that can run the peers, or why there is none."""
    node = shutil.which("node")
    if node is None:
        return "there is no node"
    return Path(node) if (home() / "node" / "complete").exists() else f"not installed; {_HOW}"


def node_environment() -> dict[str, str]:
    """Where Node finds the peers' packages."""
    return {"NODE_PATH": str(home() / "node" / "node_modules")}


def install() -> None:
    """Install what is missing, with the machine's own pip and npm.

    Raises:
        Trouble: something could not be installed; what could stays.
    """
    versions = msgspec.json.decode(_VERSIONS.read_bytes(), type=Versions)
    troubles = []
    for name, fill in (("python", _install_python), ("node", _install_node)):
        directory = home() / name
        if (directory / "complete").exists():
            sys.stderr.write(f"{name} peers: are there\n")
            continue
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        try:
            fill(directory, getattr(versions, name))
        except (OSError, subprocess.CalledProcessError) as error:
            troubles.append(f"the {name} peers cannot be installed: {error}")
            continue
        (directory / "complete").touch()
        sys.stderr.write(f"{name} peers: installed in {directory}\n")
    if troubles:
        raise Trouble("; ".join(troubles))


def _install_python(directory: Path, packages: dict[str, str]) -> None:
    _run(sys.executable, "-m", "venv", "--clear", str(directory))
    wanted = [f"{name}=={version}" for name, version in packages.items()]
    pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    _run(str(directory / "bin" / "python"), *pip, *wanted)


def _install_node(directory: Path, packages: dict[str, str]) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("there is no npm")
    wanted = [f"{name}@{version}" for name, version in packages.items()]
    _run(npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(directory), *wanted)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=sys.stderr)
