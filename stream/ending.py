"""Ending what may never end.

aiokafka swallows a cancellation while it closes (its client, its fetcher, its sender), so that a deadline by asyncio.timeout alone can pass
unheard. Not responsible for what was lost by it: whoever ends something here has given it up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

CANCELS = 10
CANCEL_EVERY_S = 0.2


async def ended(work: Awaitable[Any], within_s: float) -> bool:
    """Did it end by itself and without an error in this time? Else it is cancelled again and again, and left behind at last."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=within_s)
        in_time = task.done()
    finally:
        for _ in range(CANCELS):
            if task.done():
                break
            task.cancel()
            await asyncio.wait({task}, timeout=CANCEL_EVERY_S)
    return not _failed(task) and in_time


def _failed(task: asyncio.Future[Any]) -> bool:
    """Looks at the error too, or asyncio complains that nobody did."""
    return not task.done() or task.cancelled() or task.exception() is not None
