"""The dead letters of a sink: poison and what the database refuses, each once, over crashes."""

from __future__ import annotations

from collections.abc import Callable

from tests.kit.postgres import query
from tests.kit.records import series
from tests.kit.sink_bench import SinkBench
from tests.kit.sink_worker import (
    dead_letters,
    rows,
    stored_is,
    working,
)
from tests.kit.waiting import until

Unique = Callable[[str], str]


async def test_poison_and_refused_records_reach_the_dead_letters_once_and_the_rest_is_stored(
    bench: SinkBench, database: str
) -> None:
    topic, config = await bench.on_a_topic(database)
    async with bench.source() as source:
        async with working(config):
            await source.readings(topic, series(), rows(0, 10))
            await until(stored_is(database, 10))
        query(database, "ALTER TABLE readings ADD CONSTRAINT plausible CHECK (value < 1000)")
        await source.wires(topic, [b"\0\0\0\0\1no reading at all"])
        await source.readings(topic, series(), [*rows(10, 10), (5, 2000.0), *rows(20, 10)])
        async with working(config) as context:
            await until(stored_is(database, 30))
            await until(lambda: sum(n for name, n in context.counters.items() if name.startswith("refused_total")) == 2)
            assert context.counters[f'stored_total{{topic="{topic}"}}'] == 20
            stage = context.id
    letters = await dead_letters(bench.kafka, bench.directory, stage)
    assert [(f["rule"], f["topic"], f["offset"]) for f in letters] == [
        ("poison", topic, 10),
        ("refused_by_sink", topic, 21),
    ]
    assert 'violates check constraint "plausible"' in letters[1]["reason"]
    assert letters[1]["asset_id"] == "press"
    assert letters[0]["original"] == b"\0\0\0\0\1no reading at all"
    assert query(database, "SELECT count(*) FROM streamforge_refused") == [(0,)]


async def test_a_refusal_kept_by_a_dying_worker_is_sent_by_the_next_one_and_not_twice(
    bench: SinkBench, database: str
) -> None:
    topic, config = await bench.on_a_topic(database)
    async with working(config) as context:
        await until(lambda: context.counters.get("connects_total"))
    kept = ("g1", bench.name, topic, 0, 7, 1, "press", "speed", "too large", b"bytes")
    insert = "INSERT INTO streamforge_refused VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
    for _ in range(2):  # the second time the mark says that it was sent
        query(database, insert, *kept)
        async with working(config) as context:
            await until(lambda: query(database, "SELECT count(*) FROM streamforge_refused") == [(0,)])
            stage = context.id
    letters = await dead_letters(bench.kafka, bench.directory, stage)
    assert [(f["offset"], f["reason"], f["original"], f["arrived_at"]) for f in letters] == [
        (7, "too large", b"bytes", 1)
    ]
