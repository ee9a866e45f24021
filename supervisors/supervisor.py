"""The supervisor actor: it tells decide.py what happened and does what it says. No sockets, no threads, no waiting: it must be able
to answer, and to notice a death, at any moment.
"""

from __future__ import annotations

import gc
import os
import random
import time
from dataclasses import replace
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
from actors.traces import last_words
from supervisors import report, state
from supervisors.decide import decide, next_due
from supervisors.events import Events
from supervisors.orders import NotFound, Orders, find
from supervisors.processes import Ended, Processes, preload
from supervisors.spec import Child
from supervisors.watchers import Watchers


class Supervisor(Actor):
    """`Start.spec` is its `Child`. Its path is empty at the root, whose parent is the daemon."""

    def on_start(self, order: Start, sender: Address) -> None:
        self.path, self.name, self.incarnation = order.path, order.name, order.incarnation
        self.parent = sender if order.path else None
        guard.name_process(order.name)
        logs.identify(order.path or order.name, order.config.get("gateway_id"))
        self.state = state.fresh(order.spec)
        self.processes = Processes(self)
        self.seen = {child.id: report.Seen() for child in order.spec.children}
        self.events, self.deciding = Events(), False
        self.orders = Orders(self.send)
        self.watchers = Watchers(self._publish, self.wake, each_second=self.parent is None)
        if self.parent is not None:
            self.watchers.add(self.parent)
        self.tick_at: float | None = None
        preload(order.spec.children)
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
        self.processes.last_words(fact)

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
            try:
                self._obey(replace(order, target=find(self.state.spec, order.target), found=True))
            except NotFound as error:
                self.orders.refuse(order, str(error))
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
        self.events.add(event)
        if self.deciding:
            return  # We are inside the loop below already.
        self.deciding = True
        while (oldest := self.events.next()) is not None:
            before = _outline(self.state)
            self.state, commands = decide(self.state, oldest, time.monotonic())
            for command in commands:
                self._do(command)
            if _outline(self.state) != before:
                self.orders.settle(self.state, self.seen)
                self.watchers.changed()
        self.deciding = False
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
                self.processes.tell(name, Stop(within_s))
            case state.Kill(name, why):
                self.processes.kill(name, why)
            case state.Ask(name):
                self.processes.tell(name, Ping())
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
        seen.said, seen.heard_at, seen.started_at, seen.next_step = {}, None, time.time_ns() // 1000, None
        try:
            seen.pid = self.processes.launch(path, child, incarnation)
        except Exception as error:
            self._gone(
                Ended(child.id, incarnation, f"could not be started: {type(error).__name__}: {error}", clean=False)
            )
            return
        logs.get().info("started a child", child=path, child_pid=seen.pid, incarnation=incarnation)

    # Deaths.

    def child_died(self) -> None:
        self._look()

    def _look(self) -> None:
        for end in self.processes.ended(below=lambda name: report.pids(self.seen[name].said)):
            self._gone(end)

    def _gone(self, end: Ended) -> None:
        seen, child = self.seen[end.name], self.state.child(end.name)
        if child.killed_for is not None:
            seen.last_exit = f"{child.killed_for}, {end.how}"
        else:
            seen.last_exit = "stopped in order" if end.clean and child.halt else end.how
        seen.last_exit_at, seen.pid, seen.started_at, seen.heard_at = time.time_ns() // 1000, None, None, None
        seen.next_step = end.next_step
        # Of a traceback its last words say what, the rest is kept in `last_exit`.
        how = end.how if end.hopeless else last_words(end.how)
        logs.get().info("a child ended", child=end.name, incarnation=end.incarnation, how=how)
        jitter = random.random()  # noqa: S311 - spreads restarts, guards nothing
        self._happened(state.Exited(end.name, end.incarnation, how, end.clean, jitter, end.hopeless))

    # Reports and orders.

    def _heard(self, name: str, incarnation: int, said: dict[str, Any]) -> bool:
        """Whether its status is another than before."""
        if not self.processes.has(name, incarnation):
            return False
        seen = self.seen[name]
        changed = any(seen.said.get(key) != said.get(key) for key in ("status", "reason", "next_step"))
        seen.said, seen.heard_at = said, time.monotonic()
        return changed

    def _publish(self, listener: Address) -> None:
        if self.parent is None:
            self.send(listener, TreeIs(self._node()))
        else:
            self.send(listener, Report(self.name, self.incarnation, self._node(), urgent=True))

    def _node(self) -> report.Node:
        node = report.subtree(self.path, self.state, self.seen, time.monotonic(), time.time_ns() // 1000)
        own = {**node, **self.events.figures()}
        return own if self.parent is not None else {**own, "pid": os.getpid()}

    def _obey(self, order: Command) -> None:
        below = order.target.removeprefix(f"{self.path}/") if self.path else order.target
        name, _, further = below.partition("/")
        if further and self.processes.has(name):
            self.processes.tell(name, order)
        elif further:
            self.orders.refuse(order, f"{order.target}: its supervisor {name} is not running; restart {name} first")
        else:
            event = self.orders.take(order, self.state.child(name), self.state.life)
            if event is not None:
                self._happened(event)


def _outline(now: state.State) -> object:
    """What people should hear of at once when it changes."""
    return now.life, [(child.phase, child.incarnation, child.reason) for child in now.children]
