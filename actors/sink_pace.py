"""How far a sink is behind, and when it will have caught up at the rate of the last half minute. Pure: time is given."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

BEHIND_S = 10.0
"""A sink whose oldest record has waited for longer than this, and longer than some batches take, is behind."""
BATCHES = 5
WINDOW_S = 30.0
ENOUGH_S = 5.0
"""A shorter look says nothing of a rate."""
STEP = "nothing to do: it goes on by itself"
SLOWER_STEP = "look at the load of the destination and at the network to it; what waits is kept until stream.disk_budget is used up"


@dataclass(frozen=True, slots=True)
class Behind:
    """What is told of a sink that is behind."""

    waiting: int
    left_s: float | None
    """Seconds until nothing waits any more; None while the waiting do not become fewer."""
    known: bool
    """Was it watched for long enough to tell?"""

    def __str__(self) -> str:
        waiting = f"{self.waiting:,}".replace(",", " ")
        if self.left_s is not None:
            return f"catching up, {waiting} records behind, about {_duration(self.left_s)} at the present rate"
        if self.known:
            return f"{waiting} records behind, and they do not become fewer: the destination takes no more than comes"
        return f"catching up, {waiting} records behind"

    @property
    def next_step(self) -> str:
        return SLOWER_STEP if self.known and self.left_s is None else STEP


class Pace:
    """Looks once a second at what waits."""

    def __init__(self, flush_every_s: float) -> None:
        self._behind_s = max(BEHIND_S, BATCHES * flush_every_s)
        self._seen: deque[tuple[float, int]] = deque()
        self.behind: Behind | None = None

    def look(self, now: float, waiting: int, oldest_s: float) -> None:
        """`oldest_s`: for how long the oldest of them has waited."""
        if not waiting or oldest_s <= self._behind_s:
            self.forget()
            return
        self._seen.append((now, waiting))
        while len(self._seen) > 2 and self._seen[1][0] <= now - WINDOW_S:
            self._seen.popleft()
        (start, before), (end, after) = self._seen[0], self._seen[-1]
        known = end - start >= ENOUGH_S
        per_s = (before - after) / (end - start) if known else 0.0
        self.behind = Behind(waiting, waiting / per_s if per_s > 0 else None, known)

    def forget(self) -> None:
        """Nothing is being delivered, or all is: rates begin anew."""
        self._seen.clear()
        self.behind = None


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    return f"{round(seconds / 3600)} h" if seconds < 72 * 3600 else f"{round(seconds / 86400)} days"
