"""The sink's worker over a crash of the broker it reads from, and over a long time without one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from structlog.testing import capture_logs

from actors.context import Status
from actors.topics import ensure
from stream.broker.ports import free_pair
from tests.kit.kafka_server import BUDGET, make
from tests.kit.records import series
from tests.kit.sink_worker import Source, rows, stored, stored_is, worker_config, working
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
        async with working(config) as context:
            await until(lambda: context.counters.get("connects_total"), 30)
            async with Source(bootstrap, tmp_path) as source:
                await source.readings("telemetry.clean", series(), rows(0, 500))
                await until(stored_is(database, 500), 30)
            await broker.kill()
            await broker.start()
            async with Source(bootstrap, tmp_path) as source:
                await source.readings("telemetry.clean", series(), rows(500, 500), 1)
            await until(stored_is(database, 1000), 60)
            await until(lambda: context.status is Status.HEALTHY)
        assert stored(database) == (1000, 1000), "nothing lost, and no value twice"
    finally:
        await broker.kill()


async def test_an_outage_of_the_stream_is_logged_once_for_each_reason_and_when_it_ends(
    database: str, unique: Callable[[str], str], tmp_path: Path
) -> None:
    port = free_pair()
    broker = make(tmp_path / "broker", port)
    config = worker_config(f"127.0.0.1:{port}", tmp_path, unique("s"), ["telemetry.clean"], database, partitions=2)
    with capture_logs() as logs:
        try:
            async with working(config) as context:
                await until(lambda: context.counters.get("stream_lost_total", 0) >= 3, 30)
                lost = [entry["reason"] for entry in logs if entry["event"] == "sink_lost_stream"]
                assert len(lost) == len(set(lost)), "each reason once, however often it was tried"
                assert f"no Kafka broker answers at 127.0.0.1:{port}; right would be" in lost[0]
                assert not [entry for entry in logs if entry["event"] == "sink_has_stream_again"]
                await broker.start()
                await ensure(broker.place.bootstrap, BUDGET, 2)
                await until(lambda: [entry for entry in logs if entry["event"] == "sink_has_stream_again"], 60)
                await until(lambda: context.status is Status.HEALTHY)
        finally:
            await broker.kill()
    assert [entry["after_s"] > 0 for entry in logs if entry["event"] == "sink_has_stream_again"] == [True]
