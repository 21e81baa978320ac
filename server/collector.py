"""Has the garbage collector look at little and often, instead of at everything now and then.

A collection of everything stops the loop for as long as there are objects: about 0.1 s with 15,000
connections. What has outlived one collection here is set apart (``gc.freeze``) and not looked at
again, so each collection sees only what came since the last one. Nearly all objects go by their
reference counts anyway, set apart or not; a closed connection lets go of its circles itself.
"""

import asyncio
import gc
from typing import Final

_EVERY_S: Final = 0.25
_THRESHOLDS: Final = (20_000, 20, 1_000)
"""New objects before the collector looks by itself; all but the first hardly ever come to pass."""

_THAW_EVERY_S: Final = 600.0
_THAW_AT_MOST: Final = 200_000
"""So many objects are looked at in about 30 ms."""


class Collector:
    """Collects in small steps; one per process.

    Args:
        thaw_at_most: when no more objects than this are set apart, all are looked at now and
            then: circles that were set apart while they were in use, and no longer are, go then.
    """

    def __init__(self, *, thaw_at_most: int = _THAW_AT_MOST) -> None:
        self._thaw_at_most = thaw_at_most
        self._thawed_s = 0.0

    async def run(self) -> None:
        """Work until cancelled; then the collector does as it did before."""
        before = gc.get_threshold()
        gc.set_threshold(*_THRESHOLDS)
        loop = asyncio.get_running_loop()
        self._thawed_s = loop.time()
        try:
            while True:
                self.step(loop.time())
                await asyncio.sleep(_EVERY_S)
        finally:
            gc.set_threshold(*before)
            gc.unfreeze()

    def step(self, now_s: float) -> None:
        """Collect what came since the last step, and set apart what is still in use."""
        if now_s - self._thawed_s >= _THAW_EVERY_S:
            self._thawed_s = now_s
            if gc.get_freeze_count() <= self._thaw_at_most:
                gc.unfreeze()
        gc.collect()
        gc.freeze()
