"""One JVM as a child process: started so that it dies with its parent, its console read, its exit known, stopped in order or by force.

Not responsible for what the JVM runs, for settings, or for deciding when to start and stop.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

CONSOLE_LINES = 60
LINE_LIMIT = 64 * 1024


class ChildProcess:
    """A started child. `tail` holds its last console lines, `on_line` sees each one."""

    def __init__(self, process: asyncio.subprocess.Process, on_line: Callable[[str], None]) -> None:
        self._process = process
        self._on_line = on_line
        self.tail: deque[str] = deque(maxlen=CONSOLE_LINES)
        self.exited: asyncio.Task[int] = asyncio.create_task(self._watch())
        """Done when the process is gone and its console read; the result is its exit code, negative for a signal."""

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    def terminate(self) -> None:
        """SIGTERM: Kafka closes its logs and leaves."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    async def stop(self, within_s: float) -> int:
        """SIGTERM, then SIGKILL when `within_s` have passed; the exit code."""
        self.terminate()
        done, _ = await asyncio.wait({self.exited}, timeout=within_s)
        if not done:
            self.kill()
        return await self.exited

    def _signal(self, number: signal.Signals) -> None:
        if self.running:
            self._process.send_signal(number)

    async def _watch(self) -> int:
        reading = asyncio.create_task(self._read())
        code = await self._process.wait()
        # A grandchild could hold the pipe open for ever; the JVM has none, but a wrong `java` might.
        await asyncio.wait({reading}, timeout=1)
        reading.cancel()
        return code

    async def _read(self) -> None:
        assert self._process.stdout
        while True:
            try:
                raw = await self._process.stdout.readline()
            except ValueError:  # longer than LINE_LIMIT: the buffer was dropped, the next line follows
                continue
            if not raw:
                return
            line = raw.decode(errors="replace").rstrip()
            self.tail.append(line)
            self._on_line(line)


async def start(
    command: Sequence[str | Path], on_line: Callable[[str], None], *, cwd: Path, keep: Sequence[int] = ()
) -> ChildProcess:
    """Start a child that is killed when the calling *thread* ends (PDEATHSIG is per thread): call it on the worker's loop.

    `keep` are file descriptors the child inherits. setpriv (util-linux) sets the signal: a preexec_fn would run Python in a fork of threads.
    OSError when it cannot be started.
    """
    setpriv = shutil.which("setpriv", path=f"{os.environ.get('PATH', '')}:/usr/bin:/bin")
    if setpriv is None:
        raise FileNotFoundError(
            "setpriv (package util-linux) is missing: without it a crash could leave the broker behind"
        )
    process = await asyncio.create_subprocess_exec(
        setpriv,
        "--pdeathsig",
        "SIGKILL",
        *map(str, command),
        cwd=cwd,
        env={**os.environ, "LC_ALL": "C.UTF-8"},  # in the locale C, a service's, Java finds no folder with an umlaut
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        pass_fds=tuple(keep),
        limit=LINE_LIMIT,
        start_new_session=True,  # Ctrl-C in the terminal is for the daemon, which stops the broker in order
    )
    return ChildProcess(process, on_line)
