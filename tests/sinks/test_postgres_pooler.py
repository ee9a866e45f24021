"""PgBouncer in transaction mode between sink and database: each transaction may be served by another connection."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pytest

from sinks.contract import NeedsPerson, NotConnected
from tests.kit.ports import free_port
from tests.kit.postgres import Postgres, query
from tests.kit.waiting import wait_until
from tests.sinks.postgres_kit import AT, mixed, sink_for

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@dataclass
class Pooler:
    port: int
    process: subprocess.Popen[bytes]

    def dsn(self, direct: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{direct.rsplit('/', 1)[1]}"


@pytest.fixture
def pooler(postgres: Postgres) -> Iterator[Pooler]:
    if PROGRAM is None:
        pytest.skip("needs the package pgbouncer")
    with tempfile.TemporaryDirectory(prefix="sf-pgbouncer-") as directory:
        folder, port = Path(directory), free_port()
        folder.chmod(0o755)
        (folder / "users").write_text('"postgres" ""\n')
        (folder / "ini").write_text(
            f"[databases]\n* = host=127.0.0.1 port={postgres.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
            f"listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {folder}/users\n"
            "pool_mode = transaction\ndefault_pool_size = 3\nserver_round_robin = 1\nserver_login_retry = 1\n"
        )
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen([PROGRAM, *user, str(folder / "ini")], stdout=log, stderr=log)
        made = Pooler(port, process)
        _wait_for(made.dsn("x/postgres"))
        yield made
        process.terminate()
        process.wait(30)


def _wait_for(dsn: str) -> None:
    def answers() -> bool:
        with suppress(psycopg2.OperationalError):
            psycopg2.connect(dsn).close()
            return True
        return False

    wait_until(answers)


async def test_two_sinks_share_pooled_connections_and_nothing_is_lost_or_doubled(pooler: Pooler, database: str) -> None:
    one, two = sink_for(pooler.dsn(database)), sink_for(pooler.dsn(database), id="other", table_prefix="o_")
    assert await one.connect() == {}
    assert await two.connect() == {}
    for n in range(8):
        for sink in (one, two):
            await sink.write(mixed(50 * n, 50), {AT: 50 * n + 50})
            await sink.write(mixed(50 * n, 50), {AT: 50 * n + 50})  # again: by way of the staging table
    await one.close()
    assert await one.connect() == {AT: 400}
    for table in ("readings", "o_readings"):
        assert query(database, f"SELECT count(*), count(DISTINCT value) FROM {table}") == [(400, 400)]
    await one.close()
    await two.close()


async def test_nothing_of_ours_stays_in_a_pooled_connection(pooler: Pooler, database: str) -> None:
    sink = sink_for(pooler.dsn(database), write_timeout="7s")
    await sink.connect()
    for n in range(6):
        await sink.write(mixed(50 * n, 50), {AT: 50 * n + 50})
    for _ in range(6):
        assert query(pooler.dsn(database), "SHOW statement_timeout") == [("0",)]
        assert query(
            pooler.dsn(database), "SELECT count(*) FROM pg_class WHERE relname LIKE 'stage_%%' AND %s", True
        ) == [(0,)]
    await sink.close()


async def test_a_lock_behind_a_pooler_is_bounded_too(pooler: Pooler, database: str) -> None:
    sink = sink_for(pooler.dsn(database), lock_timeout="300ms")
    await sink.connect()
    await sink.write(mixed(0, 50), {AT: 50})
    other = psycopg2.connect(database)
    other.cursor().execute("LOCK TABLE readings IN ACCESS EXCLUSIVE MODE")
    with pytest.raises(NotConnected, match="another connection holds a lock"):
        await sink.write(mixed(50, 50), {AT: 100})
    other.close()
    assert await sink.connect() == {AT: 50}
    await sink.close()


async def test_a_pooler_whose_database_is_not_there_is_understood(pooler: Pooler, database: str) -> None:
    sink = sink_for(pooler.dsn("x/nowhere"))
    with pytest.raises(NeedsPerson, match="nowhere"):
        await sink.connect()
    sink = sink_for(pooler.dsn(database).replace("postgres@", "stranger@"))
    with pytest.raises(NeedsPerson, match="see the configuration of PgBouncer"):
        await sink.connect()
