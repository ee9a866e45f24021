"""After a lost connection: fetch what the server kept of the subscription before, so that what it sampled meanwhile is not lost.

TransferSubscriptions brings the old subscription into the new session, Republish its messages that the stream does not have. Then
subscription.py makes a new one, and only when that samples, Publish requests bring what the old one has sampled until now; then it is
deleted. What both sampled, subscription.py takes once. Why not go on with the old one: servers differ in what they do after a
transfer (some never publish again, some repeat no current values), and a new subscription always starts with all values. What the
server no longer has is lost: its retransmission queue and its subscription's life are bounds.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from asyncua import ua

from protocols.opcua import binary, quality
from protocols.opcua.config import OpcUaConfig
from protocols.opcua.link import Link
from protocols.opcua.receipts import Mark, Receipts, distance, next_number

_LEAST_WAIT_S, _MOST_WAIT_S = 0.5, 10.0
"""Bounds of how long the server may take until it publishes what has queued up."""
_DRAINED_WITHIN_S = 30.0
"""How long it may take to hand out very much of it."""
_STORED_WITHIN_S = 10.0
"""How long the old subscription is kept for messages that the stream has not taken yet."""
_MOST_STRAYS = 50
_GONE = frozenset({0x80280000, 0x80790000})
"""BadSubscriptionIdInvalid, BadNoSubscription."""
_CANNOT = frozenset({0x800B0000, 0x80400000})
"""BadServiceUnsupported, BadNotImplemented: for nobody."""
_log = logging.getLogger(__name__)


def mark_of(link: Link, config: OpcUaConfig, subscription: int) -> Mark | None:
    """None if the server does not say when it was started."""
    if link.started is None:
        return None
    points = [p.model_dump(mode="json") for p in config.points]
    login = [config.user, config.security.policy]
    told = json.dumps([config.endpoint, login, points], sort_keys=True).encode()
    return Mark(hashlib.sha256(told).hexdigest(), link.started, subscription)


@dataclass(slots=True)
class Recovery:
    link: Link
    config: OpcUaConfig
    receipts: Receipts
    counters: Counter[str]
    deliver: Callable[[binary.Notification], None]
    leave_hole: Callable[[str | None], None]
    """Have the next values say that others may be missing before them."""
    pending: set[asyncio.Task[bytes]]
    """Publish requests that are not answered yet, or by the next subscription: they are then that one's."""
    hole: str | None = None
    """Why values may be missing between the connection before and this one."""
    _old: int | None = None
    _fetched: int = 0
    _next: int = 1
    """Sequence number after the last one."""

    async def run(self) -> None:
        """Take it over and fetch what was sent; it goes on sampling until `delete`. Raises NotConnected."""
        self.receipts.resume()
        mark = self.receipts.mark
        if mark is None:
            self.hole = "the server hands no subscription over" if self.receipts.refused_to else None
            return
        if mark != mark_of(self.link, self.config, mark.subscription):
            await self._leave(mark)
            return
        available = await self._transfer(mark.subscription)
        if available is None:
            return
        self._old = mark.subscription
        await self._fetch(mark.subscription, available)

    async def _leave(self, mark: Mark) -> None:
        """Its handles would name other points. The same start of the server has it still: it need not wait there for its end."""
        _log.info("%s: server or settings are new, the subscription before is of no use", self.config.endpoint)
        self.hole = "its settings were changed" if mark.started == self.link.started else "the server was started anew"
        if mark.started == self.link.started and await self._transfer(mark.subscription) is not None:
            await self.link.forget(mark.subscription)

    async def finish(self) -> None:
        """To be called when the next subscription samples. Fetch the rest, and wait until the stream has what was fetched: until
        then the server's copy is the only safe one. Raises NotConnected."""
        if self._old is None:
            return
        await self._drain(self._old)
        await self._fetch_strays(self._old)
        _log.info("%s: %d messages of the subscription before were fetched", self.config.endpoint, self._fetched)
        end = time.monotonic() + _STORED_WITHIN_S
        while self.receipts.waiting and time.monotonic() < end:  # noqa: ASYNC110 - asked ten times a second, once a connect
            await asyncio.sleep(0.1)

    async def delete(self) -> bool:
        """The old subscription, once the mark names the next one. False: there is none. Raises NotConnected."""
        old, self._old = self._old, None
        if old is not None:
            await self.link.forget(old)
        return old is not None

    async def make_room(self) -> bool:
        """For a server that has no room for the next one beside it: fetch the rest now, and delete it. False: it was none that took
        the room. Raises NotConnected."""
        await self.finish()
        return await self.delete()

    async def _transfer(self, subscription: int) -> list[int] | None:
        """Take it over: the messages the server still keeps, or None."""
        parameters = ua.TransferSubscriptionsParameters(SubscriptionIds=[subscription], SendInitialValues=False)
        try:
            (result,) = await self.link.ask(
                self.link.session.transfer_subscriptions(parameters), "TransferSubscriptions"
            )
            code = result.StatusCode.value
        except ua.UaStatusCodeError as refused:
            result, code = None, refused.code
        if result is not None and not result.StatusCode.is_bad():
            self.receipts.handed_over(True)
            return list(result.AvailableSequenceNumbers or [])
        self.counters["transfers_refused"] += 1
        self.hole = f"the server did not hand over the subscription before ({quality.name(code)})"
        if code not in _GONE:
            self.receipts.handed_over(False)
        _log.warning(
            "%s: TransferSubscriptions: %s. What was on its way when the connection was lost cannot be fetched%s",
            self.config.endpoint, quality.words(code), "" if code in _GONE or code in _CANNOT else _hint(self.config),
        )  # fmt: skip
        return None

    async def _fetch(self, subscription: int, available: list[int]) -> None:
        """Those the reader has not been given, in order."""
        start = next_number(self.receipts.handed) if self.receipts.handed else min(available, default=1)
        self._next = start
        kept = sorted((n for n in available if distance(start, n) >= 0), key=lambda n: distance(start, n))
        if (
            available or self.receipts.notices
        ):  # else it may be one that keeps nothing, and a number that is missing may be a loss
            used = [next_number(n) for n in (*kept, *self.receipts.notices)]
            self.receipts.notices.add(max((start, *used), key=lambda n: distance(start, n)))
        for number in kept:
            await self._republish(subscription, number)

    async def _fetch_strays(self, subscription: int) -> None:
        """Messages sent meanwhile that did not reach us: some servers address them to the connection before."""
        for _ in range(_MOST_STRAYS):
            if not await self._republish(subscription, self._next):
                return

    async def _republish(self, subscription: int, number: int) -> bool:
        message = await self._repeated(subscription, number)
        if message is not None:
            self._give(message)
        return message is not None

    async def _repeated(self, subscription: int, number: int) -> binary.Notification | None:
        request = ua.RepublishRequest()
        request.Parameters.SubscriptionId, request.Parameters.RetransmitSequenceNumber = subscription, number
        try:
            message: binary.Notification = binary.republish_response(await self.link.call(request))
        except (ua.UaStatusCodeError, binary.Refused, binary.Malformed):
            return None
        return message if message.sequence == number else None

    async def _drain(self, subscription: int) -> None:
        """Messages that were never sent. One that comes at once may be older than the last samples, so a publishing interval is
        waited for, unless a sign of life says before that nothing is left."""
        begun = time.monotonic()
        end = begun + min(_MOST_WAIT_S, max(_LEAST_WAIT_S, 1.5 * self.config.publishing_interval))
        more = True
        while more or time.monotonic() < end:
            asked = asyncio.create_task(self.link.publish(ua.PublishRequest()))
            self.pending.add(asked)
            await asyncio.wait({asked}, timeout=max(0.0, end - time.monotonic()))
            if not asked.done():
                return
            try:
                published = binary.publish_response(asked.result())
            except (ua.UaStatusCodeError, binary.Refused, binary.Malformed):
                self.pending.discard(asked)
                return
            if published.subscription != subscription:
                more = False
                continue
            self.pending.discard(asked)
            if published.notification.keep_alive:
                return
            await self._fetch_before(subscription, published.notification.sequence)
            self._give(published.notification)
            more = published.more and time.monotonic() < begun + _DRAINED_WITHIN_S
            if more:
                end = max(end, time.monotonic() + _LEAST_WAIT_S)

    async def _fetch_before(self, subscription: int, number: int) -> None:
        """Messages sent to the connection before while this one took over."""
        for _ in range(min(distance(self._next, number), _MOST_STRAYS)):
            if not await self._republish(subscription, self._next):
                return

    def _give(self, message: binary.Notification) -> None:
        """A number too large shows messages the server no longer has."""
        while self._next in self.receipts.notices and message.sequence != self._next:
            self._next = next_number(self._next)
        if (lost := distance(self._next, message.sequence)) > 0:
            self.counters["messages_lost"] += lost
            self.leave_hole(f"the server did not keep {lost} messages")
        self._next = next_number(message.sequence)
        self._fetched += 1
        self.counters["recovered_messages"] += 1
        self.deliver(message)


def _hint(config: OpcUaConfig) -> str:
    return "" if config.user is not None else "; many servers do it only for a `user`, with `security`"
