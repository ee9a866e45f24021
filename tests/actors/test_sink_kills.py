"""The sink's process killed while it works."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

from tests.kit.postgres import query
from tests.kit.records import series
from tests.kit.sink_bench import SinkBench
from tests.kit.sink_worker import (
    dead_letters,
    rows,
    start_worker,
    stored,
    stored_is,
    working,
)
from tests.kit.waiting import until

Unique = Callable[[str], str]
AHEAD_MOST = 5000
"""So many wait for the worker at most, else a slow machine has more to catch up with than a fast one."""


async def test_kill_9_at_random_instants_doubles_and_loses_nothing(bench: SinkBench, database: str) -> None:
    chance = random.Random(3)
    topic, config = await bench.on_a_topic(database, partitions=2, batch_records=700)
    async with bench.source() as source:
        async with working(config) as context:
            stage = context.id
            await until(lambda: context.counters.get("connects_total"))
        query(database, "ALTER TABLE readings ADD CONSTRAINT odd CHECK (value::bigint % 1000 <> 999)")
        written = 0
        for _ in range(6):
            before, process = stored(database)[0], await start_worker(config)
            reached = before + chance.randrange(1, 1500)
            end = time.monotonic() + 60
            while (now := (await asyncio.to_thread(stored, database))[0]) < reached:
                assert time.monotonic() < end, "it was to be killed while it works"
                if written - now < AHEAD_MOST:
                    await source.readings(topic, series(), rows(written, 500), (written // 500) % 2)
                    written += 500
            process.kill()
            process.wait(10)
        good = written - written // 1000
        async with working(config):
            await until(stored_is(database, good), 30)
            await until(lambda: query(database, "SELECT count(*) FROM streamforge_refused") == [(0,)])
    letters = await dead_letters(bench.kafka, bench.directory, stage)
    places = [(f["partition"], f["offset"]) for f in letters]
    assert len(places) == len(set(places)) == written // 1000
