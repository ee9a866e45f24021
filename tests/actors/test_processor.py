"""The stages' runtime on a real broker: what it writes, and what it does about records and offsets that are not as they should be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from actors import processor
from actors.context import Context, Status
from pipeline.contract import Outputs
from pipeline.validator import Validator
from schemas.records import Quality, Records
from stream.consumer import StreamConsumer
from stream.producer import StreamLost
from tests.kit.ports import free_port
from tests.kit.records import NOON, series
from tests.kit.sink_worker import Source
from tests.kit.stage_worker import assets, readings, stage_config, working, written
from tests.kit.waiting import until

Unique = Callable[[str], str]
SECOND = 1_000_000


def rows(first: int, n: int) -> list[tuple[int, float]]:
    """One reading a second whose value is its number."""
    return [(NOON + i * SECOND, float(i)) for i in range(first, first + n)]


async def test_readings_go_on_judged_and_refused_ones_to_the_dead_letters(
    stage_kafka: str, unique: Unique, tmp_path: Path
) -> None:
    asset = next(assets(unique("judged"), 10))
    rules = [{"match": {"asset": asset}, "range": {"max": 98}, "gap": {"expected": "1s"}, "time": {"skewed": "GOOD"}}]
    config = stage_config(stage_kafka, tmp_path, "validator", 10, rules=rules)
    async with Source(stage_kafka, tmp_path) as source, working(config) as context:
        await source.readings("telemetry.raw", series(asset), [*rows(0, 100), *rows(110, 1)], 10)
        await source.readings("events.raw", series(asset), [(NOON, True), (NOON + SECOND, False)], 10)
        await until(lambda: context.counters.get("read_total", 0) >= 103)
        assert context.status is Status.HEALTHY
        assert context.counters['refused_total{rule="range"}'] == 2
    clean, _ = await written(stage_kafka, tmp_path, ["telemetry.clean"], [10], asset)
    assert readings(clean) == [(asset, "speed", at, value, 0) for at, value in rows(0, 99)]
    events, documents = await written(stage_kafka, tmp_path, ["events.clean"], [10], asset)
    assert [value for _, _, _, value, _ in readings(events)] == [1.0, 0.0]
    # 99 and 110 were refused: the gap is from 98 on, but nothing accepted has ended it.
    assert documents == []
    _, letters = await written(stage_kafka, tmp_path, ["dlq.telemetry"], [10], asset)
    assert [(x.fields["rule"], x.fields["reason"]) for x in letters] == [
        ("range", "range: 99 is above 98"),
        ("range", "range: 110 is above 98"),
    ]
    assert letters[0].fields["offset"] + 1 == letters[1].fields["offset"]


async def test_a_gap_becomes_an_event(stage_kafka: str, unique: Unique, tmp_path: Path) -> None:
    asset = next(assets(unique("gap"), 2))
    config = stage_config(stage_kafka, tmp_path, "validator", 2, rules=[{"gap": {"expected": "1s"}}])
    async with Source(stage_kafka, tmp_path) as source, working(config) as context:
        await source.readings("telemetry.raw", series(asset), [*rows(0, 3), *rows(12, 3)], 2)
        await until(lambda: context.counters.get("events_total") == 1)
    _, documents = await written(stage_kafka, tmp_path, ["events.clean"], [2], asset)
    assert [(d.fields["kind"], d.fields["details"]["missing_samples"]) for d in documents] == [("gap", 9)]


async def test_a_restart_remembers_and_counts_nothing_twice(stage_kafka: str, unique: Unique, tmp_path: Path) -> None:
    asset = next(assets(unique("again"), 3))
    config = stage_config(stage_kafka, tmp_path, "validator", 3)
    async with Source(stage_kafka, tmp_path) as source:
        async with working(config) as context:
            await source.readings("telemetry.raw", series(asset), rows(0, 20), 3)
            await until(lambda: context.counters.get("read_total", 0) >= 20)
        async with working(config) as context:
            # Redelivered, and then something new.
            await source.readings("telemetry.raw", series(asset), rows(0, 25), 3)
            await until(lambda: context.counters.get("read_total", 0) >= 25)
            assert context.counters['refused_total{rule="duplicate"}'] == 20
            assert context.counters["read_total"] == 25
    clean, _ = await written(stage_kafka, tmp_path, ["telemetry.clean"], [3], asset)
    assert [value for _, _, _, value, _ in readings(clean)] == [float(i) for i in range(25)]


async def test_windows_are_written_though_nothing_follows_and_survive_a_restart(
    stage_kafka: str, unique: Unique, tmp_path: Path
) -> None:
    asset = next(assets(unique("window"), 10))
    config = stage_config(stage_kafka, tmp_path, "aggregator", 10)

    async def newest(interval: str) -> list[dict[str, Any]]:
        _, documents = await written(stage_kafka, tmp_path, [f"telemetry.{interval}"], [10], asset)
        windows = {document.fields["window_start"]: document.fields for document in documents}
        return [windows[start] for start in sorted(windows)]

    async with Source(stage_kafka, tmp_path) as source:
        async with working(config) as context:
            await source.readings("telemetry.clean", series(asset), rows(0, 5), 10)
            await until(lambda: context.counters.get("read_total", 0) >= 5)
        async with working(config):
            await source.readings("telemetry.clean", series(asset), rows(5, 5), 10)

            async def whole() -> bool:
                return [f["count"] for f in await newest("1min")] == [10]

            await until(whole)
    assert [f["avg"] for f in await newest("1s")] == list(range(10))
    assert [(f["count"], f["p50"]) for f in await newest("10s")] == [(10, 4.5)]


async def test_what_cannot_be_decoded_is_set_aside(stage_kafka: str, unique: Unique, tmp_path: Path) -> None:
    asset = next(assets(unique("junk"), 5))
    config = stage_config(stage_kafka, tmp_path, "validator", 5)
    async with Source(stage_kafka, tmp_path) as source, working(config) as context:
        await source.readings("telemetry.raw", series(asset), rows(0, 2), 5)
        await source.wires("telemetry.raw", [b"\0junk" + asset.encode()], 5)
        await source.readings("telemetry.raw", series(asset), rows(2, 2), 5)
        await until(lambda: context.counters.get("read_total", 0) >= 5)
        assert context.counters['refused_total{rule="decode"}'] == 1
    clean, _ = await written(stage_kafka, tmp_path, ["telemetry.clean"], [5], asset)
    assert len(readings(clean)) == 4


class Fragile(Validator):
    """Cannot stand a value of 13."""

    def step(self, partition: int, records: Records, arrived_at: int) -> Outputs:
        if (records.number == 13).any():
            raise RuntimeError("13")
        return super().step(partition, records, arrived_at)


async def test_a_record_that_crashes_the_stage_is_set_aside_undecoded(
    stage_kafka: str, unique: Unique, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(processor.STAGES, "validator", lambda _config: Fragile())
    asset = next(assets(unique("fragile"), 6))
    config = stage_config(stage_kafka, tmp_path, "validator", 6)
    async with Source(stage_kafka, tmp_path) as source:
        await source.readings("telemetry.raw", series(asset), rows(0, 30), 6)
    crashes = 0
    while True:
        try:
            async with working(config) as context:
                await until(
                    lambda: context.counters.get("read_total", 0) >= 30 or context.stopping.is_set() or crashed()
                )
        except RuntimeError:
            crashes += 1
            continue
        break
    assert crashes == 2
    clean, _ = await written(stage_kafka, tmp_path, ["telemetry.clean"], [6], asset)
    assert [value for _, _, _, value, _ in readings(clean)] == [float(i) for i in range(30) if i != 13]
    assert context.counters['refused_total{rule="poison"}'] == 1


def crashed() -> bool:
    """Has the only worker of this loop ended?"""
    return not any(task.get_coro().__name__ == "run" for task in asyncio.all_tasks() if task.get_coro())


async def test_of_two_with_one_name_the_older_is_fenced(stage_kafka: str, unique: Unique, tmp_path: Path) -> None:
    asset = next(assets(unique("twin"), 7))
    config = stage_config(stage_kafka, tmp_path, "validator", 7)
    async with Source(stage_kafka, tmp_path) as source:
        older = Context(id="older", config=config)
        task = asyncio.create_task(processor.run(older))
        await until(lambda: older.status is Status.HEALTHY)
        async with working(config) as newer:
            await until(lambda: newer.status is Status.HEALTHY)
            await source.readings("telemetry.raw", series(asset), rows(0, 100), 7)
            with pytest.raises(StreamLost):
                async with asyncio.timeout(30):
                    await task
            await until(lambda: newer.counters.get("read_total", 0) >= 100)
    clean, _ = await written(stage_kafka, tmp_path, ["telemetry.clean"], [7], asset)
    assert [value for _, _, _, value, _ in readings(clean)] == [float(i) for i in range(100)]


async def test_offsets_outside_the_log_are_told_and_left_behind(
    stage_kafka: str, unique: Unique, tmp_path: Path
) -> None:
    asset = next(assets(unique("off"), 9))
    config = stage_config(stage_kafka, tmp_path, "validator", 9)
    place = ("telemetry.raw", 9)
    group = StreamConsumer(stage_kafka, "commit", "sf-validator")
    await group.start()
    async with Source(stage_kafka, tmp_path) as source:
        await source.readings(place[0], series(asset), rows(0, 50), 9)
        end = (await group.ends([place]))[place]
        group.assign({place: end})
        await group.commit({place: end - 50})
        admin = AIOKafkaAdminClient(bootstrap_servers=stage_kafka)
        await admin.start()
        await admin.delete_records({TopicPartition(*place): RecordsToDelete(before_offset=end - 20)})
        await admin.close()
        async with working(config) as context:
            await until(lambda: context.counters.get("read_total", 0) >= 20)
            assert context.counters["lost_total"] == 30
            assert "deleted before they were processed" in context.facts["off_the_log"][0]
        await group.commit({place: end + 7})
        async with working(config) as context:
            await until(lambda: context.status is Status.HEALTHY)
            assert "it lost its tail" in context.facts["off_the_log"][0]
            await source.readings(place[0], series(asset), rows(50, 5), 9)
            await until(lambda: context.counters.get("read_total", 0) >= 5)
    await group.stop()
    clean, _ = await written(stage_kafka, tmp_path, ["telemetry.clean"], [9], asset)
    assert [value for _, _, _, value, _ in readings(clean)] == [float(i) for i in range(30, 55)]


async def test_without_a_stream_it_waits_and_says_so(tmp_path: Path) -> None:
    config = stage_config(f"127.0.0.1:{free_port()}", tmp_path, "validator", 10)
    async with working(config) as context:
        await until(lambda: context.status is Status.DEGRADED)
        assert "the local stream does not answer since" in (context.reason or "")
        assert "says of the stream" in (context.next_step or "")  # to restart this one would help nobody


async def test_a_reading_that_grew_too_large_goes_to_the_dead_letters(
    stage_kafka: str, unique: Unique, tmp_path: Path
) -> None:
    asset = next(assets(unique("large"), 11))
    rules = [{"type": {"type": "number", "quality": "SUSPECT"}}]
    config = stage_config(stage_kafka, tmp_path, "validator", 11, rules=rules)
    async with Source(stage_kafka, tmp_path) as source, working(config) as context:
        await source.readings("telemetry.raw", series(asset), [(NOON, "x" * 999_850), (NOON + SECOND, 1.0)], 11)
        await until(lambda: context.counters.get("read_total", 0) >= 2)
        assert context.counters['refused_total{rule="too_large"}'] == 1
    clean, _ = await written(stage_kafka, tmp_path, ["telemetry.clean"], [11], asset)
    assert [(value, quality) for _, _, _, value, quality in readings(clean)] == [(1.0, Quality.UNCERTAIN)]
