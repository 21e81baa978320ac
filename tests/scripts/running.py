"""Runs a program of scripts/ as a user does."""

import subprocess
import sys
from pathlib import Path
from typing import Final

SCRIPTS: Final = Path(__file__).parents[2] / "scripts"

_PATIENCE_S: Final = 45
_END_S: Final = 10


def run_program(name: str, *options: str) -> "subprocess.CompletedProcess[str]":
    """The finished program with what it wrote.

    One that takes too long is asked to end, so that it can take its server with it.
    """
    command = [sys.executable, str(SCRIPTS / name), *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            output, errors = process.communicate(timeout=_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.terminate()
            output, errors = process.communicate(timeout=_END_S)
            raise AssertionError(f"{name} took too long\n{output}\n{errors}") from None
    return subprocess.CompletedProcess(command, process.returncode, output, errors)
