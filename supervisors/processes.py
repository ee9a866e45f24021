"""The processes of a supervisor's children: fork, message, SIGKILL, and how each of them ended.

Ends are read from the processes themselves (waitpid), which gives one end with its exit code for each incarnation; messages about them
could come twice, not at all, or from an address that lives again.
"""

from __future__ import annotations

import importlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess

from actors import guard, logs
from actors.base import Actor, Address
from actors.messages import Crashed, Start
from supervisors.spec import Child

LOOK_AGAIN_S = 0.01
LEFTOVERS_S = 2.0
"""A killed supervisor counts as gone once the processes below it are gone too, or after so long."""


@dataclass(frozen=True, slots=True)
class Ended:
    """One incarnation is over. `how` is in words, or the end of a traceback."""

    name: str
    incarnation: int
    how: str
    clean: bool
    hopeless: bool = False
    """It said that starting again does not help."""
    next_step: str | None = None


@dataclass(slots=True)
class _Process:
    incarnation: int
    address: Address
    handle: BaseProcess
    crash: Crashed | None = None
    dead_since: float | None = None


class Processes:
    """At most one for each child. They are forked by `actor`, so they die with it."""

    def __init__(self, actor: Actor) -> None:
        self._actor = actor
        self._all: dict[str, _Process] = {}

    def launch(self, path: str, child: Child, incarnation: int) -> int | None:
        """The pid. Raises whatever importing or forking raises."""
        address, handle = self._actor.fork(load(child))
        self._all[child.id] = _Process(incarnation, address, handle)
        self._actor.send(
            address, Start(path, child.id, incarnation, child.config, child if child.is_supervisor else None)
        )
        return handle.pid

    def has(self, name: str, incarnation: int | None = None) -> bool:
        process = self._all.get(name)
        return process is not None and incarnation in {None, process.incarnation}

    def tell(self, name: str, message: object) -> None:
        process = self._all.get(name)
        if process is not None:
            self._actor.send(process.address, message)

    def kill(self, name: str, why: str) -> None:
        process = self._all.get(name)
        if process is not None and process.handle.is_alive() and process.handle.pid:
            logs.get().warning("killing a child", child=name, child_pid=process.handle.pid, reason=why)
            os.kill(process.handle.pid, signal.SIGKILL)

    def last_words(self, words: Crashed) -> None:
        if self.has(words.name, words.incarnation):
            self._all[words.name].crash = words

    def ended(self, below: Callable[[str], list[int]]) -> list[Ended]:
        """Those that are gone since the last look; `below` gives the pids under a child that is a supervisor."""
        now, found = time.monotonic(), []
        for name, process in list(self._all.items()):
            if process.handle.is_alive():
                continue
            process.dead_since = process.dead_since or now
            if now - process.dead_since < LEFTOVERS_S and any(map(guard.alive, below(name))):
                self._actor.wake(LOOK_AGAIN_S, "look")
                continue
            del self._all[name]
            found.append(_end(name, process))
        return found


def _end(name: str, process: _Process) -> Ended:
    words, code = process.crash, process.handle.exitcode or 0
    if words is None:
        return Ended(name, process.incarnation, guard.in_words(code), clean=code == 0)
    return Ended(name, process.incarnation, words.trace, False, words.hopeless, words.next_step)


def load(child: Child) -> type[Actor]:
    """The class `run` names."""
    module, _, name = child.run.partition(":")
    found: type[Actor] = getattr(importlib.import_module(module), name)
    return found


def preload(children: tuple[Child, ...]) -> None:
    """Import what the children need before the first fork, so that they share it. What cannot be imported is told of at its start."""
    for child in children:
        try:
            load(child)
        except Exception as error:
            logs.get().error("cannot import a child", child=child.id, run=child.run, error=str(error))
