"""How a slow device reads its connection: now and then, and little at a time."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Final

import msgspec

from scripts.common.link import Link


class _Pace(msgspec.Struct, frozen=True):
    """For how long it does not read, and for how long it does, in seconds: from, to."""

    nap_s: tuple[float, float]
    awake_s: tuple[float, float]


_PACES: Final = (
    # Slow all the time, as on a bad line; and well, but stopping now and then, as in a tunnel.
    _Pace((0.2, 1.0), (0.001, 0.02)),
    _Pace((2.0, 8.0), (0.2, 3.0)),
)


class Naps:
    """Pauses and resumes one connection after the other, at a pace of its own."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._pace = random.choice(_PACES)
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, link: Link) -> None:
        """Doze off, wake up, and so on, until ``end``."""
        link.pause()
        self._after(self._pace.nap_s, self._look_up, link)

    def end(self) -> None:
        """Leave the connection as it is from now on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_up(self, link: Link) -> None:
        link.resume()
        self._after(self._pace.awake_s, self.begin, link)

    def _after(
        self, between_s: tuple[float, float], what: Callable[[Link], None], link: Link
    ) -> None:
        delay_s = self._random.uniform(*between_s)
        self._timer = asyncio.get_running_loop().call_later(delay_s, what, link)
