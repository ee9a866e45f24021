"""Databases as other people run them: with two hosts, strict defaults, few rights, tables copied by hand, somebody's locks and triggers."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import uuid
from contextlib import closing

import psycopg2
import pytest

from sinks.contract import Batch, NeedsPerson, NotConnected
from sinks.postgres.errors import failing_line
from sinks.postgres.transaction import attempted
from tests.kit.postgres import Postgres, query
from tests.kit.postgres_server import Server
from tests.kit.records import NOON, readings, series
from tests.kit.tcp_proxy import TcpProxy
from tests.kit.waiting import until
from tests.sinks.postgres_kit import AT, batch, mixed, sink_for, stored


async def test_a_first_host_that_swallows_everything_leaves_time_for_the_second(
    postgres: Postgres, database: str
) -> None:
    """As after a failover: the old primary has lost its power, and says nothing at all."""
    async with TcpProxy(postgres.port) as dead:
        dead.silent = True
        both = f"host=127.0.0.1,127.0.0.1 port={dead.port},{postgres.port} user=postgres dbname={database.rsplit('/', 1)[1]}"
        sink = sink_for(f"{both} target_session_attrs=read-write", connect_timeout="5s")
        assert await sink.connect() == {}
        await sink.write(batch(), {AT: 10})
        await sink.close()
    assert stored(database) == (10, 10, 10)


async def test_a_server_without_an_answer_is_named_with_what_to_do(postgres: Postgres, database: str) -> None:
    async with TcpProxy(postgres.port) as dead:
        dead.silent = True
        sink = sink_for(database.replace(f":{postgres.port}/", f":{dead.port}/"), connect_timeout="3s")
        with pytest.raises(NotConnected, match=f"port {dead.port} failed: timeout expired") as caught:
            await sink.connect()
        assert "try `ping`" in (caught.value.next_step or "")
        await sink.close()


async def test_no_server_that_takes_writes_is_told_with_what_to_do(postgres: Postgres, database: str) -> None:
    query(database, f"ALTER DATABASE {database.rsplit('/', 1)[1]} SET default_transaction_read_only = on")
    with pytest.raises(NotConnected, match="read-only") as caught:
        await sink_for(f"{database}?target_session_attrs=read-write").connect()
    assert "promote a standby" in (caught.value.next_step or "")


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
async def test_a_database_that_begins_stricter_is_no_trouble(database: str, level: str) -> None:
    """There a new worker that waited for the last transaction of the old one would be told "could not serialize access"."""
    query(database, f"ALTER DATABASE {database.rsplit('/', 1)[1]} SET default_transaction_isolation = '{level}'")
    sink = sink_for(database)
    await sink.connect()
    await sink.close()
    with closing(psycopg2.connect(database)) as old, old.cursor() as cursor:
        cursor.execute("UPDATE streamforge_sinks SET epoch = epoch + 1")
        connecting = asyncio.create_task(sink.connect())
        await until(lambda: query(database, "SELECT count(*) FROM pg_locks WHERE NOT granted") != [(0,)])
        old.commit()
    assert await connecting == {}
    assert await sink.write(mixed(), {AT: 10}) == []
    assert await sink.write(mixed(), {AT: 10}) == []
    await sink.close()


async def test_every_right_that_is_missing_is_told_at_once_with_the_words_that_grant_it(
    postgres: Postgres, database: str
) -> None:
    owner, role = sink_for(database), f"r{uuid.uuid4().hex[:10]}"
    await owner.connect()
    await owner.close()
    query(database, f"REVOKE TEMPORARY ON DATABASE {database.rsplit('/', 1)[1]} FROM public; CREATE ROLE {role} LOGIN")
    query(
        database,
        f"GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO {role}; GRANT UPDATE (value) ON readings TO {role}",
    )
    sink = sink_for(database.replace("postgres@", f"{role}@"))
    with pytest.raises(NeedsPerson) as caught:
        await sink.connect()
    told, grants = str(caught.value).split("Their owner should run there: ")
    assert f"the role {role} may not UPDATE on events" in told
    assert "may not DELETE on streamforge_refused" in told
    assert "may not make temporary tables" in told
    assert "aggregates" not in told, "none of the topics needs it"
    query(database, grants)
    assert await sink.connect() == {}
    await sink.close()
    query(database, f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_tables_that_a_dba_makes_from_the_printed_statements_are_taken(database: str) -> None:
    query(database, _ddl("plant", "sf_").stdout)
    sink = sink_for(database, schema_name="plant", table_prefix="sf_")
    assert await sink.connect() == {}
    assert await sink.write(mixed(), {AT: 10}) == []
    await sink.close()
    assert query(database, "SELECT count(*) FROM plant.sf_readings_view") == [(10,)]
    wrong = _ddl("no-name")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "'no-name' is not a plain name" in wrong.stderr


def _ddl(*words: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "sinks.postgres.ddl", *words]
    return subprocess.run(program, check=False, capture_output=True, text=True, timeout=60)


async def test_copied_tables_whose_ids_count_no_more_are_told_and_no_reading_is_refused(database: str) -> None:
    sink = sink_for(database)
    await sink.connect()
    await sink.write(batch(), {AT: 10})
    await sink.close()
    query(database, "ALTER TABLE points ALTER id DROP IDENTITY")
    with pytest.raises(NeedsPerson, match=r"points\.id counts no more, right would be GENERATED ALWAYS AS IDENTITY"):
        await sink.connect()
    query(database, "ALTER TABLE points ALTER id ADD GENERATED ALWAYS AS IDENTITY")  # and it begins at 1 again
    assert await sink.connect() == {AT: 10}
    other = Batch([readings([(series("lathe"), NOON, 1.0)], first=10)])
    with pytest.raises(NeedsPerson, match=r"the counter of public\.points\.id is behind its rows") as caught:
        await sink.write(other, {AT: 11})
    found = re.search(r"set it: (SELECT .*)", str(caught.value))
    assert found
    query(database, found[1])
    assert await sink.connect() == {AT: 10}
    assert await sink.write(other, {AT: 11}) == []
    await sink.close()


async def test_a_table_that_somebody_dropped_is_named_once(database: str) -> None:
    sink = sink_for(database)
    await sink.connect()
    query(database, "DROP TABLE readings CASCADE")
    with pytest.raises(NeedsPerson, match=r'"public\.readings" does not exist'):
        await sink.write(batch(), {AT: 10})
    with pytest.raises(NeedsPerson, match=r"schema public: table readings is missing\. Somebody"):
        await sink.connect()


@pytest.mark.parametrize(
    "change", ["UPDATE streamforge_sinks SET epoch = epoch - 1", "TRUNCATE streamforge_sinks, streamforge_offsets"]
)
async def test_a_past_that_comes_back_is_not_taken_for_another_worker(database: str, change: str) -> None:
    sink = sink_for(database)
    await sink.connect()
    await sink.write(batch(), {AT: 10})
    await sink.connect()
    query(database, change)
    with pytest.raises(NotConnected, match="a backup was restored") as caught:
        await sink.write(batch(10), {AT: 20})
    assert "nothing need be done" in (caught.value.next_step or "")
    assert await sink.connect() == ({} if "TRUNCATE" in change else {AT: 10})
    await sink.close()


async def test_points_that_somebody_emptied_are_made_anew_before_a_row_goes_to_nobody(database: str) -> None:
    """Somebody starts his trial again: the ids then begin at 1, and those that the sink remembers would be other points'."""
    sink = sink_for(database)
    await sink.connect()
    both = [readings([(series("press"), NOON + i, 1.0)], first=i) for i in range(2)]
    await sink.write(Batch([readings([(series("lathe"), NOON, 2.0)])]), {AT: 1})
    await sink.write(Batch(both[:1]), {AT: 2})
    query(database, "TRUNCATE points, series, readings RESTART IDENTITY")
    with pytest.raises(NotConnected, match="points or series were emptied"):
        await sink.write(Batch(both[1:]), {AT: 3})
    assert await sink.connect() == {AT: 2}
    assert await sink.write(Batch(both[1:]), {AT: 3}) == []
    assert query(database, "SELECT asset_id, value FROM readings_view") == [("press", 1.0)]
    await sink.close()


async def test_a_ban_on_making_tables_is_no_fault_of_the_rows(database: str) -> None:
    """An event trigger of the plant's, that lets nobody change the schema, stops temporary tables, too."""
    sink = sink_for(database)
    await sink.connect()
    await sink.write(mixed(), {AT: 10})
    query(
        database,
        """CREATE FUNCTION no_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'ask the DBA'; END$$;
        CREATE EVENT TRIGGER no_ddl ON ddl_command_start EXECUTE FUNCTION no_ddl()""",
    )
    with pytest.raises(NeedsPerson, match="ask the DBA"):
        await sink.write(mixed(5), {AT: 15})
    query(database, "ALTER EVENT TRIGGER no_ddl DISABLE")
    assert await sink.connect() == {AT: 10}
    assert await sink.write(mixed(5), {AT: 15}) == []
    await sink.close()


def test_the_line_of_a_refused_row_is_found_below_what_a_trigger_says(database: str) -> None:
    query(
        database,
        """CREATE TABLE t (value int); CREATE FUNCTION no_42() RETURNS trigger LANGUAGE plpgsql AS
        $$BEGIN IF new.value = 42 THEN RAISE EXCEPTION 'not 42'; END IF; RETURN new; END$$;
        CREATE TRIGGER no_42 BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION no_42()""",
    )
    with pytest.raises(psycopg2.Error, match="not 42") as caught:
        query(database, "COPY t FROM PROGRAM 'seq 40 50'")
    assert failing_line(caught.value) == 2


def test_refused_rows_leave_no_locks_that_others_would_lack(database: str) -> None:
    """The lock table is one for the whole server: where it is full, nobody can even connect."""
    with closing(psycopg2.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE t (value int CHECK (value < 0))")
        for _ in range(100):
            assert attempted(connection, lambda c: c.execute("INSERT INTO t VALUES (1)"))
        cursor.execute("SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'transactionid'")
        assert cursor.fetchall() == [(1,)]


@pytest.mark.parametrize(
    ("statement", "lock"),
    [
        ("LOCK TABLE readings IN ACCESS EXCLUSIVE MODE", "AccessExclusiveLock on readings"),
        ("SELECT 1 FROM streamforge_sinks FOR UPDATE", "RowShareLock on streamforge_sinks"),
    ],
)
async def test_who_holds_a_lock_is_named_with_how_to_end_it(database: str, statement: str, lock: str) -> None:
    sink = sink_for(database, lock_timeout="2500ms")
    await sink.connect()
    await sink.write(batch(), {AT: 10})
    with closing(psycopg2.connect(database, application_name="night report")) as other, other.cursor() as cursor:
        cursor.execute(statement)
        with pytest.raises(NotConnected, match="lock timeout") as caught:
            await sink.write(batch(10), {AT: 20})
        pid = other.info.backend_pid
        assert f"process {pid} there (user postgres, night report, idle in transaction) holds {lock}" in str(
            caught.value
        )
        assert f"pg_terminate_backend({pid})" in (caught.value.next_step or "")
    assert await sink.connect() == {AT: 10}
    await sink.close()


async def test_a_lock_on_the_sinks_own_tables_is_named_while_connecting(database: str) -> None:
    sink = sink_for(database, connect_timeout="3s")
    await sink.connect()
    await sink.close()
    with closing(psycopg2.connect(database, application_name="night report")) as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLE streamforge_version")
        with pytest.raises(NotConnected, match=r"lock timeout.*night report.*streamforge_version"):
            await sink.connect()
    assert await sink.connect() == {}
    await sink.close()


async def test_a_synchronous_standby_that_is_away_is_named_and_nothing_is_lost_or_doubled(own_postgres: Server) -> None:
    """The COMMIT hangs there for ever; what it holds is only let go when it ends."""
    sink, end = sink_for(own_postgres.dsn, write_timeout="1s", connect_timeout="3s"), 10
    await sink.connect()
    await sink.write(batch(), {AT: 10})
    _set_standbys(own_postgres, "nobody")
    with pytest.raises(
        NotConnected, match=r"longer than 1 s: a COMMIT waits there for a synchronous standby"
    ) as caught:
        while True:  # until the server has heard of it
            await sink.write(batch(end), {AT: end + 10})
            end += 10
    assert "synchronous_standby_names" in (caught.value.next_step or "")
    with pytest.raises(NotConnected, match="a COMMIT waits there for a synchronous standby"):
        await sink.connect()
    _set_standbys(own_postgres, "")
    assert await sink.connect() == {AT: end + 10}, "what hung was committed"
    await sink.write(batch(end + 10), {AT: end + 20})
    await sink.close()
    assert stored(own_postgres.dsn) == (end + 20, end + 20, end + 20)


def _set_standbys(server: Server, names: str) -> None:
    with closing(psycopg2.connect(server.dsn)) as connection:
        connection.autocommit = True
        connection.cursor().execute(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
        connection.cursor().execute("SELECT pg_reload_conf()")
