"""`streamforge run` as a process: it takes the lock, starts the actor system and the root supervisor, watches them, tells systemd, and stops
everything in order on SIGTERM or SIGINT. It does no other work; the work is in the tree.

If the root or Thespian's administrator dies, or the root does not answer any more, everything is ended and the exit code is not 0, so
that systemd starts it again. If this process is killed, PR_SET_PDEATHSIG takes all others with it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import resource
import select
import signal
import time
import uuid
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import Any

import psutil

from actors import guard, logs, surroundings
from actors.base import Address, NoAnswer, System, SystemFailed
from actors.messages import Question, Start, Stop
from control import branches, view
from streamforge import lock
from streamforge.notify import Notifier
from supervisors.report import Node, pids
from supervisors.spec import Child, lines, stop_time, walk
from supervisors.supervisor import Supervisor

ASK_EVERY_S = 1.0
ANSWER_WITHIN_S = 2.0
START_WITHIN_S = 30.0
STOP_MARGIN_S = 10.0
KILLED_WITHIN_S = 5.0
FILES_MAX = 65_536


class Exit(IntEnum):
    """The exit codes of the daemon (the table of the command line)."""

    ORDERLY = 0
    FAILED = 1
    ALREADY_RUNNING = 6


class Broken(Exception):
    """The tree cannot go on; the text says why."""


def run_daemon(
    tree: Child, data_dir: Path, *, gateway_id: str = "gateway", on_report: Callable[[Node], None] | None = None
) -> int:
    """Run the tree until a signal or a failure, and return the exit code. Call it once, from the main thread of a process without other
    threads: everything is forked from here.

    `on_report` gets the whole tree (supervisors/report.py) about once a second, more often while it starts.
    """
    logs.configure()
    logs.identify("daemon", gateway_id)
    guard.name_process("daemon")
    try:
        held = lock.take(data_dir)
    except lock.AlreadyRunning as error:
        logs.get().error(str(error))
        return Exit.ALREADY_RUNNING
    daemon = Daemon(tree, gateway_id, on_report)
    try:
        return daemon.run()
    finally:
        os.close(held)


class Daemon:
    def __init__(self, tree: Child, gateway_id: str, on_report: Callable[[Node], None] | None) -> None:
        self._tree, self._gateway_id, self._on_report = tree, gateway_id, on_report
        self._systemd = Notifier()
        if self._systemd.listens and (unit := surroundings.unit_of()):
            os.environ[surroundings.UNIT] = unit
        self._signals = _Signals()
        self._ready = False
        self._root: Address = None
        self._watched: dict[int, str] = {}

    def run(self) -> int:
        for line in lines(self._tree):
            logs.get().info(line)
        share_memory(self._tree)
        _many_files()
        try:
            self._start()
            self._watch()
            return self._stop()
        except (Broken, SystemFailed) as error:
            self._systemd.status(str(error))
            logs.get().error(str(error))
            return Exit.FAILED
        finally:
            _kill_all()
            self._signals.close()

    def _start(self) -> None:
        self._systemd.status("starting")
        self._system = System()
        self._root = self._system.start(Supervisor)
        self._system.tell(self._root, Start("", self._tree.id, 1, {"gateway_id": self._gateway_id}, self._tree))
        body = self._ask(START_WITHIN_S)
        if body is None:
            raise Broken("the root supervisor did not start")
        self._watched = {
            os.pidfd_open(self._system.admin_pid): "Thespian's administrator",
            os.pidfd_open(body["pid"]): "the root supervisor",
        }

    def _ask(self, within_s: float = ANSWER_WITHIN_S) -> dict[str, Any] | None:
        try:
            answer = self._system.ask(self._root, Question(uuid.uuid4().hex), within_s)
        except NoAnswer:
            return None
        body: dict[str, Any] = answer.body
        return body

    def _watch(self) -> None:
        """Returns when a signal asks to stop. Raises Broken."""
        heard = time.monotonic()
        while not self._signals.received:
            body = self._ask()
            if body is not None:
                heard = time.monotonic()
                self._take(body)
            elif time.monotonic() - heard > self._tree.heartbeat_s:
                raise Broken(f"the root supervisor has not answered for {self._tree.heartbeat_s:g} s")
            self._wait(min(ASK_EVERY_S if self._ready else 0.1, (self._systemd.watchdog_s or 4.0) / 4))
            _reap()

    def _take(self, body: dict[str, Any]) -> None:
        """The root has answered: feed the watchdog, say how it is."""
        self._systemd.watchdog()
        if body["gave_up"] is not None:
            raise Broken(f"the root supervisor gave up: {body['gave_up']}")
        if body["life"] == "running" and not self._ready:
            self._ready = True
            self._systemd.ready()
            logs.get().info("everything has started", processes=len(pids(body["tree"])))
        self._systemd.status(_summary(body["tree"]))
        if self._on_report is not None:
            self._on_report(body["tree"])

    def _wait(self, for_s: float) -> None:
        """Until the time is over, a signal comes or one of the two processes dies."""
        ready, _, _ = select.select([self._signals.bell, *self._watched], [], [], for_s)
        self._signals.drain()
        for each in ready:
            if each in self._watched:
                raise Broken(f"{self._watched[each]} died")

    def _stop(self) -> int:
        within_s = stop_time(self._tree)
        logs.get().info("stopping", signal=self._signals.received, within_s=within_s)
        self._systemd.stopping(within_s + STOP_MARGIN_S)
        self._signals.received = None
        self._system.tell(self._root, Stop(within_s))
        deadline = time.monotonic() + within_s + STOP_MARGIN_S
        while time.monotonic() < deadline:
            body = self._ask()
            if body is not None and body["life"] == "ended":
                self._system.shutdown()
                logs.get().info("stopped in order")
                return Exit.ORDERLY
            if self._signals.received:
                raise Broken("asked to stop a second time: everything is killed")
            self._wait(0.05)
            _reap()
        raise Broken(f"the tree did not stop within {within_s + STOP_MARGIN_S:g} s: everything is killed")


class _Signals:
    """SIGTERM and SIGINT, as something to wait for beside other things."""

    def __init__(self) -> None:
        self.received: str | None = None
        self.bell, self._pull = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._take)

    def _take(self, number: int, _frame: object) -> None:
        self.received = signal.Signals(number).name
        with contextlib.suppress(BlockingIOError):
            os.write(self._pull, b"\0")

    def drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self.bell, 4096)

    def close(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        os.close(self.bell)
        os.close(self._pull)


def _summary(tree: Node) -> str:
    """One line for `systemctl status`: the same status and reason that `streamforge status` and the page give at this moment."""
    nodes = view.workers(tree)
    well = sum(node["status"] == "HEALTHY" for node in nodes)
    health = view.health(branches.told(tree))
    text = f"{health['status']}: {well} of {len(nodes)} components healthy"
    return f"{text}; {health['reason']}" if health["reason"] else text


def share_memory(tree: Child) -> None:
    """Import what the workers need once, here: all processes are forked from this one and share what nobody writes to."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # Its threads would not survive the fork, only their stacks.
    wanted = (module for _, child in walk(tree) for module in (child.run.partition(":")[0], *child.imports))
    for module in dict.fromkeys(wanted):
        try:
            importlib.import_module(module)
        except Exception as error:
            logs.get().error("cannot import a component", module=module, error=f"{type(error).__name__}: {error}")
    gc.collect()
    guard.give_memory_back()
    gc.freeze()
    guard.forget_lookups()


def _many_files() -> None:
    """A branch with hundreds of children needs three descriptors for each; the usual soft limit is 1024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, FILES_MAX)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _reap() -> None:
    """Orphans become children of this process (guard.adopt_orphans); take notice of their end."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _kill_all() -> None:
    """Nothing that was started from here lives on."""
    deadline = time.monotonic() + KILLED_WITHIN_S
    while time.monotonic() < deadline:
        _reap()
        left = psutil.Process().children(recursive=True)
        if not left:
            return
        for each in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        psutil.wait_procs(left, timeout=0.2)
    logs.get().error(
        "processes that cannot be killed", pids=[each.pid for each in psutil.Process().children(recursive=True)]
    )
