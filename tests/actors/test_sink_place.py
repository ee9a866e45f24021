"""Where a sink goes on: the database says it, whatever became of it or of the stream meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import psycopg2
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from actors.context import Status
from tests.kit.postgres import Postgres, query
from tests.kit.records import series
from tests.kit.sink_bench import SinkBench
from tests.kit.sink_worker import (
    rows,
    stored_is,
    working,
)
from tests.kit.waiting import until

Unique = Callable[[str], str]


async def test_a_restart_goes_on_where_the_database_stands_whatever_the_group_says(
    bench: SinkBench, database: str
) -> None:
    topic, config = await bench.on_a_topic(database)
    async with bench.source() as source:
        await source.readings(topic, series(), rows(0, 100))
        async with working(config):
            await until(stored_is(database, 100))
        await source.readings(topic, series(), rows(100, 100))
        query(database, 'DELETE FROM readings; UPDATE streamforge_offsets SET "offset" = 50')
        async with working(config) as context:
            await until(stored_is(database, 150))
            await until(lambda: context.counters.get(f'stored_total{{topic="{topic}"}}') == 150)
    query(database, "DROP TABLE streamforge_refused")


async def test_what_retention_took_is_counted_and_said(bench: SinkBench, kafka: str, database: str) -> None:
    topic, config = await bench.on_a_topic(database)
    async with bench.source() as source:
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


async def test_a_stream_that_lost_its_tail_is_read_on_from_its_end(bench: SinkBench, database: str) -> None:
    topic, config = await bench.on_a_topic(database)
    async with bench.source() as source:
        await source.readings(topic, series(), rows(0, 100))
        async with working(config):
            await until(stored_is(database, 100))
        query(database, 'UPDATE streamforge_offsets SET "offset" = 5000')
        async with working(config) as context:
            await until(lambda: context.facts.get("moved"))
            assert "lost its tail" in context.facts["moved"][0]["reason"]
            await source.readings(topic, series(), rows(100, 100))
            await until(stored_is(database, 200))


async def test_a_database_restored_from_an_older_backup_gets_again_what_came_since(
    bench: SinkBench, postgres: Postgres, database: str
) -> None:
    name = database.rsplit("/", 1)[1]
    topic, config = await bench.on_a_topic(database)
    async with bench.source() as source:
        await source.readings(topic, series(), rows(0, 100))
        async with working(config):
            await until(stored_is(database, 100))
        administer(postgres, f"CREATE DATABASE {name}_backup TEMPLATE {name}")
        async with working(config) as context:
            await source.readings(topic, series(), rows(100, 100))
            await until(stored_is(database, 200))
            administer(postgres, f"DROP DATABASE {name} WITH (FORCE)", f"ALTER DATABASE {name}_backup RENAME TO {name}")
            await until(lambda: context.counters.get("connects_total", 0) > 1)
            await until(stored_is(database, 200))
            await source.readings(topic, series(), rows(200, 100))
            await until(stored_is(database, 300))
            assert context.counters["failures_total"] >= 1
            assert "moved" not in context.facts, "nothing is lost, so nothing is said to be"


async def test_a_backup_restored_into_the_tables_under_the_sink_gets_again_what_came_since(
    bench: SinkBench, database: str
) -> None:
    """As `pg_restore --clean --single-transaction` does it: the sink's connection lives on, and what it remembers is of another past."""
    tables = ("points", "series", "readings", "streamforge_offsets")
    topic, config = await bench.on_a_topic(database)
    async with bench.source() as source, working(config) as context:
        await source.readings(topic, series(), rows(0, 100))
        await until(stored_is(database, 100))
        query(database, ";".join(f"CREATE TABLE saved_{t} AS SELECT * FROM {t}" for t in tables))
        await source.readings(topic, series("lathe"), rows(100, 100))
        await until(stored_is(database, 200))
        empty = f"TRUNCATE {', '.join(tables)}; "
        query(
            database,
            empty + ";".join(f"INSERT INTO {t} OVERRIDING SYSTEM VALUE SELECT * FROM saved_{t}" for t in tables),
        )
        await source.readings(topic, series("lathe"), rows(200, 100))
        await until(stored_is(database, 300))
        assert query(database, "SELECT asset_id, count(*) FROM readings_view GROUP BY 1 ORDER BY 1") == [
            ("lathe", 200),
            ("press", 100),
        ]
        await until(lambda: context.status is Status.HEALTHY)
        assert context.counters["failures_total"] >= 1
        assert "moved" not in context.facts, "nothing is lost, so nothing is said to be"


async def test_an_empty_database_in_its_place_gets_all_that_the_stream_holds(
    bench: SinkBench, postgres: Postgres, database: str
) -> None:
    name = database.rsplit("/", 1)[1]
    topic, config = await bench.on_a_topic(database)
    async with bench.source() as source, working(config) as context:
        await source.readings(topic, series(), rows(0, 100))
        await until(stored_is(database, 100))
        administer(postgres, f"DROP DATABASE {name} WITH (FORCE)", f"CREATE DATABASE {name}")
        await until(lambda: context.counters.get("connects_total", 0) > 1)
        await until(stored_is(database, 100))
        await source.readings(topic, series(), rows(100, 100))
        await until(stored_is(database, 200))
        # The first hundred twice, once into each database.
        await until(lambda: context.counters[f'stored_total{{topic="{topic}"}}'] == 300)
        assert "moved" not in context.facts, "the stream still holds all, so nothing is lost"


def administer(postgres: Postgres, *statements: str) -> None:
    with closing(psycopg2.connect(postgres.dsn())) as connection:
        connection.autocommit = True
        for statement in statements:
            connection.cursor().execute(statement)
