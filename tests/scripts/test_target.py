"""The server that a script starts for itself."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from scripts.common.target import own_server


def test_it_is_that_of_the_scripts_own_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever else is installed: what is measured is what one has before one."""
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "__init__.py").touch()
    (tmp_path / "server" / "__main__.py").write_text("raise SystemExit('another tree')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with own_server({}) as server:
        assert server.url.startswith("ws://127.0.0.1:")


def test_its_data_is_checked_while_it_runs_and_afterwards() -> None:
    with own_server({}) as server:
        is_sound, said = server.check()
        assert is_sound, said
        assert ": 0 findings" in said
        assert server.stop() == 0
        with closing(sqlite3.connect(server.data / "muster.db")) as connection, connection:
            connection.execute("UPDATE shard SET floor = position + 1")
        is_sound, said = server.check()
        assert not is_sound, said
