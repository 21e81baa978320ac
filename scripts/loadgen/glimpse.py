"""How it goes at this moment, in one line."""

import msgspec

from scripts.loadgen.suspicions import Suspicions
from scripts.loadgen.timeline import Second


class Glimpse(msgspec.Struct, frozen=True):
    """A run at one moment: the requests answered, the latest whole second, and what looks wrong."""

    answered: int
    second: Second
    suspicions: Suspicions

    def line(self) -> str:
        """For people: rates and latencies of the last second, faults so far."""
        second, wrong = self.second, self.suspicions
        half, most = (second.replies.percentile_s(share) * 1000 for share in (0.5, 0.99))
        return (
            f"{second.answered:,}/s  {second.deliveries:,} deliveries/s  "
            f"p50 {half:.1f} p99 {most:.1f} ms  "
            f"lost {wrong.lost} double {wrong.doubled} reordered {wrong.reordered}"
        )
