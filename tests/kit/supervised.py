"""A real daemon with a real tree for tests: started, watched through a console worker, killed in every way, and gone at the end."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from actors import guard
from supervisors.spec import Child, Strategy, supervisor, worker
from tests.kit.waiting import ASK_EVERY_S, wait_until

ROOT = Path(__file__).parents[2]
SOON_S = 30.0

Node = dict[str, Any]


class Gone(Exception):
    """The daemon ended while it was watched."""


class Supervised:
    """One daemon. `journal` is what its workers wrote: (seconds, component, pid, word)."""

    def __init__(self, tree: Child, env: dict[str, str] | None = None) -> None:
        self.dir = Path(tempfile.mkdtemp(prefix="sf"))
        self.data_dir = self.dir / "data"
        console = worker("console", "tests.kit.workers:Console", {"socket": str(self.dir / "console")})
        self.tree = dataclasses.replace(tree, children=(console, *(self._with_journal(each) for each in tree.children)))
        (self.dir / "tree.json").write_text(json.dumps(dataclasses.asdict(self.tree)))
        self.log = self.dir / "log"
        self._daemons: list[subprocess.Popen[bytes]] = []
        self.process = self.run(env)
        self._file: Any = None

    def _with_journal(self, child: Child) -> Child:
        if not child.is_supervisor:
            return dataclasses.replace(child, config={**child.config, "journal": str(self.dir / "journal")})
        return dataclasses.replace(child, children=tuple(self._with_journal(each) for each in child.children))

    def run(self, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.kit.tree_main", str(self.dir / "tree.json"), str(self.data_dir)]
        with self.log.open("ab") as log:
            daemon = subprocess.Popen(command, cwd=ROOT, stderr=log, stdout=log, env={**os.environ, **(env or {})})
        self._daemons.append(daemon)
        return daemon

    # Watching.

    def journal(self) -> list[tuple[float, str, int, str]]:
        path = self.dir / "journal"
        rows = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [(float(at), who, int(pid), word) for at, who, pid, word in rows]

    def words(self, word: str) -> list[str]:
        """Who wrote it, in order; by the last part of the path."""
        return [who.rpartition("/")[2] for _, who, _, said in self.journal() if said == word]

    def wait_for(self, what: Callable[[], Any], within_s: float = SOON_S) -> Any:
        return wait_until(what, within_s, lambda: f"; the log ends with:\n{self.log_end()}")

    def log_end(self) -> str:
        return "\n".join(self.log.read_text().splitlines()[-40:])

    def ask(self, wish: dict[str, Any]) -> Any:
        deadline = time.monotonic() + SOON_S
        while True:
            if self.process.poll() is not None:
                raise Gone(self.log_end())
            try:
                if self._file is None:
                    self._file = self._connect()
                self._file.write(json.dumps(wish).encode() + b"\n")
                self._file.flush()
                line = self._file.readline()
                if line:
                    return json.loads(line)
                self._file.close()
            except OSError:
                pass
            self._file = None
            assert time.monotonic() < deadline, f"the console does not answer; the log ends with:\n{self.log_end()}"
            time.sleep(ASK_EVERY_S)

    def _connect(self) -> Any:
        with socket.socket(socket.AF_UNIX) as plug:
            plug.settimeout(SOON_S)
            plug.connect(str(self.dir / "console"))
            return plug.makefile("rwb")

    def order(self, verb: str, target: str) -> dict[str, Any]:
        return self.ask({"verb": verb, "target": target})

    def node(self, path: str) -> Node:
        return next(node for node in _nodes(self.ask({"next": False})) if node["id"] == path)

    def until(self, path: str, condition: Callable[[Node], Any], within_s: float = SOON_S) -> Node:
        """The node as soon as a pushed report fulfils the condition."""
        deadline = time.monotonic() + within_s
        tree, node = self.ask({"next": False}), {}
        while time.monotonic() < deadline:
            node = next(node for node in _nodes(tree) if node["id"] == path)
            if condition(node):
                return node
            tree = self.ask({"next": True})
        raise AssertionError(f"not within {within_s:g} s: {node}\nthe log ends with:\n{self.log_end()}")

    def running(self, within_s: float = SOON_S) -> None:
        """Wait until everything has started."""
        self.until(self.tree.id, lambda node: node["state"] == "running", within_s)

    def processes(self) -> list[psutil.Process]:
        """The daemon and everything below it that runs."""
        return _family(self.process)

    def named(self, name: str) -> psutil.Process:
        return next(each for each in self.processes() if self.comm(each) == f"sf:{name}"[:15])

    @staticmethod
    def comm(process: psutil.Process) -> str:
        """Its name, nothing if it has just ended."""
        try:
            return Path(f"/proc/{process.pid}/comm").read_text().strip()
        except OSError:
            return ""

    # The end.

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        for daemon in self._daemons:
            for each in _family(daemon) if daemon.poll() is None else []:
                with suppress(psutil.NoSuchProcess):
                    each.kill()
            daemon.wait()
        shutil.rmtree(self.dir)


def _family(daemon: subprocess.Popen[bytes]) -> list[psutil.Process]:
    process = psutil.Process(daemon.pid)
    return still_alive([process, *process.children(recursive=True)])


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    for child in node.get("children", []):
        yield from _nodes(child)


def still_alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that run; a zombie has ended."""
    return [each for each in processes if each.is_running() and guard.alive(each.pid)]


@contextmanager
def supervised(*children: Child, env: dict[str, str] | None = None, **fields: Any) -> Iterator[Supervised]:
    """A daemon whose root has these children, with a console before them."""
    gateway = Supervised(supervisor("root", fields.pop("strategy", Strategy.ONE), *children, **fields), env)
    try:
        yield gateway
    finally:
        gateway.close()


def press(name: str, does: str = "wait", *, config: dict[str, Any] | None = None, **fields: Any) -> Child:
    """A test worker with short times."""
    quick: dict[str, Any] = {"heartbeat_s": 5.0, "backoff_first_s": 0.02, "stop_within_s": 2.0}
    return worker(name, "tests.kit.workers:Press", {"does": does, **(config or {})}, **{**quick, **fields})
