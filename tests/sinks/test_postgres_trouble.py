"""A database that is away, slow, locked, cut off or half-open: nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from contextlib import closing

import psycopg2
import pytest

from sinks.contract import NotConnected, Origin
from sinks.postgres.sink import PostgresSink
from tests.kit.postgres import Postgres, query
from tests.kit.postgres_server import Server
from tests.kit.tcp_proxy import TcpProxy
from tests.kit.waiting import until
from tests.sinks.postgres_kit import AT, batch, sink_for, stored

LOOK_EVERY_S = 0.01


def through(proxy: TcpProxy, dsn: str) -> str:
    return f"postgresql://postgres@127.0.0.1:{proxy.port}/{dsn.rsplit('/', 1)[1]}?sslmode=disable&gssencmode=disable"


async def test_a_cut_between_commit_and_reply_doubles_and_loses_nothing(postgres: Postgres, database: str) -> None:
    async with TcpProxy(postgres.port) as proxy:
        sink = sink_for(through(proxy, database))
        assert await sink.connect() == {}
        await sink.write(batch(0), {AT: 10})
        proxy.cut_after = b"COMMIT\0"
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
        sink = sink_for(through(proxy, database), write_timeout="1s")
        await sink.connect()
        proxy.silent = True
        started = time.monotonic()
        with pytest.raises(NotConnected, match=r"writing took longer than 1 s"):
            await sink.write(batch(0), {AT: 10})
        assert time.monotonic() - started < 10
        proxy.silent = False
        assert await sink.connect() == {}
        await sink.write(batch(0), {AT: 10})
        await sink.close()
    assert stored(database) == (10, 10, 10)
    await until(lambda: not [t.name for t in threading.enumerate() if t.name.startswith("postgres")])


async def test_a_server_that_never_greets_is_given_up_at_the_deadline(postgres: Postgres, database: str) -> None:
    async with TcpProxy(postgres.port) as proxy:
        proxy.silent = True
        sink = sink_for(through(proxy, database), connect_timeout="1s")
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

        await until(connects)
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
        turns: list[None] = []
        watching = asyncio.create_task(_watch_loop(turns))
        with pytest.raises(NotConnected, match="lock timeout; another connection holds a lock"):
            await sink.write(batch(10), {AT: 20})
        watching.cancel()
        assert len(turns) > 10, "as many as the machine has time for, and not one before and one after"
        other.rollback()
    assert await sink.connect() == {AT: 10}
    await sink.write(batch(10), {AT: 20})
    await sink.close()
    assert stored(database) == (20, 20, 20)


async def _watch_loop(turns: list[None]) -> None:
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        turns.append(None)


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
    await until(lambda: query(dsn, "SELECT count(*) FROM pg_locks WHERE NOT granted") != [(0,)])


async def test_an_older_worker_of_the_same_sink_is_out_of_force(database: str) -> None:
    old, new = sink_for(database), sink_for(database)
    await old.connect()
    await new.connect()
    with pytest.raises(NotConnected, match=r"gateway \S+ and sink historian took over") as told:
        await old.write(batch(0), {AT: 10})
    assert "`gateway.id`" in (told.value.next_step or ""), "two that take turns for ever are copies of one file"
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
