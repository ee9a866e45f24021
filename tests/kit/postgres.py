"""The fixtures `postgres` (one real server for the whole test run, shared by all xdist workers), `database` (a fresh database
for one test) and `own_postgres` (a server of the test's own, to stop and kill).
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.kit.postgres_server import Server

ROOT = Path(__file__).parents[2]


def query(dsn: str, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    """Run one statement on a connection of its own, committed; the rows, if it has any."""
    with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(sql, values or None)
        return cursor.fetchall() if cursor.description else []


@dataclass(frozen=True)
class Postgres:
    port: int

    def dsn(self, database: str = "postgres", user: str = "postgres") -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def fresh_database(self) -> str:
        """The DSN of a new, empty database."""
        name = f"t_{uuid.uuid4().hex[:12]}"
        with closing(psycopg2.connect(self.dsn())) as connection:
            connection.autocommit = True
            connection.cursor().execute(f"CREATE DATABASE {name}")
        return self.dsn(name)

    def drop(self, dsn: str) -> None:
        with closing(psycopg2.connect(self.dsn())) as connection:
            connection.autocommit = True
            connection.cursor().execute(f"DROP DATABASE IF EXISTS {dsn.rsplit('/', 1)[1]} WITH (FORCE)")


def _start(port_file: Path, owner: int) -> int:
    directory = Path(tempfile.mkdtemp(prefix="sf-postgres-"))
    directory.chmod(0o755)
    with (directory / "guard.log").open("wb") as log:
        guard = subprocess.Popen(
            [sys.executable, "-m", "tests.kit.postgres_server", str(directory), str(owner)],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    assert guard.stdout
    with guard.stdout as said:
        line = said.readline()
    if not line:
        pytest.fail(f"PostgreSQL did not start: {(directory / 'guard.log').read_text()}")
    guard.returncode = 0  # it lives as long as the whole run, so nobody waits for it
    port_file.write_text(line.decode())
    return int(line)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Postgres:
    """One server for the run; it ends with the process that runs the tests (the controller, under xdist)."""
    base = tmp_path_factory.getbasetemp()
    shared, owner = (base.parent, os.getppid()) if "PYTEST_XDIST_WORKER" in os.environ else (base, os.getpid())
    port_file = shared / "postgres.port"
    with (shared / "postgres.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        port = int(port_file.read_text()) if port_file.exists() else _start(port_file, owner)
    return Postgres(port)


@pytest.fixture
def database(postgres: Postgres) -> Iterator[str]:
    """The DSN of a database of the test's own."""
    dsn = postgres.fresh_database()
    yield dsn
    postgres.drop(dsn)


@pytest.fixture
def own_postgres() -> Iterator[Server]:
    """A whole server of the test's own, started; the test may stop, kill and start it."""
    with tempfile.TemporaryDirectory(prefix="sf-postgres-") as directory:
        Path(directory).chmod(0o755)
        server = Server(Path(directory) / "data")
        server.start()
        yield server
        server.stop()
