"""Has the garbage collector look at little and often, instead of at everything now and then.

A collection of everything stops the loop for as long as there are objects: about 0.1 s with 15,000
connections. What has outlived one collection here is set apart (``gc.freeze``) and not looked at
again, so each collection sees only what came since the last one. Nearly all objects go by their
reference counts anyway, set apart or not. asyncio's transports do not, as each refers to itself:
so when as many connections have closed as are open, everything is looked at once.
"""

import asyncio
import gc
from collections.abc import Callable
from typing import Final

_EVERY_S: Final = 0.25
_THRESHOLDS: Final = (20_000, 20, 1_000)
"""New objects before the collector looks by itself; all but the first hardly ever come to pass."""

_CLOSED_AT_LEAST: Final = 1_000


class Collector:
    """Collects in small steps; one per process.

    Args:
        open_count: how many connections there are.
        closed_count: how many there were and are no longer.
    """

    def __init__(self, open_count: Callable[[], int], closed_count: Callable[[], int]) -> None:
        self._open_count = open_count
        self._closed_count = closed_count
        self._closed_before = 0

    async def run(self) -> None:
        """Work until cancelled; then the collector does as it did before."""
        before = gc.get_threshold()
        gc.set_threshold(*_THRESHOLDS)
        try:
            while True:
                self.step()
                await asyncio.sleep(_EVERY_S)
        finally:
            gc.set_threshold(*before)
            gc.unfreeze()

    def step(self) -> None:
        """Collect what came since the last step, and set apart what is still in use."""
        closed = self._closed_count()
        if closed - self._closed_before >= max(_CLOSED_AT_LEAST, self._open_count()):
            self._closed_before = closed
            gc.unfreeze()
        gc.collect()
        gc.freeze()
