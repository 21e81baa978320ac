"""How long a client waits before it tries again: full jitter, and never sooner than asked."""

from random import Random
from typing import Final

FIRST_CEILING_S: Final = 0.5
LAST_CEILING_S: Final = 30.0
_DOUBLINGS: Final = 6  # 0.5 s x 2^6 is beyond the last ceiling


def backoff_s(failures: int, random: Random, retry_after_ms: int | None = None) -> float:
    """Seconds to wait after ``failures`` attempts in a row that failed before this one.

    Evenly spread between 0 and min(30 s, 0.5 s x 2^failures), so that clients that lost their
    server together do not come back together; never less than ``retry_after_ms``.
    """
    ceiling_s = min(LAST_CEILING_S, FIRST_CEILING_S * 2 ** min(failures, _DOUBLINGS))
    return max(random.uniform(0, ceiling_s), (retry_after_ms or 0) / 1000)
