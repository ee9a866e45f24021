"""Records that end the sink's worker, by an exception or by the death of the process: found, set aside, the others stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actors.context import Context
from actors.sink import run
from sinks.postgres.session import Session
from stream.codec import Codec
from tests.kit.postgres import query
from tests.kit.records import series
from tests.kit.sink_bench import SinkBench
from tests.kit.sink_worker import (
    Source,
    dead_letters,
    rows,
    start_worker,
    stored,
    stored_is,
    working,
)  # fmt: skip
from tests.kit.waiting import until

Unique = Callable[[str], str]
DEATHS_MOST = 4
"""Less than the restarts that the tree grants a sink."""


async def test_a_record_that_kills_the_worker_becomes_a_dead_letter_undecoded(
    bench: SinkBench, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, config = await bench.on_a_topic(database)
    plain = Codec.__init__
    decoded = []

    def deadly(self: Codec, ids: Any, *rest: Any) -> None:
        plain(self, ids, *rest)
        good = self.decode

        def decode(topic: str, partition: int, messages: Any) -> Any:
            if any(m.value == b"deadly" for m in messages):
                decoded.append(len(messages))
                raise RuntimeError("this ends the worker")
            return good(topic, partition, messages)

        self.decode = decode  # type: ignore[method-assign]

    monkeypatch.setattr(Codec, "__init__", deadly)
    async with bench.source() as source:
        await source.readings(topic, series(), rows(0, 5))
        await source.wires(topic, [b"deadly"])
        await source.readings(topic, series(), rows(5, 5))
    await _ends_twice(config)
    async with working(config) as context:
        await until(stored_is(database, 10))
        stage = context.id
    assert decoded == [11, 1], "first with the others, then alone, then not at all"
    letters = await dead_letters(bench.kafka, bench.directory, stage)
    assert [(f["rule"], f["offset"], f["original"]) for f in letters] == [("poison", 5, b"deadly")]


async def test_a_record_over_which_writing_raises_becomes_a_dead_letter(
    bench: SinkBench, kafka: str, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, config = await bench.on_a_topic(database, partitions=2)
    write, offered = Session.write, []

    def writing(self: Session, batch: Any, offsets: Any) -> Any:
        numbers = [value for records in batch.readings for value in records.number.tolist()]
        if 666.0 in numbers:
            offered.append(len(numbers))
            raise OverflowError("nobody thought of this one")
        return write(self, batch, offsets)

    monkeypatch.setattr(Session, "write", writing)
    async with bench.source() as source:
        await source.readings(topic, series("a"), rows(0, 20))
        await source.readings(topic, series("b"), [*rows(20, 10), (7, 666.0), *rows(30, 10)], 1)
    await _ends_twice(config)
    async with working(config) as context:
        await until(stored_is(database, 40))
        stage = context.id
        await source_goes_on(kafka, tmp_path, topic)
        await until(stored_is(database, 140))
        # Once past the suspects it reads in batches again.
        await until(lambda: context.gauges["batch_records"] > 1)
    assert offered[-1] == 1
    assert len(offered) == 2
    letters = await dead_letters(bench.kafka, bench.directory, stage)
    assert [(f["rule"], f["partition"], f["offset"]) for f in letters] == [("poison", 1, 10)]


async def source_goes_on(kafka: str, directory: Path, topic: str) -> None:
    async with Source(kafka, directory) as source:
        await source.readings(topic, series("c"), rows(100, 100))


async def _ends_twice(config: dict[str, Any]) -> None:
    for _ in range(2):
        with pytest.raises((RuntimeError, OverflowError)):
            async with asyncio.timeout(40):
                await run(Context(id="data_path/sinks/doomed", config=config))


@pytest.mark.parametrize("when", ["decode", "give"])
async def test_a_record_that_kills_the_process_is_set_aside_after_a_few_deaths(
    bench: SinkBench, kafka: str, database: str, tmp_path: Path, when: str
) -> None:
    topic, config = await bench.on_a_topic(database)
    async with bench.source() as source:
        await source.readings(topic, series(), rows(0, 30))
        await source.readings(topic, series(), [(7, "deadly")])
        await source.readings(topic, series(), rows(30, 30))
    deaths = 0
    while deaths <= DEATHS_MOST:
        process = await start_worker(config, when)
        await until(lambda p=process: p.poll() is not None or stored(database)[0] == 60, 40)
        if process.poll() is None:
            process.terminate()
            await asyncio.to_thread(process.wait, 10)
            break
        assert process.returncode == -9
        deaths += 1
    assert 2 <= deaths <= DEATHS_MOST
    assert query(database, "SELECT count(*), count(DISTINCT value) FROM readings") == [(60, 60)]
    letters = await dead_letters(kafka, tmp_path, f"data_path/sinks/{config['sink']['id']}")
    assert [(f["rule"], f["offset"]) for f in letters] == [("poison", 30)]
    assert b"deadly" in letters[0]["original"]
    assert "the sink ended" in letters[0]["reason"]
