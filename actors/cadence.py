"""How long a worker gathers before it writes: as configured while that leaves it time, twice as long while the work fills its time.

A commit costs the broker or the database the same for ten records as for a thousand: often is prompt, seldom is cheap. Pure: durations
are given.
"""

from __future__ import annotations

BUSY = 1 / 4
"""Who works for a larger share of its time gathers longer."""
LONGER = 2.0


class Cadence:
    """`gather_s` is what to wait from one write to the next."""

    def __init__(self, every_s: float) -> None:
        self._every_s = self.gather_s = every_s

    def worked(self, busy_s: float, of_s: float) -> None:
        """`busy_s` of the last `of_s` seconds were work."""
        self.gather_s = self._every_s * (LONGER if busy_s > BUSY * of_s else 1.0)
