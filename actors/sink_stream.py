"""From the loss of the local stream to its return, in a sink's log: each reason once, and the end.

The status shows every attempt; a log that repeats itself every few seconds hides what else happens. Not responsible for waiting.
"""

from __future__ import annotations

import time

import structlog

log = structlog.get_logger()


class StreamAway:
    """One sink's view. `lost` at every failure, `back` whenever the stream has answered."""

    def __init__(self) -> None:
        self._since = 0.0
        self._told: set[str] = set()

    def lost(self, reason: str, pause_s: float) -> None:
        if not self._told:
            self._since = time.monotonic()
        if reason not in self._told:
            self._told.add(reason)
            log.warning("sink_lost_stream", reason=reason, pause_s=round(pause_s, 1))

    def back(self) -> None:
        if self._told:
            self._told.clear()
            log.info("sink_has_stream_again", after_s=round(time.monotonic() - self._since, 1))
