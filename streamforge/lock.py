"""One daemon for one data directory: a lock file that is held by the daemon and every process it forked.

The lock is the kernel's (flock), so a crash leaves none behind; and as the children hold it too, a new daemon cannot start beside
remains of the old one.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

NAME = "streamforge.lock"


class AlreadyRunning(Exception):
    """Another daemon uses the data directory; the text names its process."""


def take(data_dir: Path, wait_s: float = 3.0) -> int:
    """The open lock file, to be kept open. Waits a little for processes of a killed daemon to vanish. Raises AlreadyRunning."""
    data_dir.mkdir(parents=True, exist_ok=True)
    path = data_dir / NAME
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    deadline = time.monotonic() + wait_s
    while not _locked(file):
        holder = _holder(file)
        if time.monotonic() > deadline or (holder is not None and _runs(holder)):
            os.close(file)
            who = f"process {holder}" if holder is not None else "another process"
            raise AlreadyRunning(
                f"the data directory {data_dir} is in use: {who} runs StreamForge on it; stop that one first, or give another data directory"
            )
        time.sleep(0.05)
    os.ftruncate(file, 0)
    os.pwrite(file, b"%d\n" % os.getpid(), 0)
    return file


def holder(data_dir: Path) -> int | None:
    """The process of the daemon that holds the lock now, or None. Asks the kernel's list, for a try would disturb a daemon that starts."""
    path = data_dir / NAME
    try:
        inode, text = path.stat().st_ino, path.read_text().strip()
        locks = Path("/proc/locks").read_text()
    except OSError:
        return None
    held = any(f":{inode} " in line and " FLOCK " in line and "->" not in line for line in locks.splitlines())
    return int(text) if held and text.isdigit() else None


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(file: int) -> int | None:
    text = os.pread(file, 32, 0).strip()
    return int(text) if text.isdigit() else None


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
