"""The demo's database: a real PostgreSQL out of a Python wheel, on a loopback port, gone with the process that started it.

Who may log in: whoever knows the password, which lies beside the data and is its owner's alone. Other users of the machine reach the port,
and a superuser of a database can run programs. Not responsible for where the cluster lies and as whom it runs (cluster.py).
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import time
from pathlib import Path

import psycopg2

from actors import guard
from streamforge.demo.cluster import ENVIRONMENT, NoHistorian, cluster
from streamforge.system import free_ports

__all__ = ["Historian", "NoHistorian"]
START_WITHIN_S = 30.0
STOP_WITHIN_S = 20.0
REMAINS_WITHIN_S = 5.0
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "64MB",
    "max_connections": "30",
    "max_wal_size": "1GB",
    "log_min_messages": "warning",
}


class Historian:
    """One PostgreSQL over one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self.port = free_ports(1)[0]
        self._password_file = self.directory.with_suffix(".password")
        self._log = self.directory.with_suffix(".log")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where it is, as a gateway's file may say it: without the password."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    @property
    def dsn(self) -> str:
        return f"postgresql://postgres:{self.password()}@127.0.0.1:{self.port}/postgres"

    def password(self) -> str:
        """Made at first use."""
        try:
            return self._password_file.read_text()
        except FileNotFoundError:
            file = os.open(self._password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(file, "w") as out:
                out.write(secrets.token_urlsafe(24))
            return self._password_file.read_text()

    def start(self) -> None:
        """Make the cluster on first use and start it. Raises NoHistorian."""
        found = cluster(self.directory, self.password())
        _forget_the_dead(found.data)
        settings = [word for key, value in {**SETTINGS, "port": self.port}.items() for word in ("-c", f"{key}={value}")]
        parent = os.getpid()
        with self._log.open("ab") as out:
            self._process = subprocess.Popen(
                [found.programs / "postgres", "-D", found.data, *settings],
                stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd="/", env=ENVIRONMENT, start_new_session=True,
                preexec_fn=lambda: guard.die_with(parent, signal.SIGQUIT), **found.identity(),
            )  # fmt: skip
        self._wait()

    def _wait(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_WITHIN_S
        while True:
            try:
                psycopg2.connect(self.dsn, connect_timeout=2).close()
                return
            except psycopg2.OperationalError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise NoHistorian(
                        f"the demo's PostgreSQL did not start: {str(error).strip()}; the end of its log {self._log}:\n{self._words()}"
                    ) from None
                time.sleep(0.02)

    def _words(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-8:])

    def stop(self) -> None:
        """A fast, orderly shutdown."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def pids(self) -> list[int]:
        """The server and its backends, for who measures them."""
        import psutil

        if self._process is None:
            return []
        server = psutil.Process(self._process.pid)
        return [server.pid, *(child.pid for child in server.children(recursive=True))]


def _forget_the_dead(data: Path) -> None:
    """Wait for a server whose demo was killed to end, and take away its pid file. Raises NoHistorian for one that lives on."""
    file = data / "postmaster.pid"
    deadline = time.monotonic() + REMAINS_WITHIN_S
    while (pid := _serving(file)) is not None:
        if time.monotonic() > deadline:
            raise NoHistorian(
                f"{data} is served already by process {pid}; end it (kill {pid}), or name another directory with --data"
            )
        time.sleep(0.05)
    file.unlink(missing_ok=True)


def _serving(file: Path) -> int | None:
    """The process that a pid file names, if it lives and serves these data."""
    try:
        pid = int(file.read_text().split()[0])
        return pid if os.fsencode(file.parent) in Path(f"/proc/{pid}/cmdline").read_bytes() else None
    except (OSError, ValueError, IndexError):
        return None
