"""A stage that ends between two steps of its work, at each place where that could double, lose or forget something."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from actors import processor
from actors.context import Context
from stream.consumer import StreamConsumer
from stream.producer import Partition, StreamProducer
from tests.kit.records import NOON, series
from tests.kit.sink_worker import Source
from tests.kit.stage_worker import assets, readings, stage_config, working, written
from tests.kit.waiting import until

pytestmark = pytest.mark.xdist_group("stages of partitions 0, 4, 8")
"""As test_processor_kills.py, whose partitions these are."""

Unique = Callable[[str], str]
SECOND = 1_000_000


class Ended(Exception):
    """As if the process had been killed here."""


def rows(first: int, n: int) -> list[tuple[int, float]]:
    """One reading a second whose value is its number."""
    return [(NOON + i * SECOND, float(i)) for i in range(first, first + n)]


async def ends(config: dict[str, Any]) -> None:
    """A worker runs until it ends by `Ended`."""
    async with asyncio.timeout(30):
        with pytest.raises(Ended):
            await processor.run(Context(id="ends", config=config))


async def committed(kafka: str, group: str, place: tuple[str, int]) -> tuple[int | None, int]:
    """What the group has committed of a partition, and the partition's end."""
    consumer = StreamConsumer(kafka, "look", group)
    await consumer.start()
    try:
        return (await consumer.committed([place]))[place], (await consumer.ends([place]))[place]
    finally:
        await consumer.stop()


@pytest.mark.parametrize("when", ["before", "after"])
async def test_an_end_just_before_or_after_a_commit_doubles_and_loses_nothing(
    stage_kafka: str, unique: Unique, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Outputs and offsets are one transaction: after it nothing is left to do, before it nothing was done."""
    partition = {"before": 4, "after": 8}[when]
    asset = next(assets(unique("commit"), partition))
    config = stage_config(stage_kafka, tmp_path, "validator", partition)
    commit: Callable[..., Awaitable[None]] = StreamProducer.commit

    async def last_commit(producer: StreamProducer, offsets: dict[Partition, int], group: str) -> None:
        """Of the readings: a stage that had to wait for them has written its first snapshot before."""
        if when == "after" or not offsets:
            await commit(producer, offsets, group)
        if offsets:
            raise Ended

    async with Source(stage_kafka, tmp_path) as source:
        await source.readings("telemetry.raw", series(asset), rows(0, 50), partition)
        with monkeypatch.context() as patch:
            patch.setattr(StreamProducer, "commit", last_commit)
            await ends(config)
        async with working(config) as context:
            await source.readings("telemetry.raw", series(asset), rows(50, 1), partition)
            await until(lambda: context.counters.get("read_total", 0) >= {"before": 51, "after": 1}[when])
            # Or the duplicate rule would hide a double.
            assert 'refused_total{rule="duplicate"}' not in context.counters
            assert context.counters["read_total"] == {"before": 51, "after": 1}[when]
    clean, _ = await written(stage_kafka, tmp_path, ["telemetry.clean"], [partition], asset)
    assert [value for _, _, _, value, _ in readings(clean)] == [float(i) for i in range(51)]


async def test_what_was_read_after_the_snapshot_is_replayed_into_the_state(
    stage_kafka: str, unique: Unique, tmp_path: Path
) -> None:
    """The only snapshot stands for the first reading at most; the duplicate rule must know the other nineteen as well."""
    asset = next(assets(unique("replay"), 4))
    config = stage_config(stage_kafka, tmp_path, "validator", 4, processing={"snapshot_every": "1h"})
    async with Source(stage_kafka, tmp_path) as source:
        async with working(config) as context:
            await source.readings("telemetry.raw", series(asset), rows(0, 1), 4)
            # Its only snapshot is due in its first round, after which it looks at the lag; there is none to write if the one before stands for as much.
            await until(lambda: context.counters.get("read_total") and 'lag{topic="telemetry.raw"}' in context.gauges)
            await source.readings("telemetry.raw", series(asset), rows(1, 19), 4)
            await until(lambda: context.counters["read_total"] >= 20)
        async with working(config) as context:
            await source.readings("telemetry.raw", series(asset), rows(0, 20), 4)
            await until(lambda: context.counters.get("read_total", 0) >= 20)
            assert context.counters["replayed_total"] >= 19
            assert context.counters['refused_total{rule="duplicate"}'] == 20
            assert context.counters["read_total"] == 20, "what is replayed is not counted as read"


async def test_records_that_bring_forth_nothing_are_committed_too(
    stage_kafka: str, unique: Unique, tmp_path: Path
) -> None:
    """Or a quiet aggregator would read them again after each start, and its lag would never end.

    In a partition in which no other aggregator of the tests works.
    """
    asset = next(assets(unique("quiet"), 1))
    config = stage_config(
        stage_kafka, tmp_path, "aggregator", 1, aggregates=["1hour"], processing={"snapshot_every": "1h"}
    )
    place = ("telemetry.clean", 1)
    async with Source(stage_kafka, tmp_path) as source, working(config) as context:

        async def all_committed() -> bool:
            at, end = await committed(stage_kafka, "sf-aggregator", place)
            return at == end

        now = time.time_ns() // 1000
        await source.readings(place[0], series(asset), [(now, 1.0)], 1)
        await until(lambda: context.counters.get("snapshots_total") and context.counters.get("read_total"))
        await until(all_committed)
        read = context.counters["read_total"]
        await source.readings(place[0], series(asset), [(now + i, 1.0) for i in range(1, 6)], 1)
        await until(all_committed)
        await until(lambda: context.counters["read_total"] == read + 5)
        assert context.counters["snapshots_total"] == 1, (
            "what was committed after it was committed without anything to write"
        )


async def test_a_snapshot_that_knows_more_than_was_committed_is_not_taken(
    stage_kafka: str, unique: Unique, tmp_path: Path
) -> None:
    """After a power cut under `lazy`: with it, records that will be processed again would all be duplicates."""
    asset = next(assets(unique("beyond"), 0))
    config = stage_config(stage_kafka, tmp_path, "validator", 0)
    place = ("telemetry.raw", 0)
    async with Source(stage_kafka, tmp_path) as source:
        async with working(config) as context:
            await source.readings(place[0], series(asset), rows(0, 20), 0)
            await until(lambda: context.counters.get("read_total", 0) >= 20)
            snapshots = context.counters.get("snapshots_total", 0)
            await source.readings(place[0], series(asset), rows(20, 1), 0)
            await until(lambda: context.counters["read_total"] >= 21)
            await until(lambda: context.counters.get("snapshots_total", 0) > snapshots)
        _, end = await committed(stage_kafka, "sf-validator", place)
        group = StreamConsumer(stage_kafka, "commit", "sf-validator")
        await group.start()
        group.assign({place: end})
        await group.commit({place: end - 21})
        await group.stop()
        async with working(config) as context:
            await until(lambda: context.counters.get("read_total", 0) >= 21)
            assert "beyond what was committed" in context.facts["snapshot"]
            assert 'refused_total{rule="duplicate"}' not in context.counters
    clean, _ = await written(stage_kafka, tmp_path, ["telemetry.clean"], [0], asset)
    # Twice by the test's own hand, which has set the offset back; the power cut would have taken the outputs along.
    assert [value for _, _, _, value, _ in readings(clean)] == [float(i) for i in range(21)] * 2
