"""After a lost connection: fetch what the server kept of the subscription before, so that what it sampled meanwhile is not lost.

TransferSubscriptions brings the old subscription into the new session, Republish its messages that the stream does not have, a few
Publish requests what has queued up since; then subscription.py makes a new one, and the old one is deleted. Why not go on with the old one:
servers differ in what they do after a transfer (some never publish again, some repeat no current values), and a new subscription
always starts with all values. What the server no longer has is lost: its retransmission queue and its subscription's life are bounds.
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

_LEAST_WAIT_S, _MOST_WAIT_S = 0.5, 2.0
"""How long the server may take to hand out what has queued up."""
_STORED_WITHIN_S = 10.0
"""How long the old subscription is kept for messages that the stream has not taken yet."""
_MOST_STRAYS = 50
_GONE = frozenset({0x80280000, 0x80790000})
"""BadSubscriptionIdInvalid, BadNoSubscription."""
_log = logging.getLogger(__name__)


def mark_of(link: Link, config: OpcUaConfig, subscription: int) -> Mark | None:
    """None if the server does not say when it was started."""
    if link.started is None:
        return None
    points = [p.model_dump(mode="json") for p in config.points]
    told = json.dumps([config.endpoint, points], sort_keys=True).encode()
    return Mark(hashlib.sha256(told).hexdigest(), link.started, subscription)


@dataclass(slots=True)
class Recovery:
    link: Link
    config: OpcUaConfig
    receipts: Receipts
    counters: Counter[str]
    deliver: Callable[[binary.Notification], None]
    pending: set[asyncio.Task[bytes]]
    """Publish requests that are not answered yet: they are then the next subscription's."""
    _old: int | None = None
    _fetched: int = 0
    _next: int = 1
    """Sequence number after the last one."""

    async def run(self) -> None:
        """Fetch everything; the old subscription stays until `finish`. Raises NotConnected."""
        self.receipts.resume()
        mark = self.receipts.mark
        if mark is None:
            return
        if mark != mark_of(self.link, self.config, mark.subscription):
            _log.info("%s: server or points are new, the subscription before is left alone", self.config.endpoint)
            return
        available = await self._transfer(mark.subscription)
        if available is None:
            return
        await self._fetch(mark.subscription, available)
        await self._drain(mark.subscription)
        await self._fetch_strays(mark.subscription)
        self._old = mark.subscription
        _log.info("%s: %d messages of the subscription before were fetched", self.config.endpoint, self._fetched)

    async def finish(self) -> None:
        """Delete it once the stream has what was fetched: until then the server's copy is the only safe one. Raises NotConnected."""
        if self._old is None:
            return
        end = time.monotonic() + _STORED_WITHIN_S
        while self.receipts.waiting and time.monotonic() < end:  # noqa: ASYNC110 - asked ten times a second, once a connect
            await asyncio.sleep(0.1)
        await self.link.forget(self._old)

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
            return list(result.AvailableSequenceNumbers or [])
        self.counters["transfers_refused"] += 1
        _log.warning(
            "%s: TransferSubscriptions: %s. What was on its way when the connection was lost cannot be fetched%s",
            self.config.endpoint, quality.words(code), "" if code in _GONE else _hint(self.config),
        )  # fmt: skip
        return None

    async def _fetch(self, subscription: int, available: list[int]) -> None:
        """Those the reader has not been given, in order."""
        start = next_number(self.receipts.handed) if self.receipts.handed else min(available, default=1)
        self._next = start
        for number in sorted((n for n in available if distance(start, n) >= 0), key=lambda n: distance(start, n)):
            await self._republish(subscription, number)

    async def _fetch_strays(self, subscription: int) -> None:
        """Messages sent meanwhile that did not reach us: some servers address them to the connection before."""
        for _ in range(_MOST_STRAYS):
            if not await self._republish(subscription, self._next):
                return

    async def _republish(self, subscription: int, number: int) -> bool:
        request = ua.RepublishRequest()
        request.Parameters.SubscriptionId, request.Parameters.RetransmitSequenceNumber = subscription, number
        try:
            message = binary.republish_response(await self.link.call(request))
        except (ua.UaStatusCodeError, binary.Refused, binary.Malformed):
            return False
        return message.sequence == number and self._give(message)

    async def _drain(self, subscription: int) -> None:
        """Messages that were never sent: the server answers at once if it has any, else with a sign of life or not at all."""
        patience = min(_MOST_WAIT_S, max(_LEAST_WAIT_S, 2 * self.config.publishing_interval))
        end = time.monotonic() + patience
        while True:
            asked = asyncio.create_task(self.link.publish(ua.PublishRequest()))
            self.pending.add(asked)
            await asyncio.wait({asked}, timeout=max(0.0, end - time.monotonic()))
            if not asked.done():
                return
            self.pending.discard(asked)
            try:
                published = binary.publish_response(asked.result())
            except (ua.UaStatusCodeError, binary.Refused, binary.Malformed):
                return
            if published.subscription == subscription and not published.notification.keep_alive:
                self._give(published.notification)
            if not published.more or time.monotonic() > end:
                return

    def _give(self, message: binary.Notification) -> bool:
        """A number too large shows messages the server no longer has."""
        if (lost := distance(self._next, message.sequence)) > 0:
            self.counters["messages_lost"] += lost
        self._next = next_number(message.sequence)
        self._fetched += 1
        self.counters["recovered_messages"] += 1
        self.deliver(message)
        return True


def _hint(config: OpcUaConfig) -> str:
    return "" if config.user is not None else "; many servers do it only for a `user`, with `security`"
