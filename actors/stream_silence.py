"""A worker that waits for an answer of the local stream looks well until its deadline: this says so sooner.

Whoever asks the stream calls `heard` with each answer. Not responsible for deadlines (stream/) or for what a worker then does.
"""

from __future__ import annotations

import asyncio
import time
from datetime import datetime

from actors.context import Context, Status
from actors.surroundings import command

SILENT_S = 5.0
"""Workers ask at least every two seconds, and are answered in milliseconds."""
LOOK_EVERY_S = 0.5


class Silence:
    """Since when nothing was heard. Between `rest` and the next `heard` nobody waits for an answer."""

    def __init__(self) -> None:
        self._since: tuple[float, datetime] | None = None

    def heard(self) -> None:
        self._since = time.monotonic(), datetime.now()  # noqa: DTZ005 - shown as the time of this machine

    def rest(self) -> None:
        self._since = None

    def words(self) -> str | None:
        """A sentence once it has been too long."""
        if self._since is None or time.monotonic() - self._since[0] < SILENT_S:
            return None
        return f"the local stream has not answered since {self._since[1]:%H:%M:%S}"


async def tell(context: Context, silence: Silence, step: str) -> None:
    """For ever: DEGRADED while the stream is silent, and HEALTHY when it answers again."""
    told = False
    while True:
        words = silence.words()
        if words is not None:
            context.health(Status.DEGRADED, words, step + command("status"))
        elif told:
            context.health(Status.HEALTHY)
        told = words is not None
        await asyncio.sleep(LOOK_EVERY_S)
