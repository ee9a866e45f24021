"""The fixtures `postgres` (one real server for the whole test run, shared by all xdist workers), `database` (a fresh database
for one test) and `own_postgres` (a server of the test's own, to stop and kill).
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.kit import guarded
from tests.kit.postgres_server import Server


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
            name, cursor = dsn.rsplit("/", 1)[1], connection.cursor()
            cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
            cursor.execute(f"DROP DATABASE IF EXISTS {name}")


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Postgres:
    """One server for the run; it ends with the process that runs the tests (the controller, under xdist)."""
    return Postgres(int(guarded.shared(tmp_path_factory, "postgres", "tests.kit.postgres_server")))


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
