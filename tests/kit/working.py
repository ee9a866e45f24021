"""Any worker without actors, and what stands in the stream by now."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from actors.context import Context
from stream.consumer import StreamConsumer


@asynccontextmanager
async def working(
    run: Callable[[Context], Awaitable[None]], path: str, config: dict[str, Any], stop_within_s: float
) -> AsyncIterator[Context]:
    """The worker runs meanwhile; afterwards it is stopped in order. Its crash is the test's."""
    context = Context(id=path, config=config)
    task = asyncio.ensure_future(run(context))
    try:
        yield context
    finally:
        context.stopping.set()
        async with asyncio.timeout(stop_within_s):
            await task


async def by_now(kafka: str, topics: list[str], partitions: list[int]) -> list[tuple[str, int, list[Any]]]:
    """Every committed message, in order within each partition: topic, partition, messages."""
    consumer = StreamConsumer(kafka, "by now")
    await consumer.start()
    try:
        places = [(topic, p) for topic in topics for p in partitions]
        begins, ends = await consumer.beginnings(places), await consumer.ends(places)
        consumer.assign(begins)
        found: list[tuple[str, int, list[Any]]] = []
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            found += [(*place, messages) for place, messages in (await consumer.poll(5000, 0.2)).items()]
        return found
    finally:
        await consumer.stop()
