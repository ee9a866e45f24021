"""A database that is away, cut off, killed or hung under a working sink: waited for, seen, nothing lost or doubled."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any

import psycopg2
import pytest

from actors.context import Status
from tests.kit.postgres import Postgres, query
from tests.kit.postgres_server import Server
from tests.kit.records import series
from tests.kit.sink_bench import SinkBench
from tests.kit.sink_worker import (
    rows,
    stored,
    stored_is,
    working,
)
from tests.kit.tcp_proxy import TcpProxy
from tests.kit.waiting import until

Unique = Callable[[str], str]
QUICK = {"failures": 2, "pause": "200ms"}


async def test_a_database_away_is_waited_for_and_the_breaker_is_seen(bench: SinkBench, own_postgres: Server) -> None:
    topic, config = await bench.on_a_topic(own_postgres.dsn)
    async with bench.source() as source, working(config) as context:
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
        await until(lambda: context.gauges["lag_s"] > 0)
        await asyncio.to_thread(own_postgres.start)
        await until(stored_is(own_postgres.dsn, 300))
        await until(lambda: context.status is Status.HEALTHY)
        assert context.facts["breaker"]["state"] == "closed"
        assert context.facts["breaker"]["failures"] == 0
        assert context.counters["breaker_opened_total"] == 1
        await until(lambda: context.gauges["lag_s"] == 0)


async def test_a_database_away_at_the_start_does_not_hold_up_the_start(
    bench: SinkBench, postgres: Postgres, database: str
) -> None:
    topic = await bench.new_topic()
    async with TcpProxy(postgres.port) as proxy, bench.source() as source:
        proxy.refuse = True
        dsn = database.replace(f":{postgres.port}/", f":{proxy.port}/")
        await source.readings(topic, series(), rows(0, 100))
        async with working(bench.config([topic], dsn)) as context:
            await until(lambda: context.gauges.get(f'lag{{topic="{topic}"}}') == 100)
            await until(lambda: context.status is Status.UNHEALTHY)
            assert (await asyncio.to_thread(stored, database)) == (0, 0)
            proxy.refuse = False
            await until(stored_is(database, 100))
            await until(lambda: context.status is Status.HEALTHY)
            assert context.counters[f'stored_total{{topic="{topic}"}}'] == 100


async def test_connections_cut_at_random_double_and_lose_nothing(
    bench: SinkBench, postgres: Postgres, database: str
) -> None:
    topic = await bench.new_topic(partitions=2)
    chance = random.Random(7)
    async with TcpProxy(postgres.port) as proxy, bench.source() as source:
        dsn = database.replace(f":{postgres.port}/", f":{proxy.port}/") + "?sslmode=disable&gssencmode=disable"
        config = bench.config([topic], dsn, partitions=2, breaker={"failures": 3, "pause": "100ms"})
        async with working(config) as context:
            for n in range(8):
                proxy.cut_after = b"COMMIT\0" if n % 2 else None
                for part in range(3):
                    await source.readings(topic, series(), rows(300 * n + 100 * part, 100), part % 2)
                if n % 2:
                    await until(lambda n=n: proxy.cuts > n // 2)
                else:
                    written = context.counters.get("batches_total", 0) + chance.randrange(3)
                    all_stored = stored_is(database, 300 * n + 300)

                    async def somewhere(w: float = written, last: Callable[[], Any] = all_stored) -> bool:
                        """Some batches on, or nothing is left to be written."""
                        return context.counters.get("batches_total", 0) >= w or await last()

                    await until(somewhere)
                    proxy.cut()
            await until(stored_is(database, 2400))
            assert context.counters["failures_total"] >= 4
        assert proxy.cuts == 4


async def test_wrong_set_up_is_unhealthy_at_once_and_heals_without_a_restart(
    bench: SinkBench, database: str, unique: Unique
) -> None:
    topic, role = await bench.new_topic(), unique("r").replace("-", "_")
    dsn = database.replace("postgres@", f"{role}@")
    async with bench.source() as source:
        await source.readings(topic, series(), rows(0, 10))
        async with working(bench.config([topic], dsn)) as context:
            await until(lambda: context.status is Status.UNHEALTHY)
            assert f'role "{role}" does not exist' in (context.reason or "")
            assert context.facts["breaker"]["state"] == "open"
            assert f"restart {context.config['sink']['id']}" in (context.next_step or "")
            assert "the gateway file" in (context.next_step or "")
            query(database, f"CREATE ROLE {role} LOGIN SUPERUSER")
            await until(stored_is(database, 10))
            await until(lambda: context.status is Status.HEALTHY)
    query(database, f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_a_killed_backend_and_its_crash_recovery_lose_and_double_nothing(
    bench: SinkBench, own_postgres: Server
) -> None:
    """kill -9 of the process that serves us: PostgreSQL then ends all the others and recovers. What was being committed is
    known only from the offsets."""
    topic, config = await bench.on_a_topic(own_postgres.dsn, breaker=QUICK)
    async with bench.source() as source, working(config) as context:
        for n in range(4):
            await until(lambda n=n: context.counters.get("connects_total", 0) > n)
            serving = await serving_pid(own_postgres.dsn)
            writing = asyncio.create_task(source.readings(topic, series(), rows(3000 * n, 3000)))
            stored_before = context.counters.get(f'stored_total{{topic="{topic}"}}', 0)
            await until(lambda b=stored_before: context.counters.get(f'stored_total{{topic="{topic}"}}', 0) > b)
            os.kill(serving, signal.SIGKILL)
            await writing
        await until(stored_is(own_postgres.dsn, 12_000), 40)
        await until(lambda: context.counters["failures_total"] >= 4)
        await until(lambda: context.status is Status.HEALTHY)
    assert stored(own_postgres.dsn) == (12_000, 12_000), "nothing lost, and no value twice"


async def test_a_database_that_ends_while_nothing_happens_is_noticed(bench: SinkBench, own_postgres: Server) -> None:
    _, config = await bench.on_a_topic(own_postgres.dsn)
    async with working(config) as context:
        await until(lambda: context.status is Status.HEALTHY)
        await asyncio.to_thread(own_postgres.stop)
        # Its last words were others, and while it shuts down it says so.
        await until(lambda: context.status is Status.UNHEALTHY and "refused" in (context.reason or ""))
        await asyncio.to_thread(own_postgres.start)
        await until(lambda: context.status is Status.HEALTHY)


async def test_a_server_that_hangs_without_a_word_is_given_up_and_taken_up_again(
    bench: SinkBench, own_postgres: Server
) -> None:
    """Stopped processes keep their sockets open: no reset, no answer."""
    topic = await bench.new_topic()
    short = {"write_timeout": "500ms", "connect_timeout": "500ms", "breaker": QUICK}
    async with bench.source() as source:
        async with working(bench.config([topic], own_postgres.dsn, **short)) as context:
            await source.readings(topic, series(), rows(0, 100))
            await until(stored_is(own_postgres.dsn, 100))
            hung = [await serving_pid(own_postgres.dsn), own_postgres.pid]
            for pid in hung:
                os.kill(pid, signal.SIGSTOP)
            try:
                await source.readings(topic, series(), rows(100, 100))
                await until(lambda: context.facts["breaker"]["state"] == "open")
                assert (
                    "took longer than 0.5 s" in context.facts["breaker"]["reason"]
                    or "still hangs" in context.facts["breaker"]["reason"]
                )
            finally:
                for pid in reversed(hung):
                    os.kill(pid, signal.SIGCONT)
            await until(stored_is(own_postgres.dsn, 200))
            await until(lambda: context.status is Status.HEALTHY)


async def test_a_batch_that_hangs_is_said_long_before_its_deadline(
    bench: SinkBench, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.sink.SLOW_S", 0.3)
    topic, config = await bench.on_a_topic(database)
    async with bench.source() as source, working(config) as context:
        await source.readings(topic, series(), rows(0, 100))
        await until(stored_is(database, 100))
        with closing(psycopg2.connect(database)) as other, other.cursor() as cursor:
            cursor.execute("LOCK TABLE readings IN EXCLUSIVE MODE")
            await source.readings(topic, series(), rows(100, 100))
            await until(lambda: context.status is Status.DEGRADED)
            assert "0.3 s ago, and it has not answered yet; after 60 s" in (context.reason or "")
            assert "a lock" in (context.next_step or "")
        await until(stored_is(database, 200))
        await until(lambda: context.status is Status.HEALTHY)
        assert "failures_total" not in context.counters


async def serving_pid(dsn: str) -> int:
    """The process of the database that serves the sink; asked until the database is there to answer."""
    found: list[int] = []

    async def known() -> bool:
        with suppress(psycopg2.Error):
            pids = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'streamforge%'"
            found.extend(pid for (pid,) in await asyncio.to_thread(query, dsn, pids))
        return bool(found)

    await until(known)
    return found[0]
