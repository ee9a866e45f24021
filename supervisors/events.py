"""What has happened and is not decided yet. More than one event waits only while the supervisor acts on a decision, as when a launch fails.

The policy: an event that equals one that waits already says nothing new and is left out (counted). So no more can wait than there are
different things to say of the children; a supervisor with EVENTS_MOST of them has lost its way, and crashes to be started again.
"""

from __future__ import annotations

from collections import deque

from supervisors.state import Event

EVENTS_MOST = 1000


class Overrun(Exception):
    """More events wait than can be."""


class Events:
    """Of one supervisor."""

    def __init__(self) -> None:
        self._waiting: deque[Event] = deque()
        self.doubled = 0
        """Left out, since the same waited already."""
        self.most = 0
        """So many have waited at once."""

    def add(self, event: Event) -> None:
        """Raises Overrun."""
        if event in self._waiting:
            self.doubled += 1
            return
        if len(self._waiting) >= EVENTS_MOST:
            raise Overrun(f"{EVENTS_MOST} events wait for a decision, the newest is {event}")
        self._waiting.append(event)
        self.most = max(self.most, len(self._waiting))

    def next(self) -> Event | None:
        """The oldest, which waits no longer; None when all are decided."""
        return self._waiting.popleft() if self._waiting else None

    def figures(self) -> dict[str, dict[str, float]]:
        """For the supervisor's node in the tree."""
        return {"counters": {"events_doubled_total": self.doubled}, "gauges": {"events_most": self.most}}
