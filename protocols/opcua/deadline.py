"""The deadline around asyncua's calls. Not responsible for what a call that is late means."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def within(seconds: float | None) -> AsyncIterator[None]:
    """As `asyncio.timeout`, whose TimeoutError must be the only end of a call that is late.

    Before Python 3.12 asyncua waits with wait_for2. When an answer comes at the very moment of the deadline, that raises a kind of
    CancelledError of its own, which `asyncio.timeout` takes for somebody's wish to cancel this task: the reader would end without a word.
    """
    async with asyncio.timeout(seconds):
        try:
            yield
        except asyncio.CancelledError as cancelled:
            if type(cancelled) is asyncio.CancelledError:
                raise
            raise asyncio.CancelledError from None
