"""The supervisor actor: it tells decide.py what happened and does what it says. No sockets, no threads, no waiting: it must be able
to answer, and to notice a death, at any moment.

Deaths are read from the processes themselves (waitpid), which gives one end with its exit code for each incarnation; messages about
them could come twice, not at all, or from an address that lives again.
"""

from __future__ import annotations

import gc
import importlib
import os
import random
import signal
import time
from collections import deque
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any

from actors import guard, logs
from actors.base import Actor, Address
from actors.messages import (
    Answer,
    Command,
    Crashed,
    Ping,
    Pong,
    Question,
    Report,
    Seen,
    Start,
    Started,
    Stop,
    TreeIs,
    WatchTree,
)
from supervisors import report, state
from supervisors.decide import decide, next_due
from supervisors.orders import Orders
from supervisors.spec import Child, walk
from supervisors.watchers import Watchers

LOOK_AGAIN_S = 0.01
LEFTOVERS_S = 2.0
"""A killed supervisor counts as gone once its processes are gone too, or after so long."""


@dataclass(slots=True)
class Process:
    """The process of one incarnation."""

    incarnation: int
    address: Address
    process: BaseProcess
    crash: str | None = None
    """Its last words."""
    dead_since: float | None = None


class Supervisor(Actor):
    """`Start.spec` is its `Child`. Its path is empty at the root, whose parent is the daemon."""

    def on_start(self, order: Start, sender: Address) -> None:
        self.path, self.name, self.incarnation = order.path, order.name, order.incarnation
        self.parent = sender if order.path else None
        guard.name_process(order.name)
        logs.identify(order.path or order.name, order.config.get("gateway_id"))
        self.state = state.fresh(order.spec)
        self.processes: dict[str, Process] = {}
        self.seen = {child.id: report.Seen() for child in order.spec.children}
        self.events: deque[state.Event] = deque()
        self.orders = Orders(self.send)
        self.watchers = Watchers(self._publish, self.wake, each_second=self.parent is None)
        if self.parent is not None:
            self.watchers.add(self.parent)
        self.tick_at: float | None = None
        for child in order.spec.children:
            _preload(child)
        # What is imported by now is shared with the children as long as nobody writes to it, the garbage collector included.
        gc.collect()
        gc.freeze()
        self._happened(state.Begin())

    # What the children say. A name that speaks for an earlier incarnation is a process already replaced.

    def on_started(self, fact: Started, _sender: Address) -> None:
        self._happened(state.Started(fact.name, fact.incarnation))

    def on_pong(self, answer: Pong, _sender: Address) -> None:
        changed = self._heard(answer.name, answer.incarnation, answer.snapshot)
        self._happened(state.Answered(answer.name, answer.incarnation))
        if answer.ready:
            self._happened(state.Started(answer.name, answer.incarnation))
        if changed:
            self.watchers.changed()

    def on_report(self, fact: Report, sender: Address) -> None:
        self._heard(fact.name, fact.incarnation, fact.node)
        if fact.urgent:
            self.send(sender, Seen())
            self.watchers.changed()
        else:
            self._happened(state.Answered(fact.name, fact.incarnation))
        if fact.node["state"] == state.Life.RUNNING:
            self._happened(state.Started(fact.name, fact.incarnation))

    def on_crashed(self, fact: Crashed, _sender: Address) -> None:
        process = self.processes.get(fact.name)
        if process is not None and process.incarnation == fact.incarnation:
            process.crash = fact.trace

    # What comes from above.

    def on_stop(self, _order: Stop, _sender: Address) -> None:
        self._happened(state.StopAll())

    def on_ping(self, _question: Ping, sender: Address) -> None:
        self.send(sender, Report(self.name, self.incarnation, self._node()))

    def on_seen(self, _answer: Seen, sender: Address) -> None:
        self.watchers.seen(sender)

    def on_question(self, question: Question, sender: Address) -> None:
        body = {"tree": self._node(), "pid": os.getpid(), "life": str(self.state.life), "gave_up": self.state.reason}
        self.send(sender, Answer(question.request, body))

    # What passes through on its way to the root or from it.

    def on_watch_tree(self, wish: WatchTree, _sender: Address) -> None:
        if self.parent is None:
            self.watchers.add(wish.origin)
        else:
            self.send(self.parent, wish)

    def on_command(self, order: Command, _sender: Address) -> None:
        if not order.found and self.parent is not None:
            self.send(self.parent, order)
        elif not order.found:
            self._find(order)
        else:
            self._obey(order)

    # Time.

    def on_wakeup_message(self, message: Any, _sender: Address) -> None:
        if message.payload == "look":
            self._look()
        elif message.payload == self.watchers.planned:
            self.watchers.publish()
        elif message.payload == ("tick", self.tick_at):
            self.tick_at = None
            self._look()
            self._happened(state.Tick())

    # The one way in and out of decide.

    def _happened(self, event: state.Event) -> None:
        self.events.append(event)
        if len(self.events) > 1:
            return  # We are inside the loop below already.
        while self.events:
            before = _outline(self.state)
            self.state, commands = decide(self.state, self.events[0], time.monotonic())
            for command in commands:
                self._do(command)
            if _outline(self.state) != before:
                self.orders.settle(self.state, self.seen)
                self.watchers.changed()
            self.events.popleft()
        self._schedule()

    def _schedule(self) -> None:
        due = next_due(self.state)
        if due is not None and (self.tick_at is None or due < self.tick_at):
            self.tick_at = due
            self.wake(due - time.monotonic(), ("tick", due))

    def _do(self, command: state.Command) -> None:
        match command:
            case state.Launch(name, incarnation):
                self._launch(self.state.child(name).spec, incarnation)
            case state.Halt(name, within_s):
                self._tell(name, Stop(within_s))
            case state.Kill(name, why):
                self._kill(name, why)
            case state.Ask(name):
                self._tell(name, Ping())
            case state.Announce():
                logs.get().info("all children have started", children=len(self.state.children))
                if self.parent is not None:
                    # The report first: whoever hears of the start can read who started.
                    self.send(self.parent, Report(self.name, self.incarnation, self._node()))
                    self.send(self.parent, Started(self.name, self.incarnation))
            case state.End(gave_up):
                self._leave(gave_up)

    def _leave(self, gave_up: str | None) -> None:
        if gave_up is not None:
            logs.get().error("gives up", reason=gave_up)
        if self.parent is None:
            return  # The root stays to be asked why, until the daemon ends it.
        if gave_up is not None:
            self.exit_code = guard.EXIT_CRASH
            self.send(self.parent, Crashed(self.name, self.incarnation, f"gave up: {gave_up}"))
        self.end()

    def _launch(self, child: Child, incarnation: int) -> None:
        path = f"{self.path}/{child.id}" if self.path else child.id
        seen = self.seen[child.id]
        seen.said, seen.heard_at, seen.started_at = {}, None, time.time_ns() // 1000
        try:
            address, process = self.fork(_load(child))
        except Exception as error:
            self._gone(child.id, incarnation, f"could not be started: {type(error).__name__}: {error}", clean=False)
            return
        self.processes[child.id] = Process(incarnation, address, process)
        seen.pid = process.pid
        self.send(address, Start(path, child.id, incarnation, child.config, child if child.is_supervisor else None))
        logs.get().info("started a child", child=path, child_pid=process.pid, incarnation=incarnation)

    def _tell(self, name: str, message: object) -> None:
        process = self.processes.get(name)
        if process is not None:
            self.send(process.address, message)

    def _kill(self, name: str, why: str) -> None:
        process = self.processes.get(name)
        if process is not None and process.process.is_alive() and process.process.pid:
            logs.get().warning("killing a child", child=name, child_pid=process.process.pid, reason=why)
            os.kill(process.process.pid, signal.SIGKILL)

    # Deaths.

    def child_died(self) -> None:
        self._look()

    def _look(self) -> None:
        now = time.monotonic()
        for name, process in list(self.processes.items()):
            if process.process.is_alive():
                continue
            process.dead_since = process.dead_since or now
            if now - process.dead_since < LEFTOVERS_S and any(map(guard.alive, report.pids(self.seen[name].said))):
                self.wake(LOOK_AGAIN_S, "look")
                continue
            del self.processes[name]
            code = process.process.exitcode or 0
            self._gone(name, process.incarnation, process.crash or guard.in_words(code), clean=code == 0 and process.crash is None)

    def _gone(self, name: str, incarnation: int, how: str, *, clean: bool) -> None:
        seen, child = self.seen[name], self.state.child(name)
        if child.killed_for is not None:
            seen.last_exit = f"{child.killed_for}, {how}"
        else:
            seen.last_exit = "stopped in order" if clean and child.halt else how
        seen.last_exit_at, seen.pid, seen.started_at, seen.heard_at = time.time_ns() // 1000, None, None, None
        how = how.strip().rpartition("\n")[2]  # Of a traceback the last line says what, the rest is kept in `last_exit`.
        logs.get().info("a child ended", child=name, incarnation=incarnation, how=how)
        self._happened(state.Exited(name, incarnation, how, clean, random.random()))  # noqa: S311 - spreads restarts, guards nothing

    # Reports and orders.

    def _heard(self, name: str, incarnation: int, said: dict[str, Any]) -> bool:
        """Whether its status is another than before."""
        process = self.processes.get(name)
        if process is None or process.incarnation != incarnation:
            return False
        seen = self.seen[name]
        changed = (seen.said.get("status"), seen.said.get("reason")) != (said.get("status"), said.get("reason"))
        seen.said, seen.heard_at = said, time.monotonic()
        return changed

    def _publish(self, listener: Address) -> None:
        if self.parent is None:
            self.send(listener, TreeIs(self._node()))
        else:
            self.send(listener, Report(self.name, self.incarnation, self._node(), urgent=True))

    def _node(self) -> report.Node:
        node = report.subtree(self.path, self.state, self.seen, time.monotonic(), time.time_ns() // 1000)
        return node if self.parent is not None else {**node, "pid": os.getpid()}

    def _find(self, order: Command) -> None:
        paths = [path for path, _ in walk(self.state.spec)][1:]
        found = [path for path in paths if path == order.target] or [p for p in paths if p.rpartition("/")[2] == order.target]
        if len(found) == 1:
            self._obey(Command(order.request, order.verb, found[0], order.origin, found=True))
        elif found:
            self.orders.refuse(order, f"{order.target!r} is the name of {', '.join(found)}; give the whole path")
        else:
            self.orders.refuse(order, f"there is no component {order.target!r}; there are {', '.join(paths)}")

    def _obey(self, order: Command) -> None:
        below = order.target.removeprefix(f"{self.path}/") if self.path else order.target
        name, _, further = below.partition("/")
        if further and name in self.processes:
            self._tell(name, order)
        elif further:
            self.orders.refuse(order, f"{order.target}: its supervisor {name} is not running; restart {name} first")
        else:
            event = self.orders.take(order, self.state.child(name), self.state.life)
            if event is not None:
                self._happened(event)


def _load(child: Child) -> type[Actor]:
    """The class `run` names; imported once, before the fork, so that the children share it."""
    module, _, name = child.run.partition(":")
    found: type[Actor] = getattr(importlib.import_module(module), name)
    return found


def _preload(child: Child) -> None:
    """A module that cannot be imported is told of when its child is to start."""
    try:
        _load(child)
    except Exception as error:
        logs.get().error("cannot import a child", child=child.id, run=child.run, error=str(error))


def _outline(now: state.State) -> object:
    """What people should hear of at once when it changes."""
    return now.life, [(child.phase, child.incarnation, child.reason) for child in now.children]
