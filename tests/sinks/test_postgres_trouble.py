"""A database that is away, slow, locked, cut off, wrong or half-open: what the sink says, and that nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
import uuid
from contextlib import closing

import psycopg2
import pytest

from sinks.contract import Batch, NeedsPerson, NotConnected, Origin
from sinks.postgres.sink import PostgresSink
from tests.kit.ports import free_port
from tests.kit.postgres import Postgres, query
from tests.kit.postgres_server import Server
from tests.kit.records import NOON, readings, series
from tests.kit.tcp_proxy import TcpProxy
from tests.kit.waiting import until
from tests.sinks.test_postgres_write import sink_for

AT = ("telemetry.clean", 0)


def batch(first: int, n: int = 10) -> Batch:
    """n readings whose device time and value follow from the offset."""
    return Batch([readings([(series(), NOON + i, float(i)) for i in range(first, first + n)], first=first)])


def stored(dsn: str) -> tuple[int, int, int]:
    """Rows, distinct values, offset."""
    found = query(
        dsn, 'SELECT count(*), count(DISTINCT value), (SELECT max("offset") FROM streamforge_offsets) FROM readings'
    )
    return found[0]  # type: ignore[return-value]


def through(proxy: TcpProxy, dsn: str) -> str:
    return f"postgresql://postgres@127.0.0.1:{proxy.port}/{dsn.rsplit('/', 1)[1]}?sslmode=disable&gssencmode=disable"


async def test_a_cut_between_commit_and_reply_doubles_and_loses_nothing(postgres: Postgres, database: str) -> None:
    async with TcpProxy(postgres.port) as proxy:
        sink = sink_for(through(proxy, database))
        assert await sink.connect() == {}
        await sink.write(batch(0), {AT: 10})
        proxy.cut_after = b"COMMIT"
        with pytest.raises(NotConnected, match="closed"):
            await sink.write(batch(10), {AT: 20})
        assert proxy.cuts == 1
        assert await sink.connect() == {AT: 20}, "it was committed, and the offsets say so"
        await sink.write(batch(20), {AT: 30})
        await sink.close()
    assert stored(database) == (30, 30, 30)


async def test_a_cut_before_the_commit_leaves_nothing(postgres: Postgres, database: str) -> None:
    async with TcpProxy(postgres.port) as proxy:
        sink = sink_for(through(proxy, database))
        await sink.connect()
        proxy.cut_after = b"PGCOPY"
        with pytest.raises(NotConnected):
            await sink.write(batch(0), {AT: 10})
        assert await sink.connect() == {}
        await sink.write(batch(0), {AT: 10})
        await sink.close()
    assert stored(database) == (10, 10, 10)


async def test_a_line_gone_silent_is_given_up_at_the_deadline(postgres: Postgres, database: str) -> None:
    async with TcpProxy(postgres.port) as proxy:
        sink = sink_for(through(proxy, database), write_timeout="500ms")
        await sink.connect()
        proxy.silent = True
        started = time.monotonic()
        with pytest.raises(NotConnected, match=r"writing took longer than 0\.5 s"):
            await sink.write(batch(0), {AT: 10})
        assert time.monotonic() - started < 2
        proxy.silent = False
        assert await sink.connect() == {}
        await sink.write(batch(0), {AT: 10})
        await sink.close()
    assert stored(database) == (10, 10, 10)
    assert [t.name for t in threading.enumerate() if t.name.startswith("postgres")] == []


async def test_a_server_that_never_greets_is_given_up_at_the_deadline(postgres: Postgres, database: str) -> None:
    async with TcpProxy(postgres.port) as proxy:
        proxy.silent = True
        sink = sink_for(through(proxy, database), connect_timeout="300ms")
        with pytest.raises(NotConnected, match="connecting took longer"):
            await sink.connect()
        with pytest.raises(NotConnected, match="an earlier attempt still hangs"):
            await sink.connect()
        proxy.cut()
        proxy.silent = False

        async def connects() -> bool:
            try:
                return await sink.connect() == {}
            except NotConnected:
                return False

        await until(connects, 10)
        await sink.close()


async def test_a_stopped_and_a_crashed_server_come_back(own_postgres: Server) -> None:
    sink = sink_for(own_postgres.dsn)
    await sink.connect()
    await sink.write(batch(0), {AT: 10})
    for n, how in ((1, signal.SIGINT), (2, signal.SIGQUIT)):
        await asyncio.to_thread(own_postgres.stop, how)
        with pytest.raises(NotConnected):
            await sink.write(batch(10 * n), {AT: 10 * n + 10})
        with pytest.raises(NotConnected, match="Connection refused"):
            await sink.connect()
        await asyncio.to_thread(own_postgres.start)
        assert await sink.connect() == {AT: 10 * n}
        await sink.write(batch(10 * n), {AT: 10 * n + 10})
    await sink.close()
    assert stored(own_postgres.dsn) == (30, 30, 30)


async def test_a_lock_is_waited_for_and_named_while_the_loop_stays_free(database: str) -> None:
    sink = sink_for(database, lock_timeout="1500ms")
    await sink.connect()
    await sink.write(batch(0), {AT: 10})
    with closing(psycopg2.connect(database)) as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLE readings IN ACCESS EXCLUSIVE MODE")
        lags: list[float] = []
        watching = asyncio.create_task(_watch_loop(lags))
        with pytest.raises(NotConnected, match="lock timeout; another connection holds a lock"):
            await sink.write(batch(10), {AT: 20})
        watching.cancel()
        assert max(lags) < 1
        other.rollback()
    assert await sink.connect() == {AT: 10}
    await sink.write(batch(10), {AT: 20})
    await sink.close()
    assert stored(database) == (20, 20, 20)


async def _watch_loop(lags: list[float]) -> None:
    while True:
        before = time.monotonic()
        await asyncio.sleep(0.01)
        lags.append(time.monotonic() - before - 0.01)


async def test_the_loop_stays_free_while_a_large_batch_is_made_and_written(database: str) -> None:
    sink = sink_for(database)
    await sink.connect()
    large = batch(0, 50_000)
    before = time.thread_time()
    await sink.write(large, {AT: 50_000})
    assert time.thread_time() - before < 0.1
    await sink.close()


async def test_a_cancelled_write_leaves_the_sink_able_to_connect_again(database: str) -> None:
    sink = sink_for(database)
    await sink.connect()
    with closing(psycopg2.connect(database)) as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLE readings IN ACCESS EXCLUSIVE MODE")
        writing = asyncio.create_task(sink.write(batch(0), {AT: 10}))
        await _until_waiting(database)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        other.rollback()
    assert await sink.connect() == {}
    await sink.write(batch(0), {AT: 10})
    await sink.close()
    assert stored(database) == (10, 10, 10)


async def _until_waiting(dsn: str) -> None:
    await until(lambda: query(dsn, "SELECT count(*) FROM pg_locks WHERE NOT granted") != [(0,)], 10)


async def test_an_older_worker_of_the_same_sink_is_out_of_force(database: str) -> None:
    old, new = sink_for(database), sink_for(database)
    await old.connect()
    await new.connect()
    with pytest.raises(NotConnected, match="another worker of sink historian took over"):
        await old.write(batch(0), {AT: 10})
    await new.write(batch(0), {AT: 10})
    await new.close()
    assert stored(database) == (10, 10, 10)


async def test_a_new_worker_waits_for_the_old_ones_transaction(database: str) -> None:
    """kill -9 leaves a transaction that may yet be committed: the offsets are only read when that is decided."""
    sink = sink_for(database)
    await sink.connect()
    await sink.close()
    with closing(psycopg2.connect(database)) as old, old.cursor() as cursor:
        cursor.execute("SELECT 1 FROM streamforge_sinks FOR UPDATE")
        cursor.execute(
            "INSERT INTO streamforge_offsets VALUES ('g1', 'historian', 'stream-1', 'telemetry.clean', 0, 77, now())"
        )
        connecting = asyncio.create_task(sink.connect())
        await _until_waiting(database)
        old.commit()
    assert await connecting == {AT: 77}
    await sink.close()


async def refused_connect(dsn: str, **other: object) -> str:
    sink = sink_for(dsn, **other)
    with pytest.raises(NeedsPerson) as caught:
        await sink.connect()
    await sink.close()
    return str(caught.value)


async def test_a_wrong_password_is_said_without_the_password(postgres: Postgres, database: str) -> None:
    role = f"r{uuid.uuid4().hex[:10]}"
    query(database, f"CREATE ROLE {role} LOGIN PASSWORD 'right' IN ROLE with_password")
    query(database, f"GRANT CREATE ON SCHEMA public TO {role}")
    dsn = database.replace("postgres@", f"{role}@")
    told = await refused_connect(dsn, password="wrong-one")
    assert "password authentication failed" in told
    assert "check `password`" in told
    assert "wrong-one" not in told
    assert "no password supplied" in await refused_connect(dsn)
    sink = sink_for(dsn, password="right")
    assert await sink.connect() == {}
    await sink.close()
    query(database, f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_an_unknown_database_and_role_are_named(postgres: Postgres, database: str) -> None:
    told = await refused_connect(postgres.dsn("nowhere"))
    assert 'database "nowhere" does not exist' in told
    assert "create the database" in told
    assert 'role "nobody" does not exist' in await refused_connect(postgres.dsn(user="nobody"))


async def test_missing_rights_are_said(postgres: Postgres, database: str) -> None:
    role = f"r{uuid.uuid4().hex[:10]}"
    query(database, f"CREATE ROLE {role} LOGIN")
    dsn = database.replace("postgres@", f"{role}@")
    assert "permission denied for schema public; grant it" in await refused_connect(dsn)
    await refused_connect(dsn, schema_name="plant")
    owner = sink_for(database)
    await owner.connect()
    await owner.close()
    assert "permission denied for table streamforge_version" in await refused_connect(dsn)
    query(database, f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}")
    sink = sink_for(dsn)
    await sink.connect()
    await sink.write(batch(0), {AT: 10})
    query(database, f"REVOKE INSERT ON readings FROM {role}")
    with pytest.raises(NeedsPerson, match="permission denied for table readings"):
        await sink.write(batch(10), {AT: 20})
    await sink.close()
    query(database, f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_a_dropped_column_is_named(database: str) -> None:
    sink = sink_for(database)
    await sink.connect()
    query(database, "ALTER TABLE readings RENAME COLUMN reason TO because")
    with pytest.raises(NeedsPerson, match='column "reason"'):
        await sink.write(batch(0), {AT: 10})
    assert "readings.reason is missing" in await refused_connect(database)
    query(database, "ALTER TABLE readings RENAME COLUMN because TO reason")
    await sink.connect()
    await sink.write(batch(0), {AT: 10})
    await sink.close()


async def test_somebody_elses_table_is_left_alone(database: str) -> None:
    query(database, "CREATE TABLE readings (mine text)")
    told = await refused_connect(database)
    assert "readings is there already and not of StreamForge" in told
    assert "table_prefix" in told
    sink = sink_for(database, table_prefix="sf_")
    await sink.connect()
    await sink.close()


async def test_tables_of_a_newer_program_are_left_alone(database: str) -> None:
    sink = sink_for(database)
    await sink.connect()
    await sink.close()
    query(database, "INSERT INTO streamforge_version VALUES (99, now())")
    assert "version 99, this program knows 1" in await refused_connect(database)


async def test_a_read_only_database_is_waited_for(postgres: Postgres, database: str) -> None:
    name = database.rsplit("/", 1)[1]
    query(database, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    sink = sink_for(database)
    with pytest.raises(NotConnected, match="read-only") as caught:
        await sink.connect()
    assert not isinstance(caught.value, NeedsPerson)
    query(postgres.dsn(), f"ALTER DATABASE {name} RESET default_transaction_read_only")
    assert await sink.connect() == {}
    await sink.close()


async def test_nobody_there_and_no_such_host_are_told_apart() -> None:
    for host, told in (("127.0.0.1", "Connection refused"), ("no-such-host.invalid", "could not translate host name")):
        sink = sink_for(f"postgresql://postgres@{host}:{free_port()}/plant")
        with pytest.raises(NotConnected, match=told):
            await sink.connect()
        await sink.close()


async def test_partitions_that_repeat_keys_go_by_staging_and_come_back(database: str) -> None:
    sink = sink_for(database)
    await sink.connect()
    await sink.write(batch(0), {AT: 10})
    for _ in range(3):
        await sink.write(batch(0), {AT: 10})
        assert stored(database) == (10, 10, 10)
    before = query(database, "SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'readings'")
    assert before == [(0,)], "what is the same is not written again"
    await sink.close()


async def test_two_sinks_with_different_ids_keep_their_own_offsets(database: str) -> None:
    one, two = sink_for(database), PostgresSink(sink_for(database, id="second")._config, Origin("g1", "stream-1"))
    await one.connect()
    await two.connect()
    await one.write(batch(0), {AT: 10})
    assert await two.connect() == {}
    await two.write(batch(0), {AT: 5})
    assert await one.connect() == {AT: 10}
    await one.close()
    await two.close()
    assert query(database, "SELECT count(*) FROM readings") == [(10,)]
