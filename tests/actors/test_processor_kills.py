"""Validator and aggregator, each killed with -9 at random instants while readings flow: every reading once, every window whole."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from pipeline.aggregator import Aggregator
from pipeline.intervals import MINUTE, SECOND
from schemas.records import Records, Series
from stream.codec import SchemaIds, Template
from stream.consumer import StreamConsumer
from stream.producer import Parcel, StreamProducer
from tests.kit.records import series
from tests.kit.stage_worker import assets, stage_config, written
from tests.kit.waiting import until

WORKERS, PARTITIONS = 4, [0, 4, 8]
BATCH = 50
BATCHES_MOST = 1200
"""In each partition; more than flow while the kills last, and less than the time of day has room for."""
POINTS = 5
"""In each partition."""
KILLS = 8
EACH_S = 0.1
"""Time between two batches of one partition."""


class Worker:
    """One worker in a process of its own, started again whenever it ends, as its supervisor would."""

    def __init__(self, config: dict, log: Path) -> None:
        self._config, self._log = json.dumps(config), log
        self._process: asyncio.subprocess.Process | None = None
        self.crashes = 0

    async def live(self) -> None:
        """Until cancelled."""
        with self._log.open("wb") as log:
            while True:
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "tests.kit.stage_worker", self._config, stderr=log
                )
                try:
                    self.crashes += await self._process.wait() != -signal.SIGKILL
                finally:
                    self.kill()
                    await self._process.wait()

    def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()


@asynccontextmanager
async def living(workers: list[Worker]) -> AsyncIterator[None]:
    lives = [asyncio.create_task(worker.live()) for worker in workers]
    try:
        yield
    finally:
        for life in lives:
            life.cancel()
        await asyncio.wait(lives)


async def feed(kafka: str, directory: Path, points: dict[int, list[Series]], enough: asyncio.Event) -> int:
    """Readings over all points, in order for each: value i at device time i tenths of a second. How many each point has had."""
    reading_id = SchemaIds(directory / "schemas.json").id_of("reading")
    producer = StreamProducer(kafka, "feed")
    await producer.start()
    # The last of them just gone by, so that all windows but the hour's are over when everything is read.
    begin = (time.time_ns() // 1000 // MINUTE - 22) * MINUTE
    batches = 0
    while batches < BATCHES_MOST and not enough.is_set():
        first, parcels = batches * BATCH, []
        for partition, own in points.items():
            templates = [Template(one, reading_id) for one in own]
            wires, keys = [], []
            for i in range(first, first + BATCH):
                at, point = divmod(i, len(own))
                time_us = begin + at * SECOND // 10
                wires.append(templates[point].encode(float(at), time_us, time_us))
                keys.append(own[point].asset.encode())
            parcels.append(Parcel("telemetry.raw", partition, keys, wires, (begin + at * SECOND // 10) // 1000))
        await producer.send(parcels)
        batches += 1
        await asyncio.sleep(EACH_S)  # the plant's pace
    await producer.stop()
    assert enough.is_set(), "nothing was flowing any more when the last worker was killed"
    return batches * BATCH // POINTS


async def drained(kafka: str, directory: Path, stage: str, topic: str) -> bool:
    consumer = StreamConsumer(kafka, "drained", f"sf-{stage}")
    await consumer.start()
    try:
        places = [(topic, p) for p in PARTITIONS]
        committed, ends = await consumer.committed(places), await consumer.ends(places)
        # Behind the last reading there may be the mark of the transaction that wrote it.
        return all((committed[p] or 0) >= ends[p] - 1 for p in places)
    finally:
        await consumer.stop()


async def working_again(kafka: str, stage: int) -> None:
    """Wait for its next commits: a worker that is killed while it still starts proves little."""
    name, topic = [("validator", "telemetry.raw"), ("aggregator", "telemetry.clean")][stage]
    consumer = StreamConsumer(kafka, "working", f"sf-{name}")
    await consumer.start()
    places = [(topic, p) for p in PARTITIONS]

    async def at() -> int:
        return sum(offset or 0 for offset in (await consumer.committed(places)).values())

    try:
        begun = await at()

        async def moved() -> bool:
            return await at() > begun

        await until(moved)
    finally:
        await consumer.stop()


def expected(clean: list[Records]) -> dict:
    """The newest documents of an aggregator that nobody killed, over the very same log."""
    pure, newest = Aggregator(), {}
    for records in clean:
        for document in pure.step(records.partition, records, 0).documents:
            newest[key(document.fields)] = document.fields
    for seconds in (0, 3, 10_000):
        for document in pure.tick(time.time_ns() // 1000 + seconds * SECOND).documents:
            newest[key(document.fields)] = document.fields
    return newest


def key(fields: dict) -> tuple:
    return fields["asset_id"], fields["interval"], fields["window_start"]


@pytest.mark.timeout(300)
@pytest.mark.xdist_group("stages of partitions 0, 4, 8")
async def test_killed_again_and_again_nothing_is_missing_or_doubled(
    stage_kafka: str, unique: Callable[[str], str], tmp_path: Path
) -> None:
    name = unique("kills")
    points = {p: [series(asset) for _, asset in zip(range(POINTS), assets(name, p), strict=False)] for p in PARTITIONS}
    options = {"processing": {"transaction_every": "50ms", "snapshot_every": "1s"}, "aggregates": ["1s", "10s", "1min"]}
    workers = [
        Worker(stage_config(stage_kafka, tmp_path, stage, 0, WORKERS, **options), tmp_path / f"{stage}.log")
        for stage in ("validator", "aggregator")
    ]
    async with living(workers):
        enough, dice = asyncio.Event(), random.Random(4)
        feeding = asyncio.create_task(feed(stage_kafka, tmp_path, points, enough))
        for n in range(KILLS):
            await working_again(stage_kafka, n % 2)
            await asyncio.sleep(dice.uniform(0, 0.3))  # anywhere in its transactions
            workers[n % 2].kill()
        enough.set()
        each = await feeding
        await until(lambda: drained(stage_kafka, tmp_path, "validator", "telemetry.raw"), 60)
        await until(lambda: drained(stage_kafka, tmp_path, "aggregator", "telemetry.clean"), 60)
        await compare(stage_kafka, tmp_path, name, each)
    # On a busy machine the stream may be too slow for a worker once; its like must not crash by itself.
    assert sum(worker.crashes for worker in workers) <= 2, (tmp_path / "validator.log").read_text()


async def compare(kafka: str, directory: Path, name: str, each: int) -> None:
    """Record by record; so many readings of each point."""
    clean, _ = await written(kafka, directory, ["telemetry.clean"], PARTITIONS, name)
    got = np.concatenate([records.number for records in clean])
    wanted = np.repeat(np.arange(each), POINTS * len(PARTITIONS))
    assert len(got) == len(wanted)
    assert (np.sort(got) == wanted).all()
    windows = expected(clean)

    async def all_windows() -> bool:
        _, documents = await written(
            kafka, directory, [f"telemetry.{i}" for i in ("1s", "10s", "1min")], PARTITIONS, name
        )
        newest = {key(d.fields): d.fields for d in documents}
        short = {k: f for k, f in windows.items() if k[1] != "1hour"}
        return newest.keys() >= short.keys() and all(same(newest[k], f) for k, f in short.items())

    await until(all_windows, 60)


def same(found: dict, wanted: dict) -> bool:
    return all(
        found[name] == pytest.approx(value) if isinstance(value, float) else found[name] == value
        for name, value in wanted.items()
    )
