"""What of an adapter's troubles is worth a line in the log. Pure: time is given; the line is written by adapter.py.

Health is told each second, and a trouble may come and go with each poll or hold a number that grows. A line is due when the words
have changed, numbers apart, and the last line is a while ago.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

QUIET_S = 60.0


class TroubleLog:
    """Of one adapter."""

    def __init__(self) -> None:
        self._told, self._again_at = "", 0.0

    def due(self, now: float, troubles: Sequence[str]) -> bool:
        """Asked with each look at the health; True where this is to be written down, an end of all troubles too."""
        words = re.sub(r"\d+", "", "; ".join(troubles))
        if words == self._told or now < self._again_at:
            return False
        self._told, self._again_at = words, now + QUIET_S
        return True
