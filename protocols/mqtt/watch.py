"""Asks the broker, in pings, whether its queue is empty; freshness.py says when to ask and what the answers mean."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from protocols.mqtt.freshness import Freshness


class Watch:
    """Of one connection. Unless started it asks nothing and doubts nothing."""

    def __init__(self, ping: Callable[[], int], unacknowledged: Callable[[], int]) -> None:
        """`ping` sends one behind all acknowledgements and returns its number."""
        self.ping, self.unacknowledged = ping, unacknowledged
        self.loop = asyncio.get_running_loop()
        self.freshness = Freshness()
        self.timer: asyncio.TimerHandle | None = None
        self.stopped = False
        self.question: int | None = None
        """The ping whose answer is still to come."""

    def start(self, *, session_present: bool) -> None:
        self.freshness.opened(self.loop.time(), session_present=session_present)
        self._ask()

    def doubt(self) -> str | None:
        """Why a message that comes now may be old, or None."""
        return self.freshness.doubt(self.loop.time()) if self.timer else None

    def message(self) -> None:
        """One of QoS 1 or 2 came."""
        self.freshness.message(self.unacknowledged())

    def answered(self, number: int) -> None:
        """A ping was answered."""
        if number == self.question:
            self.question = None
            self.freshness.answered(self.loop.time())

    def stop(self) -> None:
        self.stopped = True
        if self.timer:
            self.timer.cancel()

    def _ask(self) -> None:
        if self.stopped:
            return
        if self.question is None:
            self.freshness.asks(self.unacknowledged())
            self.question = self.ping()
        self.timer = self.loop.call_later(self.freshness.wait_s(self.loop.time()), self._ask)
