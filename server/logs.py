"""The log: lines to standard error that nobody ever waits for.

A reader of the log that stops, or a full disk under it, would otherwise stop the loop at the
first line too many, and with it the whole server.
"""

import contextlib
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"

_MOST_LINES: Final = 10_000
"""That may wait to be written; what comes then is dropped and counted."""

_STANDARD_ERROR: Final = 2

_END_S: Final = 1.0
"""How long the end of the process waits for the last lines to be taken."""


class BoundedHandler(logging.Handler):
    """Writes records to a file descriptor from a thread of its own; drops what is too much.

    Args:
        descriptor: where the lines go; stays open.
        most_lines: how many may wait.

    Attributes:
        dropped_lines: how many were dropped since the start.
    """

    def __init__(self, descriptor: int, most_lines: int = _MOST_LINES) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._most_lines = most_lines
        self._lines: deque[bytes] = deque()
        self._dropped = 0
        self.dropped_lines = 0
        self._is_closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="muster-log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the record for the thread, or count it as dropped. Never waits."""
        try:
            line = self.format(record).encode(errors="backslashreplace") + b"\n"
        except Exception:  # noqa: BLE001 - a wrong call of the log must not end what called it
            line = b"a record could not be formatted: " + ascii(record.msg).encode() + b"\n"
        with self._changed:
            if len(self._lines) >= self._most_lines:
                self._dropped += 1
                self.dropped_lines += 1
                return
            self._lines.append(line)
            self._changed.notify()

    def close(self) -> None:
        """Return when everything is written, or nobody takes it. May be called twice."""
        with self._changed:
            if self._is_closing:
                return
            self._is_closing = True
            self._changed.notify()
        self._thread.join(_END_S)
        super().close()

    def _run(self) -> None:
        while (text := self._next()) is not None:
            # A disk without room, or a pipe without a reader: there is nobody to tell.
            with contextlib.suppress(OSError):
                while text:
                    text = text[os.write(self._descriptor, text) :]

    def _next(self) -> bytes | None:
        """Some lines, when there are any; None at the end."""
        with self._changed:
            while not self._lines:
                if self._is_closing:
                    return None
                self._changed.wait()
            text = b"".join(self._lines)
            self._lines.clear()
            if self._dropped:
                text += b"%d lines of the log were dropped: nobody took them\n" % self._dropped
                self._dropped = 0
            return text


class TextFormatter(logging.Formatter):
    """One line for each record, with what is not printable as escapes, so that no one forges any.

    The lines of a traceback follow, each after two spaces: none of them looks like a record.
    """

    def __init__(self) -> None:
        super().__init__(_FORMAT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        """See ``logging.Formatter.formatMessage``."""
        return _printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: ANN401, N802 - as the library has it
        """See ``logging.Formatter.formatException``."""
        lines = super().formatException(ei).split("\n")
        return "\n".join(f"  {_printable(line)}" for line in lines)


def _printable(text: str) -> str:
    """``text`` with escapes for what would not be shown, as line ends and terminal commands."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


class JsonFormatter(logging.Formatter):
    """One line of JSON for each record, for programs that read logs.

    ``time_ms`` (Unix time), ``level``, ``logger``, ``message``, and ``exception`` with the
    traceback where there is one.
    """

    def format(self, record: logging.LogRecord) -> str:
        """See ``logging.Formatter.format``."""
        line: dict[str, object] = {
            "time_ms": int(record.created * 1000),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


FORMATTERS: Final[Mapping[str, Callable[[], logging.Formatter]]] = {
    "text": TextFormatter,
    "json": JsonFormatter,
}
"""By the names that the setting has."""


@contextlib.contextmanager
def kept(level: str, form: str) -> Iterator[BoundedHandler]:
    """Log to standard error while this is entered.

    Args:
        level: a name of ``logging``.
        form: a name of FORMATTERS.
    """
    handler = BoundedHandler(_STANDARD_ERROR)
    handler.setFormatter(FORMATTERS[form]())
    root = logging.getLogger()
    root.setLevel(level)
    root.addHandler(handler)
    # The library tells of every handshake; its errors reach us as close codes.
    logging.getLogger("websockets").setLevel(logging.CRITICAL)
    try:
        yield handler
    finally:
        root.removeHandler(handler)
        handler.close()
