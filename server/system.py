"""The real clock and the real randomness."""

import base64
import secrets
import time
from typing import Final


class SystemClock:
    """Implements ``Clock``; the wall clock never goes back, whatever the machine's does.

    Args:
        not_before_ms: the least that it says, so that it does not go back over a restart either:
            the latest time of which something is stored.
    """

    def __init__(self, not_before_ms: int = 0) -> None:
        self._latest_ms = not_before_ms

    def now_ms(self) -> int:
        """See ``Clock.now_ms``."""
        self._latest_ms = max(self._latest_ms, time.time_ns() // 1_000_000)
        return self._latest_ms

    def monotonic_s(self) -> float:
        """See ``Clock.monotonic_s``."""
        return time.monotonic()


class SystemTokens:
    """Implements ``Tokens``: 80 random bits as 16 characters of lower-case base-32.

    The kernel is asked for many at once: each request takes one.
    """

    def __init__(self) -> None:
        self._unused: list[str] = []

    def token(self) -> str:
        """See ``Tokens.token``."""
        if not self._unused:
            text = base64.b32encode(secrets.token_bytes(_TOKEN_BYTES * _AT_ONCE)).decode().lower()
            length = len(text) // _AT_ONCE
            self._unused = [text[i : i + length] for i in range(0, len(text), length)]
        return self._unused.pop()


_TOKEN_BYTES: Final = 10
_AT_ONCE: Final = 256
