"""Lines of the log as JSON: what a program reads is what was said."""

import json
import logging
import os
from pathlib import Path

import pytest

from server.logs import FORMATTERS, BoundedHandler
from tests.kit.server_process import ServerProcess


@pytest.mark.parametrize("message", ["plain", 'two\nlines and "quotes"', "a \ud800 surrogate", "é"])
def test_a_record_is_one_line_of_json(message: str) -> None:
    reader, writer = os.pipe()
    handler = BoundedHandler(writer)
    handler.setFormatter(FORMATTERS["json"]())
    record = logging.LogRecord("server.x", logging.WARNING, "f", 1, "%s", (message,), None)
    handler.emit(record)
    handler.close()
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        (line,) = pipe.read().splitlines()
    if "\ud800" in message:
        assert b"could not be formatted" in line, "it is said all the same"
        return
    said = json.loads(line)
    assert said["message"] == message
    assert (said["level"], said["logger"]) == ("WARNING", "server.x")
    assert said["time_ms"] == int(record.created * 1000)


def test_an_exception_is_told_with_its_traceback() -> None:
    try:
        raise ValueError("boom")
    except ValueError as error:
        information = (ValueError, error, error.__traceback__)
    record = logging.LogRecord("x", logging.ERROR, "f", 1, "failed", (), information)
    said = json.loads(FORMATTERS["json"]().format(record))
    assert "boom" in said["exception"]
    assert "Traceback" in said["exception"]


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("plain é 你", "plain é 你"),
        ("a\n2026-01-01 INFO x: forged", "a\\n2026-01-01 INFO x: forged"),
        ("a\r\x1b[2J\x85\u2028b", "a\\r\\x1b[2J\\x85\\u2028b"),
        ("\u202e right to left", "\\u202e right to left"),
        ("a \ud800 surrogate", "a \\ud800 surrogate"),
    ],
)
def test_a_record_is_one_line_of_text(message: str, shown: str) -> None:
    record = logging.LogRecord("x", logging.INFO, "f", 1, "%s", (message,), None)
    assert FORMATTERS["text"]().format(record).endswith(f" INFO x: {shown}")


def test_a_traceback_in_text_has_no_line_that_looks_like_a_record() -> None:
    try:
        raise ValueError("boom\n2026-01-01 00:00:00,000 INFO x: forged\x1b[2J")
    except ValueError as error:
        information = (ValueError, error, error.__traceback__)
    record = logging.LogRecord("x", logging.ERROR, "f", 1, "failed", (), information)
    head, *others = FORMATTERS["text"]().format(record).split("\n")
    assert head.endswith(" ERROR x: failed")
    assert all(line.startswith("  ") for line in others)
    assert others[-1] == "  2026-01-01 00:00:00,000 INFO x: forged\\x1b[2J"


def test_a_server_that_is_told_so_logs_json(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", env={"MUSTER_LOG_FORMAT": "json"}) as server:
        server.stop()
        lines = [json.loads(line) for line in server.log().splitlines()]
    assert lines
    assert all({"time_ms", "level", "logger", "message"} <= set(line) for line in lines)
