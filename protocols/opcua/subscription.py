"""One subscription: its Publish requests, lost messages asked for again, and what the watchdog orders.

Several Publish requests are under way at once, so that one lost answer neither stops the flow nor passes unnoticed: the next
answer's sequence number shows the gap, and Republish closes it. Messages are acknowledged once the stream has them (receipts.py);
what an earlier connection left at the server is recovery.py's business.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

from asyncua import ua

from protocols.contract import NotConnected, Reading, Reject
from protocols.opcua import binary, monitored, quality, watchdog
from protocols.opcua.config import OpcUaConfig
from protocols.opcua.inbox import Inbox
from protocols.opcua.items import Item
from protocols.opcua.link import Link
from protocols.opcua.overlap import Overlap
from protocols.opcua.receipts import Receipts, distance, next_number
from protocols.opcua.recovery import mark_of
from protocols.opcua.watchdog import Action, Watch
from schemas.records import Quality

_log = logging.getLogger(__name__)
_WINDOW = 3
"""Publish requests under way."""
_PER_PUBLISH = 2000
"""Most values in one notification."""
_MOST_MISSING = 50
"""Longest gap of sequence numbers that is asked for message by message."""
_SHORTEST_BOUND_S = 3.0
_LIFETIME_S = 120.0
"""How long the server keeps the subscription without a Publish request: longer than any normal pause of ours."""
_AFTER_ERROR_S = 1.0
_RESEND_S = 60.0
"""Least time between two subscriptions made anew because messages were lost."""
_SUBSCRIPTION_GONE = frozenset({0x80790000, 0x80280000})
"""BadNoSubscription, BadSubscriptionIdInvalid."""
_TOO_MANY_PUBLISH_REQUESTS = 0x80780000


class SilentServer(Exception):
    """Not even a new session brought a sign of life: the process ends and the supervisor starts another."""


@dataclass(slots=True)
class Subscription:
    link: Link
    config: OpcUaConfig
    items: list[Item]
    """All points of the adapter, by handle."""
    inbox: Inbox
    counters: Counter[str]
    receipts: Receipts
    watch: Watch
    """From the connection before, so that silence over several sessions is seen."""
    id: int = 0
    vanished: list[Item] = field(default_factory=list)
    """Nodes the server said are gone; caretaker.py tries them again."""
    trouble: str | None = None
    """What the watchdog did since the last sign of life, for people."""
    _expected: int = 1
    """Sequence number of the next message."""
    _is_first: bool = True
    """No message of this subscription has come yet."""
    _has_begun: bool = False
    """What comes is no longer the subscription's before."""
    _overlap: Overlap = field(default_factory=Overlap)
    _resent_at: float = -math.inf
    _lost: int = 0
    _lost_at: float = -math.inf
    """Messages that nobody could repeat, and when the last of them was missed."""
    _window: int = _WINDOW
    _hold_until: float = 0
    _gone: str | None = None
    _unproven: bool = False
    """Made anew, and no sign of life since."""
    pending: set[asyncio.Task[bytes]] = field(default_factory=set)
    """Publish requests under way."""
    _given_up: set[asyncio.Task[bytes]] = field(default_factory=set)
    """Sent so long ago that others were sent instead; an answer is still welcome."""

    async def create(self) -> None:
        """Make it on the server, with every item that has a node; then comes `begin`. Raises NotConnected, UaStatusCodeError."""
        bound = await self._create()
        self.watch = watchdog.connected(self.watch, _now(), bound)
        await self._monitor_all()

    def begin(self) -> None:
        """From now on it is this one whose messages count."""
        self.receipts.begin(self.id, mark_of(self.link, self.config, self.id))
        self._has_begun = self._is_first = True
        self._expected = 1
        self.watch = watchdog.pause(self.watch, _now())

    async def _create(self) -> float:
        """Returned is how long its silence may last, by the intervals the server grants."""
        interval = self.config.publishing_interval
        lifetime = max(3 * self.config.keep_alive_count, math.ceil(_LIFETIME_S / interval))
        parameters = ua.CreateSubscriptionParameters(
            RequestedPublishingInterval=interval * 1000,
            RequestedLifetimeCount=min(lifetime, 2**31),
            RequestedMaxKeepAliveCount=self.config.keep_alive_count,
            MaxNotificationsPerPublish=_PER_PUBLISH,
            PublishingEnabled=True,
        )
        made = await self.link.ask(self.link.session.create_subscription(parameters, _ignore), "CreateSubscription")
        self.id, self._gone = made.SubscriptionId, None
        self._tell_revised(made)
        keep_alive = made.RevisedPublishingInterval / 1000 * made.RevisedMaxKeepAliveCount
        return float(max(self.config.watchdog or max(2 * keep_alive, _SHORTEST_BOUND_S), 1.5 * keep_alive))

    def _tell_revised(self, made: Any) -> None:
        """Servers grant what they can, and say nothing about it."""
        granted = made.RevisedPublishingInterval / 1000
        if not math.isclose(granted, self.config.publishing_interval, abs_tol=1e-6):
            _log.info(
                "%s: publishes every %g s, asked for %g s",
                self.config.endpoint,
                granted,
                self.config.publishing_interval,
            )
        if made.RevisedMaxKeepAliveCount != self.config.keep_alive_count:
            counts = (made.RevisedMaxKeepAliveCount, self.config.keep_alive_count)
            _log.info("%s: a sign of life every %d intervals, asked for %d", self.config.endpoint, *counts)

    async def _monitor_all(self) -> None:
        known = [i for i in self.items if i.config.mode == "subscribe" and i.node_id is not None]
        await self.add(known)

    def leave_hole(self, why: str | None) -> None:
        """Have the next value of each point say that others may be missing before it; None: there is no hole."""
        for item in self.items:
            if why is not None and item.config.mode == "subscribe":
                item.hole = why

    async def add(self, items: list[Item]) -> None:
        """Watch these as well. Raises NotConnected, UaStatusCodeError."""
        self.inbox.put(await monitored.monitor(self.link, self.id, items))

    async def run(self) -> None:
        """Receive until the connection is over. Raises NotConnected, SilentServer."""
        try:
            while True:
                if not self.inbox.has_room:
                    await self._pause()
                self._fill()
                await self._received(await self._wait())
                await self._obey()
        finally:
            await self.end()

    async def end(self) -> None:
        """Wait for nothing more."""
        tasks = self.pending | self._given_up
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _pause(self) -> None:
        """The stream is slow: take nothing more. The server's queues hold what they can and mark what they could not."""
        self.counters["pauses"] += 1
        await self.inbox.room()
        self.watch = watchdog.pause(self.watch, _now())

    def _fill(self) -> None:
        if _now() < self._hold_until:
            return
        while len(self.pending) < self._window:
            request = ua.PublishRequest()
            request.Parameters.SubscriptionAcknowledgements = [
                ua.SubscriptionAcknowledgement(self.id, number) for number in self.receipts.acknowledge
            ]
            self.receipts.acknowledge.clear()
            self.pending.add(asyncio.create_task(self.link.publish(request)))

    async def _wait(self) -> set[asyncio.Task[bytes]]:
        """Publish requests that were answered, until the watchdog has something to say."""
        until = watchdog.due(self.watch)
        if _now() < self._hold_until:
            until = min(until, self._hold_until)
        patience = max(0.0, until - _now())
        under_way = self.pending | self._given_up
        if not under_way:
            await asyncio.sleep(patience)
            return set()
        done, _ = await asyncio.wait(under_way, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        return done

    async def _received(self, done: set[asyncio.Task[bytes]]) -> None:
        for task in done:
            task.exception()  # looked at, so that the second of several failures is not logged as forgotten
        given_up = done & self._given_up
        self.pending -= done
        self._given_up -= done
        published = [p for p in (self._answer(task, task in given_up) for task in done) if p is not None]
        # Answers of one moment come as a set; the messages in them have an order.
        published.sort(key=lambda p: (p.notification.sequence, p.notification.keep_alive))
        for one in published:
            await self._take(one)

    def _answer(self, task: asyncio.Task[bytes], given_up: bool) -> binary.Published | None:
        """What a Publish request brought; None for one that brought nothing. Raises NotConnected."""
        try:
            published: binary.Published | None = self._decoded(binary.publish_response, task.result())
            return published
        except (ua.UaStatusCodeError, binary.Refused) as refused:
            self.counters["publish_errors"] += 1
            if given_up:
                return None  # it speaks of what was before
            if refused.code == _TOO_MANY_PUBLISH_REQUESTS:
                self._window = max(1, len(self.pending))
            elif refused.code in _SUBSCRIPTION_GONE:
                self._gone = f"the server ended the old one ({quality.words(refused.code)})"
            self._hold_until = _now() + _AFTER_ERROR_S
            return None

    def _decoded(self, decode: Any, answer: bytes) -> Any:
        """None, and a reject with all bytes, for an answer that cannot be decoded."""
        try:
            return decode(answer)
        except binary.Malformed as wrong:
            self.counters["malformed"] += 1
            self.inbox.reject(Reject("opcua_malformed", str(wrong), answer))
            return None

    async def _take(self, published: binary.Published) -> None:
        if published.subscription != self.id:
            return  # a subscription that was given up
        self.watch, self.trouble, self._unproven = watchdog.life(self.watch, _now()), self._losing(), False
        message = published.notification
        ahead = distance(self._expected, message.sequence)
        if ahead < 0:
            self.counters["repeated_messages"] += 1
            return
        if ahead > 0:
            await self._fetch_missing(ahead, message.sequence)
        self._is_first = False
        if message.keep_alive:
            self.counters["keep_alives"] += 1
        else:
            self.deliver(message)

    def deliver(self, message: binary.Notification) -> None:
        """Hand its values on, and take notice of what else it says."""
        self._expected = next_number(message.sequence)
        readings: list[Reading] = []
        for handle, value in message.changes:
            if handle >= len(self.items):
                continue
            item = self.items[handle]
            made = None if self._is_repeat(handle, value) else item.take(value)
            if made is not None:
                readings.append(made)
            if value.status in quality.NODE_GONE:
                self.vanished.append(item)
        self.counters["values"] += len(message.changes)
        self.receipts.came(message.sequence, bool(readings))
        self.inbox.put(readings, (self.receipts.subscription, message.sequence))
        if message.status_change is not None and quality.severity(message.status_change) is not Quality.GOOD:
            self._gone = f"the server ended the old one ({quality.words(message.status_change)})"

    def _is_repeat(self, handle: int, value: binary.DataValue) -> bool:
        if not self._has_begun:
            self._overlap.note(handle, value)
            return False
        if not self._overlap.repeats(handle, value):
            return False
        self.counters["same_again"] += 1
        return True

    async def _fetch_missing(self, missing: int, up_to: int) -> None:
        """Ask for messages that were sent but never arrived. Raises NotConnected.

        What was in a lost one may never be told again, so a new subscription is made, which starts with all current values. Not
        for the first message: some servers start to count elsewhere. And not all the time, in case a server counts oddly.
        """
        asked = 0
        while asked < min(missing, _MOST_MISSING) and await self._republish():
            asked += 1
        lost, self._expected = missing - asked, up_to
        if lost and not self._is_first:
            self.counters["messages_lost"] += lost
            self._lost += lost
            self._lost_at = _now()
            why = f"{lost} messages were lost, and the server could not repeat them"
            self.leave_hole(why)
            if _now() - self._resent_at > _RESEND_S:
                self._resent_at, self._gone = _now(), why

    def _losing(self) -> str | None:
        """For people, as long as it is news."""
        if _now() - self._lost_at > _RESEND_S:
            self._lost = 0
            return None
        return f"the server dropped {self._lost} messages before this gateway could take them, the last one less than {_RESEND_S:g} s ago"

    async def _republish(self) -> bool:
        """Ask for the next message again; False if the server no longer has it. Raises NotConnected."""
        request = ua.RepublishRequest()
        request.Parameters.SubscriptionId, request.Parameters.RetransmitSequenceNumber = self.id, self._expected
        try:
            message = self._decoded(binary.republish_response, await self.link.call(request))
        except (ua.UaStatusCodeError, binary.Refused):
            return False
        if message is None or message.sequence != self._expected:
            return False
        self.counters["republished"] += 1
        self.deliver(message)
        return True

    async def _obey(self) -> None:
        if self._gone is not None:
            if self._unproven:
                raise NotConnected(f"{self.config.endpoint}: no subscription lasts: {self._gone}")
            await self._recreate(f"made a new subscription: {self._gone}")
        self.watch, action = watchdog.decide(self.watch, _now())
        if action is Action.WAIT:
            return
        silence = f"neither values nor keep-alives for {self.watch.bound:.3g} s"
        self.counters["silences"] += 1
        if action is Action.REPUBLISH:
            self.send_again()
            self.trouble = f"{silence}; asked again"
            await self._republish()
        elif action is Action.RECREATE:
            await self._recreate(f"{silence}, twice; made a new subscription")
        elif action is Action.RECONNECT:
            raise NotConnected(
                f"{self.config.endpoint}: {silence}, three times, though the session stands; connecting anew"
            )
        else:
            raise SilentServer(f"{self.config.endpoint}: {silence}, in a new session too")

    def send_again(self) -> None:
        """Publish requests under way may speak of the subscription before: others are sent, and an error of these counts no more."""
        for task in self._given_up:
            task.cancel()
        self._given_up, self.pending, self._hold_until = self.pending, set(), 0

    async def _recreate(self, why: str) -> None:
        """Raises NotConnected."""
        self.counters["subscriptions_recreated"] += 1
        self.trouble, self._unproven = why, True
        try:
            bound = await self._replace()
            self.leave_hole(why)
            self.watch = replace(self.watch, since=_now(), bound=bound)
            self.send_again()
            await self._monitor_all()
        except ua.UaStatusCodeError as refused:
            words = quality.words(refused.code)
            raise NotConnected(f"{self.config.endpoint}: the server refuses a new subscription: {words}") from None

    async def _replace(self) -> float:
        """First the new one, which a server that hangs does not make: it then keeps what the old one has for the next session.

        But one after the other at a server that has room for one only.
        """
        old = self.id
        try:
            bound = await self._create()
        except ua.UaStatusCodeError:
            await self.link.forget(old)
            bound = await self._create()
        self.begin()
        await self.link.forget(old)
        return bound


def _now() -> float:
    return time.monotonic()


def _ignore(_: Any) -> None:
    """What asyncua wants as callback of its own publish loop, which is off."""
