"""A deadline is a deadline also when the answer comes at the same moment."""

from __future__ import annotations

import asyncio

import pytest

from protocols.opcua.deadline import within


class CancelledWithResult(asyncio.CancelledError):
    """As wait_for2 has one, with which asyncua waits before Python 3.12."""


async def answered_when_it_is_cancelled() -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        raise CancelledWithResult(b"the answer") from None


async def test_an_answer_at_the_moment_of_the_deadline_is_late_and_cancels_nobody() -> None:
    with pytest.raises(TimeoutError):
        async with within(0.01):
            await answered_when_it_is_cancelled()


@pytest.mark.parametrize("seconds", [None, 60])
async def test_who_is_cancelled_before_the_deadline_is_cancelled(seconds: float | None) -> None:
    begun = asyncio.Event()

    async def reading() -> None:
        async with within(seconds):
            begun.set()
            await answered_when_it_is_cancelled()

    task = asyncio.create_task(reading())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_is_in_time_is_not_touched() -> None:
    async with within(60):
        await asyncio.sleep(0)
    with pytest.raises(KeyError):
        async with within(60):
            raise KeyError
