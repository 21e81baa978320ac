"""scripts/fuzz: one target in this process, or one after another in processes of their own."""

import argparse
import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

_TARGETS: Final = ("json", "msgpack", "agree", "handshake", "usersig", "cursor")
_INSTRUMENTED: Final = ["protocol", "server", "websockets", "json.decoder", "base64"]

_INPUT_S: Final = 10
_RESIDENT_MIB: Final = 512
_INPUT_BYTES: Final = 4096


def main(arguments: Sequence[str], description: str) -> int:
    """Fuzz; returns the exit status: 0 nothing found, 1 something, 3 there is no atheris."""
    options = _parser(description).parse_args(arguments[1:])
    if importlib.util.find_spec("atheris") is None:
        sys.stderr.write('fuzz: atheris is not installed: pip install -e ".[fuzz]"\n')
        return 3
    if options.target != "all":
        _fuzz(options.target, options.seconds, options.keep)
    statuses = {target: _in_a_process(arguments[0], target, options) for target in _TARGETS}
    found = [target for target, status in statuses.items() if status]
    print(f"fuzz: found something in: {', '.join(found)}" if found else "fuzz: nothing was found")
    return 1 if found else 0


def _parser(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/fuzz",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", choices=("all", *_TARGETS))
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    parser.add_argument(
        "--keep",
        type=Path,
        default=Path("fuzz-data"),
        help="directory of the inputs that reached something new, and of what was found",
    )
    return parser


def _in_a_process(program: str, target: str, options: argparse.Namespace) -> int:
    print(f"fuzz: {target}", flush=True)
    command = [sys.executable, program, target, "--seconds", str(options.seconds)]
    return subprocess.run([*command, "--keep", str(options.keep)], check=False).returncode


def _fuzz(target: str, seconds: int, keep: Path) -> NoReturn:
    """Run one target; ends the process."""
    import atheris

    with atheris.instrument_imports(include=_INSTRUMENTED):
        from tests.fuzz.seeds import seeds
        from tests.fuzz.targets import TARGETS

    corpus = keep / target
    corpus.mkdir(parents=True, exist_ok=True)
    first = Path(tempfile.mkdtemp(prefix="muster-fuzz-"))
    for number, data in enumerate(seeds()[target]):
        (first / f"{number:04}").write_bytes(data)
    atheris.Setup(
        [
            f"fuzz {target}",
            f"-max_total_time={seconds}",
            f"-timeout={_INPUT_S}",
            f"-rss_limit_mb={_RESIDENT_MIB}",
            f"-max_len={_INPUT_BYTES}",
            f"-artifact_prefix={keep}/found-{target}-",
            "-print_final_stats=1",
            "-verbosity=1",
            str(corpus),
            str(first),
        ],
        TARGETS[target],
    )
    atheris.Fuzz()
    raise AssertionError("atheris ends the process")
