"""The sink's worker between a real Kafka and a real PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from actors.context import Context, Status
from actors.sink import run
from stream.codec import Codec
from stream.consumer import StreamConsumer
from tests.kit.kafka import MakeTopic
from tests.kit.postgres import Postgres, query
from tests.kit.postgres_server import Server, free_port
from tests.kit.records import aggregate, event, series
from tests.kit.sink_worker import Source, dead_letters, rows, until, worker_config, working
from tests.kit.tcp_proxy import TcpProxy

Unique = Callable[[str], str]


def stored(dsn: str) -> tuple[int, int]:
    """Rows, and distinct values among them."""
    if query(dsn, "SELECT to_regclass('readings')") == [(None,)]:
        return 0, 0
    return query(dsn, "SELECT count(*), count(DISTINCT value) FROM readings")[0]  # type: ignore[return-value]


def stored_is(dsn: str, n: int) -> Callable[[], Any]:
    async def equal() -> bool:
        return await asyncio.to_thread(stored, dsn) == (n, n)

    return equal


async def test_readings_and_documents_arrive_and_are_counted(
    kafka: str, database: str, new_topic: MakeTopic, unique: Unique, tmp_path: Path
) -> None:
    topic, other = await new_topic(partitions=2), await new_topic(partitions=2)
    config = worker_config(kafka, tmp_path, unique("s"), [topic, other], database, partitions=2)
    async with Source(kafka, tmp_path) as source, working(config) as context:
        await source.readings(topic, series("a"), rows(0, 500), 0)
        await source.readings(topic, series("b"), rows(500, 500), 1)
        await source.document(other, aggregate(), 1)
        await source.document(other, event(), 0)
        await until(stored_is(database, 1000))
        await until(lambda: context.counters.get(f'stored_total{{topic="{other}"}}') == 2)
        await until(lambda: context.gauges.get(f'lag{{topic="{topic}"}}') == 0)
        assert context.counters[f'stored_total{{topic="{topic}"}}'] == 1000
        assert context.status is Status.HEALTHY
        assert context.facts["breaker"]["state"] == "closed"
        assert sum(n for name, n in context.counters.items() if name.startswith("latency_ms_total")) == 1000
        assert 0 < context.gauges["latency_p50_ms"] <= context.gauges["latency_p99_ms"] < 20_000
    assert query(database, "SELECT (SELECT count(*) FROM aggregates), (SELECT count(*) FROM events)") == [(1, 1)]
    consumer = StreamConsumer(kafka, "look", f"sf-sink-{config['sink']['id']}")
    await consumer.start()
    assert await consumer.committed([(topic, 0), (topic, 1)]) == {(topic, 0): 500, (topic, 1): 500}
    await consumer.stop()


async def test_a_restart_goes_on_where_the_database_stands_whatever_the_group_says(
    kafka: str, database: str, new_topic: MakeTopic, unique: Unique, tmp_path: Path
) -> None:
    topic = await new_topic()
    config = worker_config(kafka, tmp_path, unique("s"), [topic], database)
    async with Source(kafka, tmp_path) as source:
        await source.readings(topic, series(), rows(0, 100))
        async with working(config):
            await until(stored_is(database, 100))
        await source.readings(topic, series(), rows(100, 100))
        query(database, 'DELETE FROM readings; UPDATE streamforge_offsets SET "offset" = 50')
        async with working(config) as context:
            await until(stored_is(database, 150))
            assert context.counters[f'stored_total{{topic="{topic}"}}'] == 150
    query(database, "DROP TABLE streamforge_refused")


async def test_poison_and_refused_records_reach_the_dead_letters_once_and_the_rest_is_stored(
    kafka: str, database: str, new_topic: MakeTopic, unique: Unique, tmp_path: Path
) -> None:
    topic = await new_topic()
    config = worker_config(kafka, tmp_path, unique("s"), [topic], database)
    async with Source(kafka, tmp_path) as source:
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
    letters = await dead_letters(kafka, tmp_path, stage)
    assert [(f["rule"], f["topic"], f["offset"]) for f in letters] == [
        ("poison", topic, 10),
        ("refused_by_sink", topic, 21),
    ]
    assert 'violates check constraint "plausible"' in letters[1]["reason"]
    assert letters[1]["asset_id"] == "press"
    assert letters[0]["original"] == b"\0\0\0\0\1no reading at all"
    assert query(database, "SELECT count(*) FROM streamforge_refused") == [(0,)]


async def test_a_refusal_kept_by_a_dying_worker_is_sent_by_the_next_one_and_not_twice(
    kafka: str, database: str, new_topic: MakeTopic, unique: Unique, tmp_path: Path
) -> None:
    topic = await new_topic()
    name = unique("s")
    config = worker_config(kafka, tmp_path, name, [topic], database)
    async with working(config) as context:
        await until(lambda: context.counters.get("connects_total"))
    kept = ("g1", name, topic, 0, 7, 1, "press", "speed", "too large", b"bytes")
    insert = "INSERT INTO streamforge_refused VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
    for _ in range(2):  # the second time the mark says that it was sent
        query(database, insert, *kept)
        async with working(config) as context:
            await until(lambda: query(database, "SELECT count(*) FROM streamforge_refused") == [(0,)])
            stage = context.id
    letters = await dead_letters(kafka, tmp_path, stage)
    assert [(f["offset"], f["reason"], f["original"], f["arrived_at"]) for f in letters] == [
        (7, "too large", b"bytes", 1)
    ]


async def test_a_record_that_kills_the_worker_becomes_a_dead_letter_undecoded(
    kafka: str, database: str, new_topic: MakeTopic, unique: Unique, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = await new_topic()
    config = worker_config(kafka, tmp_path, unique("s"), [topic], database)
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
    async with Source(kafka, tmp_path) as source:
        await source.readings(topic, series(), rows(0, 5))
        await source.wires(topic, [b"deadly"])
        await source.readings(topic, series(), rows(5, 5))
    for _ in range(2):
        with pytest.raises(RuntimeError):
            async with asyncio.timeout(20):
                await run(Context(id="data_path/sinks/doomed", config=config))
    async with working(config) as context:
        await until(stored_is(database, 10))
        stage = context.id
    assert decoded == [11, 1], "first with the others, then alone, then not at all"
    letters = await dead_letters(kafka, tmp_path, stage)
    assert [(f["rule"], f["offset"], f["original"]) for f in letters] == [("poison", 5, b"deadly")]


async def test_a_database_away_is_waited_for_and_the_breaker_is_seen(
    kafka: str, own_postgres: Server, new_topic: MakeTopic, unique: Unique, tmp_path: Path
) -> None:
    topic = await new_topic()
    config = worker_config(kafka, tmp_path, unique("s"), [topic], own_postgres.dsn)
    async with Source(kafka, tmp_path) as source, working(config) as context:
        await source.readings(topic, series(), rows(0, 100))
        await until(stored_is(own_postgres.dsn, 100))
        await asyncio.to_thread(own_postgres.stop)
        await source.readings(topic, series(), rows(100, 100))
        await until(lambda: context.facts["breaker"]["state"] == "open")
        assert context.status is Status.UNHEALTHY
        assert "the stream keeps the records" in (context.reason or "")
        assert context.facts["breaker"]["failures"] >= 3
        assert context.facts["breaker"]["next_trial_at"] > context.facts["breaker"]["since"]
        await source.readings(topic, series(), rows(200, 100))
        await until(lambda: context.gauges[f'lag{{topic="{topic}"}}'] == 200)
        assert context.gauges["lag_s"] > 0
        await asyncio.to_thread(own_postgres.start)
        await until(stored_is(own_postgres.dsn, 300))
        await until(lambda: context.status is Status.HEALTHY)
        assert context.facts["breaker"]["state"] == "closed"
        assert context.facts["breaker"]["failures"] == 0
        assert context.counters["breaker_opened_total"] == 1
        await until(lambda: context.gauges["lag_s"] == 0)


async def test_a_database_away_at_the_start_does_not_hold_up_the_start(
    kafka: str, postgres: Postgres, database: str, new_topic: MakeTopic, unique: Unique, tmp_path: Path
) -> None:
    topic = await new_topic()
    async with TcpProxy(postgres.port) as proxy, Source(kafka, tmp_path) as source:
        proxy.refuse = True
        dsn = database.replace(f":{postgres.port}/", f":{proxy.port}/")
        await source.readings(topic, series(), rows(0, 100))
        async with working(worker_config(kafka, tmp_path, unique("s"), [topic], dsn)) as context:
            await until(lambda: context.gauges.get(f'lag{{topic="{topic}"}}') == 100)
            proxy.refuse = False
            await until(stored_is(database, 100))


async def test_connections_cut_at_random_double_and_lose_nothing(
    kafka: str, postgres: Postgres, database: str, new_topic: MakeTopic, unique: Unique, tmp_path: Path
) -> None:
    topic = await new_topic(partitions=2)
    chance = random.Random(7)
    async with TcpProxy(postgres.port) as proxy, Source(kafka, tmp_path) as source:
        dsn = database.replace(f":{postgres.port}/", f":{proxy.port}/") + "?sslmode=disable&gssencmode=disable"
        config = worker_config(
            kafka, tmp_path, unique("s"), [topic], dsn, partitions=2, breaker={"failures": 3, "pause": "100ms"}
        )
        async with working(config) as context:
            for n in range(8):
                proxy.cut_after = b"COMMIT" if n % 2 else None
                for part in range(3):
                    await source.readings(topic, series(), rows(300 * n + 100 * part, 100), part % 2)
                if n % 2:
                    await until(lambda n=n: proxy.cuts > n // 2)
                else:
                    await asyncio.sleep(chance.random() * 0.1)
                    proxy.cut()
            await until(stored_is(database, 2400))
            assert context.counters["failures_total"] >= 4
        assert proxy.cuts == 4


async def test_wrong_set_up_is_unhealthy_at_once_and_heals_without_a_restart(
    kafka: str, postgres: Postgres, database: str, new_topic: MakeTopic, unique: Unique, tmp_path: Path
) -> None:
    topic, role = await new_topic(), unique("r").replace("-", "_")
    dsn = database.replace("postgres@", f"{role}@")
    async with Source(kafka, tmp_path) as source:
        await source.readings(topic, series(), rows(0, 10))
        async with working(worker_config(kafka, tmp_path, unique("s"), [topic], dsn)) as context:
            await until(lambda: context.status is Status.UNHEALTHY)
            assert f'role "{role}" does not exist' in (context.reason or "")
            assert context.facts["breaker"]["state"] == "open"
            query(database, f"CREATE ROLE {role} LOGIN SUPERUSER")
            await until(stored_is(database, 10))
            await until(lambda: context.status is Status.HEALTHY)
    query(database, f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_what_retention_took_is_counted_and_said(
    kafka: str, database: str, new_topic: MakeTopic, unique: Unique, tmp_path: Path
) -> None:
    topic = await new_topic()
    config = worker_config(kafka, tmp_path, unique("s"), [topic], database)
    async with Source(kafka, tmp_path) as source:
        await source.readings(topic, series(), rows(0, 100))
        async with working(config):
            await until(stored_is(database, 100))
        await source.readings(topic, series(), rows(100, 100))
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
        await admin.start()
        await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(before_offset=150)})
        await admin.close()
        for _ in range(2):  # said once, though the next start finds the same
            async with working(config) as context:
                await until(stored_is(database, 150))
                lost = context.counters.get(f'lost_total{{topic="{topic}"}}', 0)
            if _ == 0:
                assert lost == 50
                moved = context.facts["moved"][-1]
                assert (moved["at"], moved["to"]) == (100, 150)
                assert "deleted by retention" in moved["reason"]
            else:
                assert lost == 0


async def test_a_stream_that_lost_its_tail_is_read_on_from_its_end(
    kafka: str, database: str, new_topic: MakeTopic, unique: Unique, tmp_path: Path
) -> None:
    topic = await new_topic()
    config = worker_config(kafka, tmp_path, unique("s"), [topic], database)
    async with Source(kafka, tmp_path) as source:
        await source.readings(topic, series(), rows(0, 100))
        async with working(config):
            await until(stored_is(database, 100))
        query(database, 'UPDATE streamforge_offsets SET "offset" = 5000')
        async with working(config) as context:
            await until(lambda: context.facts.get("moved"))
            assert "lost its tail" in context.facts["moved"][0]["reason"]
            await source.readings(topic, series(), rows(100, 100))
            await until(stored_is(database, 200))


async def test_memory_stays_bounded_while_the_database_is_slow(
    kafka: str, database: str, new_topic: MakeTopic, unique: Unique, tmp_path: Path
) -> None:
    topic = await new_topic()
    config = worker_config(kafka, tmp_path, unique("s"), [topic], database, batch_records=200)
    async with Source(kafka, tmp_path) as source, working(config) as context:
        for n in range(10):
            await source.readings(topic, series(), rows(1000 * n, 1000))
        await until(stored_is(database, 10_000))
        assert context.gauges["batch_records"] <= 200
        assert context.counters["batches_total"] >= 50


async def test_stopping_finishes_what_is_under_way_and_the_next_one_goes_on(
    kafka: str, database: str, new_topic: MakeTopic, unique: Unique, tmp_path: Path
) -> None:
    topic = await new_topic()
    config = worker_config(kafka, tmp_path, unique("s"), [topic], database, batch_records=500)
    async with Source(kafka, tmp_path) as source:
        for n in range(10):
            await source.readings(topic, series(), rows(1000 * n, 1000))
        async with working(config) as context:
            await until(lambda: context.counters.get("batches_total"))
            began = time.monotonic()
        assert time.monotonic() - began < 5
        assert query(database, 'SELECT count(*) = max(o."offset") FROM readings, streamforge_offsets o') == [(True,)]
        async with working(config):
            await until(stored_is(database, 10_000))


async def test_kill_9_at_random_instants_doubles_and_loses_nothing(
    kafka: str, database: str, new_topic: MakeTopic, unique: Unique, tmp_path: Path
) -> None:
    topic, name, chance = await new_topic(partitions=2), unique("s"), random.Random(3)
    config = worker_config(kafka, tmp_path, name, [topic], database, partitions=2, batch_records=700)
    async with Source(kafka, tmp_path) as source:
        async with working(config) as context:
            stage = context.id
            await until(lambda: context.counters.get("connects_total"))
        query(database, "ALTER TABLE readings ADD CONSTRAINT odd CHECK (value::bigint % 1000 <> 999)")
        written = 0
        for _ in range(6):
            before, process = stored(database)[0], await _start(config)
            end = time.monotonic() + 20
            killing: float | None = None
            while time.monotonic() < (killing or end):
                await source.readings(topic, series(), rows(written, 500), (written // 500) % 2)
                written += 500
                await asyncio.sleep(0.02)
                if killing is None and (await asyncio.to_thread(stored, database))[0] > before:
                    killing = time.monotonic() + chance.random() * 0.4
            assert killing, "it was to be killed while it works"
            process.kill()
            process.wait(10)
        good = written - written // 1000
        async with working(config):
            await until(stored_is(database, good), 30)
            await until(lambda: query(database, "SELECT count(*) FROM streamforge_refused") == [(0,)])
    letters = await dead_letters(kafka, tmp_path, stage)
    places = [(f["partition"], f["offset"]) for f in letters]
    assert len(places) == len(set(places)) == written // 1000


async def _start(config: dict[str, Any]) -> subprocess.Popen[bytes]:
    return await asyncio.to_thread(
        subprocess.Popen, [sys.executable, "-m", "tests.kit.sink_worker", json.dumps(config)],
        cwd=Path(__file__).parents[2], env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip


async def test_the_loop_stays_free_at_full_load(
    kafka: str, database: str, new_topic: MakeTopic, unique: Unique, tmp_path: Path
) -> None:
    topic = await new_topic(partitions=4)
    config = worker_config(kafka, tmp_path, unique("s"), [topic], database, partitions=4)
    async with Source(kafka, tmp_path) as source:
        for n in range(20):
            await source.readings(topic, series(), rows(2000 * n, 2000), n % 4)
        busy: list[float] = []
        async with working(config) as context:
            await until(lambda: context.counters.get("connects_total"))  # before that modules are imported
            watching = asyncio.create_task(_watch_loop(busy))
            await until(stored_is(database, 40_000), 30)
            watching.cancel()
        assert max(busy) < 0.1


async def _watch_loop(busy: list[float]) -> None:
    """CPU seconds of the loop's thread between two looks: unlike the time of day, it does not see who else uses the machine."""
    while True:
        before = time.thread_time()
        await asyncio.sleep(0.005)
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
    async with asyncio.timeout(10):
        await task
