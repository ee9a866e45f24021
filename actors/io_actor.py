"""A worker: one coroutine on its own asyncio loop, beside the mailbox. The mailbox thread owns the actor, the loop thread owns I/O.

The loop never sends messages: it leaves a notice and rings a bell, a socket pair that Thespian watches, and the mailbox does the rest.
Nothing else is shared: notices.py holds what was left, its bound and its lock.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import traceback
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop

from actors import guard, logs
from actors.base import Actor, Address
from actors.context import Context
from actors.messages import Command, CommandDone, Ping, Pong, Seen, Start, Started, Stop, TreeIs, WatchTree
from actors.notices import ORDERS_MOST, Notice, Notices
from actors.secrets import names, place, resolve

CANCEL_AFTER = 0.75
"""Of the time to stop: then `run` is cancelled, so that its `finally` blocks still have a quarter before SIGKILL."""
LEFTOVERS_S = 1.0
"""For tasks that `run` left behind."""
TELL_AFTER_S = 0.1
NAMES_MAX = 500
FACTS_MAX = 32_768
"""Bounds of one answer to a heartbeat: counters and gauges each, and characters of facts."""


class IoActor(Actor):
    """A worker module writes `async def run(context)` and `class PressActor(IoActor): main = staticmethod(run)`."""

    context: Context
    loop: LoopThread

    @staticmethod
    async def main(context: Context) -> None:
        """The worker's life: returns when `context.stopping` is set; what it raises is its crash."""
        raise NotImplementedError(f"{context.id}: its actor class sets no main")

    def on_start(self, order: Start, sender: Address) -> None:
        self.parent, self.name, self.incarnation = sender, order.name, order.incarnation
        guard.name_process(order.name)
        logs.identify(order.path, order.config.get("gateway_id"))
        self.loop = LoopThread()
        self.watched = [self.loop.bell]
        data_dir = Path(order.config.get("data_dir", "."))
        self.context = Context(
            id=order.path,
            config=resolve(order.config, data_dir),
            facts={"secrets": places}
            if (places := {n: place(n, data_dir) for n in sorted(names(order.config))})
            else {},
            on_ready=self._on_ready,
            on_health=self._on_health,
            on_watch=lambda: self.loop.tell("watch", self._say_watch),
            on_command=self._command,
        )
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._ready = self._told_soon = False
        self.loop.start(lambda: self.main(self.context), self._ended)

    def on_stop(self, order: Stop, _sender: Address) -> None:
        self.loop.call(self.context.stopping.set)
        self.loop.cancel_after(order.within_s * CANCEL_AFTER)

    def on_ping(self, _question: Ping, _sender: Address) -> None:
        """The loop itself answers: when it is stuck, there is no answer."""
        self.loop.call(self._answer)

    def on_tree_is(self, report: TreeIs, sender: Address) -> None:
        self.send(sender, Seen())
        self.loop.call(lambda: self.context.take_tree(report.tree))

    def on_command_done(self, answer: CommandDone, _sender: Address) -> None:
        self.loop.call(lambda: self._resolve(answer))

    def on_watch_message(self, _message: object, _sender: Address) -> None:
        for notice in self.loop.hear():
            notice()

    # On the mailbox, as notices from the loop:

    def _say_started(self) -> None:
        if not self._ready:
            self._ready = True
            self.send(self.parent, Started(self.name, self.incarnation))

    def _say_pong(self, shot: dict[str, Any]) -> None:
        self.send(self.parent, Pong(self.name, self.incarnation, shot, self._ready))

    def _say_watch(self) -> None:
        self.send(self.parent, WatchTree(self.myAddress))

    def _ended(self, trace: str | None) -> None:
        self._say_pong(snapshot(self.context))  # The last figures, and what went wrong in its own words.
        if trace is None:
            self.end()
        else:
            self.crash(trace, self.loop.error)

    # On the loop:

    def _on_ready(self) -> None:
        self.loop.tell("started", self._say_started)
        self._answer()

    def _on_health(self) -> None:
        """Tell it soon instead of when asked; a status that flickers is told ten times a second at most."""
        if not self._told_soon:
            self._told_soon = True
            self.loop.call_later(TELL_AFTER_S, self._answer)

    def _answer(self) -> None:
        self._told_soon = False
        self.loop.measure(self.context)
        shot = snapshot(self.context)
        self.loop.tell("figures", lambda: self._say_pong(shot))

    async def _command(self, verb: str, target: str) -> dict[str, Any]:
        request = uuid.uuid4().hex
        if not self.loop.order(lambda: self.send(self.parent, Command(request, verb, target, self.myAddress))):
            self.context.count("orders_refused_total")
            return {"ok": False, "error": f"{target}: {ORDERS_MOST} orders have not left this worker yet; try again"}
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[request] = answer
        try:
            return await answer
        finally:
            del self._waiting[request]

    def _resolve(self, answer: CommandDone) -> None:
        waiting = self._waiting.get(answer.request)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer.result)


class LoopThread:
    """An asyncio loop on a thread of its own, and the bell by which it wakes the mailbox."""

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._notices = Notices()
        self._hear, self._pull = socket.socketpair()
        self._hear.setblocking(False)
        self._pull.setblocking(False)
        self._task: asyncio.Task[None] | None = None
        self._thread: threading.Thread | None = None
        self.error: BaseException | None = None
        """What `main` ended with, once it has."""
        self.bell = self._hear.fileno()

    def start(self, main: Callable[[], Awaitable[None]], ended: Callable[[str | None], None]) -> None:
        """Run `main()`; `ended` gets None or the traceback, on the mailbox."""
        self._thread = threading.Thread(target=self._live, args=(main, ended), name="loop", daemon=True)
        self._thread.start()

    def call(self, function: Callable[[], object]) -> None:
        """On the loop, soon. After its end: nothing."""
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:
            return

    def tell(self, name: str, notice: Notice) -> None:
        """Have the mailbox call `notice`, in place of one of the same name that it has not called yet."""
        self._notices.news(name, notice)
        self._ring()

    def order(self, notice: Notice) -> bool:
        """Have the mailbox call `notice`. False where so many wait that there is no room."""
        if not self._notices.order(notice):
            return False
        self._ring()
        return True

    def _ring(self) -> None:
        try:
            self._pull.send(b"\0")
        except BlockingIOError:
            return  # It has been rung often enough to be heard.

    def hear(self) -> list[Notice]:
        """On the mailbox: what is to be called now."""
        try:
            while self._hear.recv(4096):
                pass
        except BlockingIOError:
            pass
        return self._notices.take()

    def measure(self, context: Context) -> None:
        """How full the notices are, and what became of those that were not heard in time."""
        context.gauge("orders_fill", round(self._notices.orders / ORDERS_MOST, 4))
        if self._notices.replaced:
            context.counters["notices_replaced_total"] = self._notices.replaced

    def call_later(self, delay_s: float, function: Callable[[], object]) -> None:
        self.call(lambda: self._loop.call_later(delay_s, function))

    def close(self) -> None:
        """The bell, after the end: what was said last may be heard, by an earlier ring, before its own ring."""
        if self._thread is not None:
            self._thread.join(LEFTOVERS_S)
        self._hear.close()
        self._pull.close()

    def cancel_after(self, delay_s: float) -> None:
        self.call_later(delay_s, self._cancel)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel("it did not stop in time")

    def _live(self, main: Callable[[], Awaitable[None]], ended: Callable[[str | None], None]) -> None:
        asyncio.set_event_loop(self._loop)
        trace = None
        try:
            self._loop.run_until_complete(self._run(main))
        except BaseException as error:
            trace, self.error = traceback.format_exc(), error
        self._loop.close()
        self.tell("ended", lambda: ended(trace))

    async def _run(self, main: Callable[[], Awaitable[None]]) -> None:
        async def life() -> None:
            await main()

        self._task = asyncio.create_task(life(), name="main")
        try:
            await self._task
        finally:
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for task in left:
                task.cancel()
            if left:
                await asyncio.wait(left, timeout=LEFTOVERS_S)


def snapshot(context: Context) -> dict[str, Any]:
    """What a worker says of itself, bounded and cut off from what its coroutine goes on changing. Called on its loop."""
    facts = json.dumps(context.facts, default=str)
    if len(facts) > FACTS_MAX:
        facts = json.dumps({"facts": f"left out: {len(facts)} characters, at most {FACTS_MAX} are reported"})
    return {
        "status": str(context.status),
        "reason": context.reason,
        "next_step": context.next_step,
        "counters": dict(list(context.counters.items())[:NAMES_MAX]),
        "gauges": dict(list(context.gauges.items())[:NAMES_MAX]),
        "facts": json.loads(facts),
    }
