"""The demo's own programs as forks of itself: what they import is imported once and shared, three times 70 MB otherwise.

Each fork is a session of its own with its words in a file, and is killed when this process ends. To be used before this process has
threads. Not responsible for what a fork runs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from actors import guard

KEPT = 3
"""Standard input, output and error; everything else this process has open stays its own."""
LOOK_EVERY_S = 0.02


class Fork:
    """One forked program, from its start to its end; asked and told as a subprocess.Popen is."""

    def __init__(self, work: Callable[[], int], log: Path) -> None:
        """`work` returns the exit code; what it raises goes into the log."""
        self.returncode: int | None = None
        parent = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _live(work, log, parent)

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, within_s: float) -> int:
        """The exit code. Raises subprocess.TimeoutExpired."""
        deadline = time.monotonic() + within_s
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(f"process {self.pid}", within_s)
            time.sleep(LOOK_EVERY_S)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _live(work: Callable[[], int], log: Path, parent: int) -> None:
    """Never returns: neither to the caller's frames nor through its clean-up, which are the parent's."""
    code = 1
    try:
        os.setsid()
        guard.die_with(parent)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        _only_words_to(log)
        code = work()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _only_words_to(log: Path) -> None:
    os.closerange(KEPT, os.sysconf("SC_OPEN_MAX"))
    nowhere = os.open(os.devnull, os.O_RDONLY)
    words = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for source, target in ((nowhere, 0), (words, 1), (words, 2)):
        os.dup2(source, target)
    os.close(nowhere)
    os.close(words)
    # Whoever started this may have put something else in their place.
    sys.stdout = open(1, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115 - for as long as the process lives
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115
