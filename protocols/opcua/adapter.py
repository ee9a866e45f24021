"""The three verbs: connect makes a link, finds the nodes, subscribes and starts the polls; read takes what they brought; close ends
it all. Each connect builds everything anew; nothing here connects again by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from asyncua import ua

from protocols.advice import advised, advising
from protocols.contract import Adapter, Batch, Cause, Health, NotConnected, Point
from protocols.opcua.binary import Refused
from protocols.opcua.caretaker import Caretaker, failed
from protocols.opcua.config import OpcUaConfig
from protocols.opcua.identity import Identity, identity, own_warnings
from protocols.opcua.inbox import Inbox
from protocols.opcua.items import causes, items_of
from protocols.opcua.link import Link, open_link
from protocols.opcua.messages import refusal, security
from protocols.opcua.polls import Poller, groups_of
from protocols.opcua.receipts import Receipts
from protocols.opcua.recovery import Recovery
from protocols.opcua.resolve import resolve
from protocols.opcua.steps import STEPS
from protocols.opcua.subscription import Subscription
from protocols.opcua.watchdog import Watch

ONE_ONLY = "the server has no room for a second subscription, so the one before ended first"


class OpcUaAdapter(Adapter):
    version = "1.0.0"

    def __init__(self, config: OpcUaConfig) -> None:
        self._config = config
        self._counters: Counter[str] = Counter()
        self._items = items_of(config.points, self._counters)
        self._receipts = Receipts(_mark_file(config))
        self._inbox = Inbox(config.buffer, self._receipts)
        self._watch = Watch(since=0, bound=0)
        self._identity: Identity | None = None
        self._link: Link | None = None
        self._subscription: Subscription | None = None
        self._poller: Poller | None = None
        self._caretaker: Caretaker | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def connect(self) -> None:
        await self.close()
        self._inbox = Inbox(self._config.buffer, self._receipts)
        for item in self._items:
            item.forget()
        self._identity = await asyncio.to_thread(identity, self._config)
        with advising(STEPS, self._named):
            self._link = await open_link(self._config, self._identity)
        # With thousands of points this takes longer than a connection may, so that read() already runs meanwhile.
        self._start(partial(self._set_up, self._link), "set-up")

    async def _set_up(self, link: Link) -> None:
        self._inbox.put(failed(await resolve(link, self._items)))
        had_less_room = False
        if any(item.config.mode == "subscribe" for item in self._items):
            had_less_room = await self._subscribe(link)
        groups = groups_of(self._items, time.monotonic())
        if groups:
            self._poller = Poller(link, groups, self._inbox, self._counters)
            self._start(self._poller.run, "polls")
        self._caretaker = Caretaker(link, self._config, self._items, self._inbox, self._subscription, had_less_room)
        self._start(self._caretaker.run, "caretaker")

    async def _subscribe(self, link: Link) -> bool:
        """First what the server kept of the subscription before, then a new one.

        True if both were there for a while: a server may have refused some of the points for that.
        """
        config, receipts = self._config, self._receipts
        self._subscription = made = Subscription(
            link, config, self._items, self._inbox, self._counters, receipts, self._watch
        )
        try:
            recovery = Recovery(link, config, receipts, self._counters, made.deliver, made.leave_hole, made.pending)
            await recovery.run()
            made.leave_hole(recovery.hole)
            await self._create(made, recovery)
            await recovery.finish()
            made.begin()  # before the old one is deleted: a kill between the two would leave a mark that leads nowhere
            had_less_room = await recovery.delete()
        except BaseException:
            await made.end()
            raise
        self._start(made.run, "subscription")
        return had_less_room

    async def _create(self, made: Subscription, recovery: Recovery) -> None:
        """Before the one before ends, so that no sample falls between the two; but after that where the server takes one only."""
        try:
            await made.create()
        except ua.UaStatusCodeError:
            if made.id or not await recovery.make_room():
                raise
            made.leave_hole(ONE_ONLY)
            made.send_again()
            await made.create()

    def _start(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        task = asyncio.create_task(self._unless_refused(work, name), name=f"{self._config.id} {name}")
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    async def _unless_refused(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        """What a server refuses outright is no mistake of this process: the connection ends, with its words."""
        try:
            await work()
        except (ua.UaStatusCodeError, Refused) as refused:
            raise NotConnected(refusal(self._config, name, refused.code)) from None

    def _ended(self, task: asyncio.Task[None]) -> None:
        """The first task that fails ends the connection: read() raises what it raised."""
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._inbox.fail(failure)

    async def read(self) -> Batch:
        if self._link is None:
            raise NotConnected(f"{self._config.endpoint}: not connected")
        with advising(STEPS, self._named):
            return await self._inbox.take()

    @property
    def _named(self) -> Mapping[str, object]:
        """What steps may name."""
        config, own = self._config, self._identity.own if self._identity else None
        return {
            "endpoint": config.endpoint,
            "host": urlsplit(config.endpoint).hostname,
            "security": security(config),
            "certificate": own.certificate_file if own else "its certificate",
            "name": own.certificate.subject.rfc4514_string() if own else "made at first use",
        }

    async def close(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._subscription is not None:
            self._watch = self._subscription.watch
        link, self._link = self._link, None
        self._subscription = self._poller = self._caretaker = None
        if link is not None:
            # What the server samples until the next connection, and what a server that hangs has in its queues, would be lost.
            keep = self._receipts.worth_keeping
            if await link.close(delete_subscriptions=not keep) and not keep:
                self._receipts.begin(0, None)

    def points(self) -> list[Point]:
        return [item.point for item in self._items]

    def health(self) -> Health:
        parts = (self._subscription, self._poller, self._caretaker)
        sentences = [part.trouble for part in parts if part is not None and part.trouble]
        sentences += own_warnings(self._identity) + (self._link.warnings if self._link else [])
        found = [*map(Cause, dict.fromkeys(sentences)), *causes(self._items)]
        counters: dict[str, float] = {**self._counters, "points_in_trouble": sum(1 for i in self._items if i.problem)}
        return Health(advised(found, STEPS, self._named), counters)


def _mark_file(config: OpcUaConfig) -> Path | None:
    return Path(config.state_dir) / f"{config.id}.json" if config.state_dir else None
