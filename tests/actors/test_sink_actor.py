"""The sink's worker between a real Kafka and a real PostgreSQL, while all is well or merely slow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from actors.context import Context, Status
from actors.sink import run
from stream.consumer import StreamConsumer
from tests.kit.ports import free_port
from tests.kit.postgres import query
from tests.kit.records import aggregate, event, series
from tests.kit.sink_bench import SinkBench
from tests.kit.sink_worker import (
    rows,
    stored_is,
    worker_config,
    working,
)
from tests.kit.waiting import until

Unique = Callable[[str], str]
LOOK_EVERY_S = 0.005


async def test_readings_and_documents_arrive_and_are_counted(bench: SinkBench, kafka: str, database: str) -> None:
    topic, other = await bench.new_topic(partitions=2), await bench.new_topic(partitions=2)
    config = bench.config([topic, other], database, partitions=2)
    async with bench.source() as source, working(config) as context:
        await source.readings(topic, series("a"), rows(0, 500), 0)
        await source.readings(topic, series("b"), rows(500, 500), 1)
        await source.document(other, aggregate(), 1)
        await source.document(other, event(), 0)
        await until(stored_is(database, 1000))
        await until(lambda: context.counters.get(f'stored_total{{topic="{other}"}}') == 2)
        await until(lambda: context.gauges.get(f'lag{{topic="{topic}"}}') == 0)
        await until(lambda: context.counters.get(f'stored_total{{topic="{topic}"}}') == 1000)
        assert context.status is Status.HEALTHY
        assert context.facts["breaker"]["state"] == "closed"
        assert sum(n for name, n in context.counters.items() if name.startswith("latency_ms_total")) == 1000
        assert 0 < context.gauges["latency_p50_ms"] <= context.gauges["latency_p99_ms"] < 20_000
    assert query(database, "SELECT (SELECT count(*) FROM aggregates), (SELECT count(*) FROM events)") == [(1, 1)]
    consumer = StreamConsumer(kafka, "look", f"sf-sink-{config['sink']['id']}")
    await consumer.start()
    assert await consumer.committed([(topic, 0), (topic, 1)]) == {(topic, 0): 500, (topic, 1): 500}
    await consumer.stop()


async def test_memory_stays_bounded_while_the_database_is_slow(bench: SinkBench, database: str) -> None:
    topic, config = await bench.on_a_topic(database, batch_records=200)
    async with bench.source() as source, working(config) as context:
        for n in range(10):
            await source.readings(topic, series(), rows(1000 * n, 1000))
        await until(stored_is(database, 10_000))
        await until(lambda: context.counters["batches_total"] >= 50)
        assert context.gauges["batch_records"] <= 200


async def test_stopping_finishes_what_is_under_way_and_the_next_one_goes_on(bench: SinkBench, database: str) -> None:
    topic, config = await bench.on_a_topic(database, batch_records=500)
    async with bench.source() as source:
        for n in range(10):
            await source.readings(topic, series(), rows(1000 * n, 1000))
        async with working(config) as context:
            await until(lambda: context.counters.get("batches_total"))
            began = time.monotonic()
        assert time.monotonic() - began < 10, "a batch, and not all that waits"
        assert query(database, 'SELECT count(*) = max(o."offset") FROM readings, streamforge_offsets o') == [(True,)]
        async with working(config):
            await until(stored_is(database, 10_000))


async def test_the_loop_stays_free_at_full_load(bench: SinkBench, database: str) -> None:
    topic, config = await bench.on_a_topic(database, partitions=4)
    async with bench.source() as source:
        for n in range(20):
            await source.readings(topic, series(), rows(2000 * n, 2000), n % 4)
        busy: list[float] = []
        async with working(config) as context:
            await until(lambda: context.counters.get("connects_total"))  # before that modules are imported
            watching = asyncio.create_task(_watch_loop(busy))
            await until(stored_is(database, 40_000), 30)
            watching.cancel()
        assert max(busy) < 0.25, "0.04 where this was written"


async def _watch_loop(busy: list[float]) -> None:
    """CPU seconds of the loop's thread between two looks: unlike the time of day, it does not see who else uses the machine."""
    while True:
        before = time.thread_time()
        await asyncio.sleep(LOOK_EVERY_S)
        busy.append(time.thread_time() - before)


async def test_a_stream_away_is_waited_for(database: str, unique: Unique, tmp_path: Path) -> None:
    context = Context(
        id="data_path/sinks/x",
        config=worker_config(f"127.0.0.1:{free_port()}", tmp_path, unique("s"), ["telemetry.clean"], database),
    )
    task = asyncio.create_task(run(context))
    await until(lambda: context.counters.get("stream_lost_total"))
    assert context.status is Status.DEGRADED
    assert "local stream could not start" in (context.reason or "")
    context.stopping.set()
    async with asyncio.timeout(30):
        await task
