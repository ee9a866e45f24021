"""The sink's worker over a crash of the broker it reads from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from actors.context import Status
from actors.topics import ensure
from tests.kit.kafka_server import BUDGET, make
from tests.kit.postgres import query
from tests.kit.records import series
from tests.kit.sink_worker import Source, rows, worker_config, working
from tests.kit.waiting import until


async def test_a_broker_that_crashes_is_waited_for_and_nothing_is_lost_or_doubled(
    database: str, unique: Callable[[str], str], tmp_path: Path
) -> None:
    broker = make(tmp_path / "broker")
    await broker.start()
    try:
        bootstrap = broker.place.bootstrap
        await ensure(bootstrap, BUDGET, 2)
        config = worker_config(bootstrap, tmp_path, unique("s"), ["telemetry.clean"], database, partitions=2)

        async def stored() -> int:
            return (await asyncio.to_thread(query, database, "SELECT count(*) FROM readings"))[0][0]

        async with working(config) as context:
            await until(lambda: context.counters.get("connects_total"), 30)
            async with Source(bootstrap, tmp_path) as source:
                await source.readings("telemetry.clean", series(), rows(0, 500))

                async def first() -> bool:
                    return await stored() == 500

                await until(first, 30)
            await broker.kill()
            await broker.start()
            async with Source(bootstrap, tmp_path) as source:
                await source.readings("telemetry.clean", series(), rows(500, 500), 1)

            async def second() -> bool:
                return await stored() == 1000

            await until(second, 60)
            await until(lambda: context.status is Status.HEALTHY)
    finally:
        await broker.kill()
