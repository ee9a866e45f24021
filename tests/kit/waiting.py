"""How a test waits for what has no event of its own: it asks again and again, until a deadline, and says in words what it waited for.

Other sleeps in tests are part of what they simulate: a slow device, a pace of messages, a worker that is stuck.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

ASK_EVERY_S = 0.01


async def until(holds: Callable[[], Any], within_s: float = 30, tell: Callable[[], object] = str) -> Any:
    """The first answer that is true; an awaitable is awaited. What blocks belongs beside the loop (asyncio.to_thread)."""
    try:
        async with asyncio.timeout(within_s) as limit:
            while not (answer := await _answer(holds)):  # noqa: ASYNC110 - that is what this is for
                await asyncio.sleep(ASK_EVERY_S)
            return answer
    except TimeoutError:
        if not limit.expired():
            raise
        raise AssertionError(_late(within_s, tell)) from None


def wait_until(holds: Callable[[], Any], within_s: float = 30, tell: Callable[[], object] = str) -> Any:
    """The same for tests without a loop."""
    deadline = time.monotonic() + within_s
    while not (answer := holds()):
        assert time.monotonic() < deadline, _late(within_s, tell)
        time.sleep(ASK_EVERY_S)
    return answer


async def _answer(holds: Callable[[], Any]) -> Any:
    answer = holds()
    return await answer if inspect.isawaitable(answer) else answer


def _late(within_s: float, tell: Callable[[], object]) -> str:
    return f"did not come true within {within_s:g} s {tell()}".rstrip()
