"""The C programs of scripts/bench, compiled when they are wanted."""

import atexit
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).parents[1]


@functools.cache
def compiled(source: str) -> Path | None:
    """The program of ``source``, a path within ``scripts/benchmarks``; None without a compiler.

    It is made once in a temporary directory, which goes when this process ends.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    program = _directory() / Path(source).stem
    command = [compiler, "-O2", "-o", str(program), str(_ROOT / source)]
    made = subprocess.run(command, check=False, capture_output=True)
    return program if made.returncode == 0 else None


@functools.cache
def _directory() -> Path:
    directory = Path(tempfile.mkdtemp(prefix="muster-native-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory
