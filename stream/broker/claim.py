"""Who uses the data directory: one gateway at a time, and a broker that a crash left behind is ended.

The claim is an flock on `claim.json`, held by the actor and inherited by its JVM: it is free only when both are gone. The file says
who they are. A JVM whose actor is gone is an orphan of ours and is killed; anybody else is left alone and named.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any, Self

import psutil

ORPHAN_WITHIN_S = 10
BUSY_WITHIN_S = 3


class Claimed(Exception):
    """Somebody else uses the data, or the port; the message says who."""


def started_at(pid: int) -> float | None:
    """When a process started; with the pid it names a process for ever. None when it is gone."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return None


def same(pid: Any, started: Any) -> bool:
    """Is the process that was written down still the one with this pid?"""
    if not isinstance(pid, int) or not isinstance(started, int | float):
        return False
    now = started_at(pid)
    return now is not None and abs(now - started) < 0.05


def named(pid: int | None) -> str:
    """`pid 123 (java -Xmx ...)` for messages."""
    if pid is None:
        return "a process that cannot be seen from here"
    try:
        command = " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return f"pid {pid}"
    return f"pid {pid} ({command[:80]}{'...' if len(command) > 80 else ''})"


class Claim:
    """The right to use one stream directory. `descriptor` is for the JVM to inherit."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    async def take(cls, root: Path) -> Self:
        """Claim the directory, ending an orphan of ours. Claimed says who else has it."""
        os.makedirs(root, exist_ok=True)  # noqa: PTH103 - Path.mkdir is taken for blocking by ASYNC240
        descriptor = os.open(root / "claim.json", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            await _lock(descriptor, root)
            claim = cls(descriptor)
            claim.write(None)
            _refuse_foreign_kafka(root / "kafka" / ".lock")
        except BaseException:
            os.close(descriptor)
            raise
        return claim

    def write(self, jvm: int | None) -> None:
        """Write down who holds the claim: this process and its JVM."""
        me = os.getpid()
        text = json.dumps(
            {"actor": me, "actor_started": started_at(me), "jvm": jvm, "jvm_started": jvm and started_at(jvm)}
        )
        os.pwrite(self.descriptor, text.encode().ljust(256), 0)

    def release(self) -> None:
        os.close(self.descriptor)


async def _lock(descriptor: int, root: Path) -> None:
    """Take the lock; a holder that is just leaving (a killed JVM frees its memory first) is waited for."""
    deadline = time.monotonic() + BUSY_WITHIN_S
    killed = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            pass
        holder = _holder(descriptor)
        if not killed and _is_orphan(holder):
            os.kill(holder["jvm"], signal.SIGKILL)
            killed, deadline = True, time.monotonic() + ORPHAN_WITHIN_S
        if time.monotonic() > deadline:
            pid = holder.get("actor") if same(holder.get("actor"), holder.get("actor_started")) else holder.get("jvm")
            raise Claimed(
                f"{root} is in use by {named(pid if isinstance(pid, int) else None)}. Two brokers would destroy the data; right would be another data_dir, or stop that one"
            )
        await asyncio.sleep(0.02)


def _holder(descriptor: int) -> dict[str, Any]:
    try:
        given = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:
        return {}
    return given if isinstance(given, dict) else {}


def _is_orphan(holder: dict[str, Any]) -> bool:
    """Its actor is gone, and it is still the process that was written down."""
    return not same(holder.get("actor"), holder.get("actor_started")) and same(
        holder.get("jvm"), holder.get("jvm_started")
    )


def _refuse_foreign_kafka(kafka_lock: Path) -> None:
    """A Kafka that was started by hand on the data holds Kafka's own lock."""
    try:
        descriptor = os.open(kafka_lock, os.O_RDWR)
    except FileNotFoundError:
        return
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise Claimed(
            f"{kafka_lock.parent} is in use by another Kafka: {named(_posix_lock_holder(descriptor))}. Right would be to stop it, or another data_dir"
        ) from error
    finally:
        os.close(descriptor)


def _posix_lock_holder(descriptor: int) -> int | None:
    """The pid in /proc/locks whose lock is on this file."""
    inode = os.fstat(descriptor).st_ino
    for line in Path("/proc/locks").read_text().splitlines():
        words = line.split()
        if words[1] == "POSIX" and words[5].rsplit(":", 1)[-1] == str(inode):
            return int(words[4])
    return None


def refuse_taken_port(port: int, what: str = "") -> None:
    """Claimed when somebody listens on the port already; `what` says why this one is needed, if that is not plain."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
            return
        except OSError as error:
            problem = error
    raise Claimed(
        f"Port {port} of 127.0.0.1{what} is taken by {named(_listener(port))} ({problem.strerror}). Right would be to stop it, or another `stream.port`"
    )


def _listener(port: int) -> int | None:
    try:
        sockets = psutil.net_connections("tcp")
    except (psutil.Error, OSError):
        return None
    return next(
        (s.pid for s in sockets if s.status == psutil.CONN_LISTEN and s.laddr and s.laddr.port == port and s.pid), None
    )
