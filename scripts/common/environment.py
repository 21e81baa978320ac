"""Puts a program of scripts/ into .venv, which is made on first use, as scripts/run does.

Runs on whatever Python is there, before anything is installed: the standard library only.
"""

import os
import subprocess
import sys
from pathlib import Path

_PREPARE = 'set -eu; root=$1; . "$root/scripts/_environment.sh"; prepare "$2"'


def use_environment(root: Path, program: str, purpose: str = "serve") -> None:
    """Return when this is .venv's Python already; else become ``program`` run by it.

    ``purpose`` is "serve", or "test" for a program that needs what the tests need. Progress goes
    to standard error. Ends the process when the environment cannot be made.
    """
    venv = root / ".venv"
    if Path(sys.prefix) == venv and (venv / f"made-for-{purpose}").exists():
        return
    made = subprocess.run(
        ["sh", "-c", _PREPARE, "sh", str(root), purpose], check=False, stdout=sys.stderr
    )
    if made.returncode:
        raise SystemExit(made.returncode)
    python = str(venv / "bin" / "python")
    # -P: the current directory stays the user's, but no module is imported from there.
    os.execv(python, [python, "-P", program, *sys.argv[1:]])
