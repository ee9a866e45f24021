"""When the Modbus adapter asks: intervals, missed polls, pauses, parts of a long poll, cancellation."""

from __future__ import annotations

import asyncio
import time

import pytest

from protocols.contract import NotConnected
from tests.kit import waiting
from tests.kit.modbus_server import honest, liar
from tests.protocols.modbus_reading import reading, register, until

ANSWER_S, SLOWER_THAN_INTERVAL_S, LONG_ANSWER_S = 0.002, 0.12, 0.3
"""The device's times to answer."""


async def test_several_intervals_each_keep_their_own_grid():
    async with liar() as one:
        points = [register(0, every="50ms"), register(100, every="200ms"), register(200, every="10s")]
        async with reading(one.port, *points) as adapter:
            began = time.monotonic()
            found = await until(adapter, lambda found: sum(r.value == 0 for r in found) == 21)
            took = time.monotonic() - began
            missed = adapter.health().counters["missed_polls_total"]
        counts = [sum(r.value == value for r in found) for value in (0, 100, 200)]
        assert counts[2] == 1
        assert counts[1] <= took / 0.2 + 1
        # What a busy machine could not do in time is missed and counted; nothing comes early and nothing is forgotten.
        grid = took / 0.05 + 1 + took / 0.2 + 1
        assert counts[0] + counts[1] + missed == pytest.approx(grid, abs=2)
        assert took > 0.95


async def test_polls_that_cannot_be_done_in_time_are_counted_and_not_piled_up():
    async def slow(request, writer):
        await asyncio.sleep(SLOWER_THAN_INTERVAL_S)
        await honest(request, writer)

    async with liar(slow) as one, reading(one.port, register(0), every="50ms") as adapter:
        began = time.monotonic()
        for _ in range(6):
            await adapter.read()
        grid = int((time.monotonic() - began) / 0.05)
        missed = adapter.health().counters["missed_polls_total"]
        assert abs(missed + 6 - (grid + 1)) <= 1
        assert len(one.requests) == 6


async def test_the_pause_between_requests_is_kept():
    async with liar() as one, reading(one.port, *(register(n * 50) for n in range(5)), delay="30ms") as adapter:
        began = time.monotonic()
        await adapter.read()
        assert time.monotonic() - began >= 4 * 0.03


async def test_never_more_than_one_request_is_in_flight():
    flying = most = 0

    async def reply(request, writer):
        nonlocal flying, most
        flying += 1
        most = max(most, flying)
        await asyncio.sleep(ANSWER_S)
        flying -= 1
        await honest(request, writer)

    points = [register(n * 50, unit_id=unit) for n in range(4) for unit in (1, 2)]
    async with liar(reply) as one, reading(one.port, *points, every="20ms") as adapter:
        for _ in range(10):
            await adapter.read()
        assert most == 1


async def test_a_long_poll_hands_its_readings_over_before_they_are_old():
    async def slow(request, writer):
        await asyncio.sleep(LONG_ANSWER_S)
        await honest(request, writer)

    async with liar(slow) as one, reading(one.port, *(register(n * 50) for n in range(6))) as adapter:
        batches = [await adapter.read(), await adapter.read()]
        first, rest = [len(batch.readings) for batch in batches]
        assert first in {2, 3, 4}, "as many as came within a second"
        assert first + rest == 6


async def test_a_cancelled_read_loses_nothing_that_only_changes():
    """An EVENT's change that was read but not handed over must come with the next read."""

    async def slow(request, writer):
        if request.start == 100:
            await asyncio.sleep(LONG_ANSWER_S)
        await honest(request, writer)

    event = register(7, bit=0, type="bool", classification="EVENT")
    async with liar(slow) as one, reading(one.port, event, register(100)) as adapter:
        task = asyncio.ensure_future(adapter.read())
        await waiting.until(lambda: len(one.requests) >= 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        found = await until(adapter, lambda found: len(found) >= 2)
        assert [r.value for r in found if r.point.parameter == "p0"] == [True]
        assert 100 in {r.value for r in found}
        assert adapter.health().degraded == [], "the answer nobody waited for does not make the device slow"


async def test_a_device_that_goes_during_a_long_interval_is_noticed_at_once():
    async with liar() as one, reading(one.port, register(0), every="1h") as adapter:
        await adapter.read()
        one.leave()
        async with asyncio.timeout(30):
            with pytest.raises(NotConnected, match="refused the connection"):
                await adapter.read()
