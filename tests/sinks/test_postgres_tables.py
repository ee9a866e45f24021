"""Tables that are not as the sink would make them: made by a DBA, changed, partitioned, in a schema of their own, on a standby."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import closing

import psycopg2
import pytest

from sinks.contract import Batch, NeedsPerson, NotConnected
from sinks.postgres.tables import MIGRATIONS, Names
from tests.kit.postgres import query
from tests.kit.postgres_server import Server
from tests.kit.records import NOON, readings, series
from tests.sinks.postgres_kit import AT, mixed, sink_for


async def prepared(dsn: str, **other: object) -> None:
    sink = sink_for(dsn, **other)
    await sink.connect()
    await sink.close()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("ALTER TABLE readings ALTER value TYPE numeric", "readings.value has the type numeric, right would be double precision"),
        ("ALTER TABLE events ALTER details TYPE text", "events.details has the type text, right would be jsonb"),
        ("ALTER TABLE aggregates DROP COLUMN p95", "aggregates.p95 is missing"),
        ("ALTER TABLE readings DROP CONSTRAINT readings_pkey", "readings has no unique index on (point, device_time)"),
        ("DROP TABLE streamforge_refused", "table streamforge_refused is missing"),
    ],
)  # fmt: skip
async def test_a_changed_table_is_told_before_the_first_row(database: str, change: str, words: str) -> None:
    await prepared(database)
    if "TYPE" in change or "COLUMN" in change:
        query(database, "DROP VIEW events_view, aggregates_view, readings_view")
    query(database, change)
    sink = sink_for(database)
    with pytest.raises(NeedsPerson) as caught:
        await sink.connect()
    assert words in str(caught.value)
    assert "restore it there" in str(caught.value)


async def test_a_type_changed_under_a_working_sink_stops_it_instead_of_refusing_every_row(database: str) -> None:
    sink = sink_for(database)
    await sink.connect()
    await sink.write(mixed(), {AT: 10})
    query(database, "DROP VIEW events_view, aggregates_view, readings_view; ALTER TABLE readings ALTER value TYPE real")
    with pytest.raises(NeedsPerson, match="another type than this program made it with"):
        await sink.write(mixed(10), {AT: 20})
    await sink.close()


async def test_a_column_of_ones_own_that_must_not_be_null_stops_it_too(database: str) -> None:
    await prepared(database)
    query(database, "ALTER TABLE readings ADD COLUMN shift text NOT NULL")
    sink = sink_for(database)
    await sink.connect()
    with pytest.raises(NeedsPerson, match=r'"shift".*a column of your own needs a default'):
        await sink.write(mixed(), {AT: 10})
    query(database, "ALTER TABLE readings ALTER shift SET DEFAULT 'early', ADD COLUMN note text")
    assert await sink.connect() == {}
    assert await sink.write(mixed(), {AT: 10}) == []
    await sink.close()


async def test_a_role_that_may_only_write_uses_tables_that_the_dba_made(database: str) -> None:
    role, names = f"r{uuid.uuid4().hex[:10]}", Names("plant", "sf_")
    statements = [names.fill(s) for migration in MIGRATIONS for s in migration]
    made = "CREATE SCHEMA plant; CREATE TABLE plant.sf_streamforge_version (version int PRIMARY KEY, applied timestamptz NOT NULL)"
    query(database, ";".join((made, *statements, "INSERT INTO plant.sf_streamforge_version VALUES (1, now())")))
    query(database, f"CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA plant TO {role}")
    query(database, f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA plant TO {role}")
    query(database, f"ALTER ROLE {role} SET search_path = ''; ALTER ROLE {role} SET statement_timeout = '100ms'")
    sink = sink_for(database.replace("postgres@", f"{role}@"), schema_name="plant", table_prefix="sf_")
    assert await sink.connect() == {}
    for _ in range(2):
        assert await sink.write(mixed(), {AT: 10}) == []
    await sink.close()
    counts = [query(database, f"SELECT count(*) FROM plant.sf_{t}")[0][0] for t in ("readings", "aggregates", "events")]
    assert counts == [10, 1, 1]
    query(database, f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_readings_may_be_partitioned_by_time_as_a_hypertable_is(database: str) -> None:
    """TimescaleDB is not here; its hypertables are tables in parts whose unique key holds the time, as these are."""
    await prepared(database)
    query(
        database,
        """ALTER TABLE readings RENAME TO plain; ALTER INDEX readings_pkey RENAME TO plain_pkey;
        CREATE TABLE readings (LIKE plain INCLUDING DEFAULTS, PRIMARY KEY (point, device_time)) PARTITION BY RANGE (device_time);
        CREATE TABLE old PARTITION OF readings FOR VALUES FROM (MINVALUE) TO ('2026-01-29 12:00:00.000005Z');
        CREATE TABLE new PARTITION OF readings FOR VALUES FROM ('2026-01-29 12:00:00.000005Z') TO ('2027-01-01')""",
    )
    sink = sink_for(database)
    await sink.connect()
    for _ in range(3):
        assert await sink.write(mixed(), {AT: 10}) == []
    assert query(database, "SELECT (SELECT count(*) FROM old), (SELECT count(*) FROM new)") == [(5, 5)]
    far = readings([(series(), NOON + 400 * 86400 * 10**6, 1.0), (series(), NOON + 99, 2.0)], first=10)
    refused = await sink.write(Batch([far]), {AT: 12})
    assert [(r.offset, "no partition of relation" in r.reason) for r in refused] == [(10, True)]
    await sink.close()


@pytest.mark.parametrize(
    ("code", "step"),
    [
        ("40001", None), ("40P01", None), ("53100", "free space"), ("53200", "more memory"), ("53300", "max_connections"), ("55P03", "pg_locks"),
        ("57014", "pg_stat_activity"), ("57P01", "the database's log"), ("57P03", "wait until it has"), ("58030", None), ("XX000", None),
    ],
)  # fmt: skip
async def test_trouble_that_passes_never_becomes_a_dead_letter(database: str, code: str, step: str | None) -> None:
    sink = sink_for(database)
    await sink.connect()
    await sink.write(mixed(), {AT: 10})
    query(
        database,
        f"""CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS
        $$BEGIN RAISE EXCEPTION 'not now' USING ERRCODE = '{code}'; END$$;
        CREATE TRIGGER trouble BEFORE INSERT ON readings FOR EACH ROW EXECUTE FUNCTION trouble()""",
    )
    with pytest.raises(NotConnected, match="not now") as caught:
        await sink.write(mixed(10), {AT: 20})
    assert not isinstance(caught.value, NeedsPerson)
    assert caught.value.next_step is None if step is None else step in (caught.value.next_step or "")
    query(database, "DROP TRIGGER trouble ON readings")
    assert await sink.connect() == {AT: 10}
    assert await sink.write(mixed(10), {AT: 20}) == []
    assert await sink.unsent() == []
    await sink.close()
    assert query(database, "SELECT count(*) FROM readings") == [(20,)]


async def test_a_standby_is_waited_for_until_it_is_promoted(own_postgres: Server) -> None:
    sink = sink_for(own_postgres.dsn)
    await sink.connect()
    await sink.write(mixed(), {AT: 10})
    await asyncio.to_thread(own_postgres.stop)
    (own_postgres.directory / "standby.signal").touch()
    await asyncio.to_thread(own_postgres.start)
    with pytest.raises(NotConnected, match="perhaps a standby") as caught:
        await sink.connect()
    assert not isinstance(caught.value, NeedsPerson)
    with closing(psycopg2.connect(own_postgres.dsn)) as connection:
        connection.cursor().execute("SELECT pg_promote()")
    assert await sink.connect() == {AT: 10}
    await sink.write(mixed(10), {AT: 20})
    await sink.close()
    assert query(own_postgres.dsn, "SELECT count(*) FROM readings") == [(20,)]


async def test_of_several_hosts_the_one_that_takes_writes_is_found(own_postgres: Server, database: str) -> None:
    """As after a failover: the first host in `dsn` is gone, or a standby."""
    port, name = database.rsplit(":", 1)[1].split("/")
    sink = sink_for(
        f"host=127.0.0.1,127.0.0.1 port={own_postgres.port},{port} user=postgres dbname={name} target_session_attrs=read-write"
    )
    await asyncio.to_thread(own_postgres.stop)
    assert await sink.connect() == {}
    await sink.write(mixed(), {AT: 10})
    await sink.close()
    assert query(database, "SELECT count(*) FROM readings") == [(10,)]


async def test_long_and_odd_texts_and_names(database: str) -> None:
    sink = sink_for(database)
    await sink.connect()
    long, empty = "ü" * 1_000_000, series(asset="", parameter="")
    rows = readings([(series("Größe→温度"), NOON, long), (empty, NOON, float("nan")), (empty, NOON + 1, float("-inf"))])
    assert await sink.write(Batch([rows]), {AT: 3}) == []
    found = query(database, "SELECT asset_id, parameter, length(value_text) FROM readings_view ORDER BY 3 DESC")
    assert found[0] == ("Größe→温度", series().parameter, 1_000_000)
    assert [row[:2] for row in found[1:]] == [("", ""), ("", "")]
    await sink.close()
