"""One server for a whole run of the tests, as a program of the kit in a process of its own that ends with whoever runs them."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def shared(tmp_path_factory: pytest.TempPathFactory, name: str, module: str) -> str:
    """Where the run's one server of this name can be reached; whoever asks first, of all xdist workers, starts it."""
    base = tmp_path_factory.getbasetemp()
    place, owner = (base.parent, os.getppid()) if "PYTEST_XDIST_WORKER" in os.environ else (base, os.getpid())
    address = place / f"{name}.address"
    with (place / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not address.exists():
            address.write_text(_start(module, f"sf-{name}-", owner))
        return address.read_text()


def _start(module: str, directory_prefix: str, owner: int) -> str:
    """What `python -m MODULE DIRECTORY OWNER` says first: where it can be reached."""
    directory = Path(tempfile.mkdtemp(prefix=directory_prefix))
    directory.chmod(0o755)
    log_path = directory / "guard.log"
    with log_path.open("wb") as log:
        guard = subprocess.Popen(
            [sys.executable, "-m", module, str(directory), str(owner)],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    assert guard.stdout
    with guard.stdout as said:
        first = said.readline().decode().strip()
    if not first:
        pytest.fail(f"{module} did not start: {log_path.read_text()}")
    guard.returncode = 0  # it lives as long as the whole run, so nobody waits for it
    return first
