"""Whether what the broker sends now is new, or stood in its queue for an unknown time. Pure.

A PUBLISH says nothing of when it was published. What the broker kept while we were away, or while the stream took nothing from us, comes later
in one go, in order, with the new messages behind it. The queue is proven empty when the broker has room for more unacknowledged messages and does not use
it: how many it allows is at least what it had out at any time, and a ping is the question, for what the broker could send comes before its answer.
Brokers that look into their queue a moment after an acknowledgement are the reason to want several such answers in a row after doubt.
"""

from __future__ import annotations

import math
from typing import Final

PROVEN_BY: Final = 5
"""Answers in a row that end a doubt."""
TRUSTED_S: Final = 5.0
"""A proof is good for so long: the skew that the validator takes for normal."""
DOUBTFUL_EVERY_S, TRUSTED_EVERY_S = 0.2, 1.0
AWAY: Final = "queued: kept by the broker while the gateway was away, of unknown age"
SLOW: Final = "held back: the broker had to wait for the gateway's stream, of unknown age"


class Freshness:
    """Of one connection."""

    def __init__(self) -> None:
        self.proven_at = -math.inf
        self.reason = AWAY
        self.width = 1
        """Most unacknowledged messages seen: the broker allows at least as many."""
        self.room = self.came = self.calm = 0

    def opened(self, now: float, *, session_present: bool) -> None:
        """The broker accepted the connection. A new session has no queue."""
        if not session_present:
            self._prove(now)

    def doubt(self, now: float) -> str | None:
        """Why a message that comes now may be old, or None."""
        return self.reason if now - self.proven_at > TRUSTED_S else None

    def message(self, unacknowledged: int) -> None:
        """One of QoS 1 or 2 came; so many now wait for their acknowledgement."""
        self.came += 1
        self.width = max(self.width, unacknowledged)

    def asks(self, unacknowledged: int) -> None:
        """A ping goes out now, behind every acknowledgement."""
        self.room, self.came = self.width - unacknowledged, 0

    def answered(self, now: float) -> None:
        """The answer to that ping."""
        self.calm = self.calm + 1 if self.came < self.room else 0
        if self.calm >= (PROVEN_BY if self.doubt(now) else 1):
            self._prove(now)

    def wait_s(self, now: float) -> float:
        """Until the next ping."""
        return DOUBTFUL_EVERY_S if self.doubt(now) else TRUSTED_EVERY_S

    def _prove(self, now: float) -> None:
        self.proven_at, self.reason = now, SLOW
