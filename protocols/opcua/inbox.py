"""Between those who receive (notifications, polls) and read(): bounded, in order, with the time each came.

The bound is a number of readings. Nothing is ever thrown away here: when it is full, `has_room` turns false, the subscription
stops asking for notifications and polls are left out (counted), so that the server's own queues fill, overflow and say so.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from functools import partial

from protocols.contract import Batch, Reading, Reject
from protocols.opcua.receipts import Receipt, Receipts

LINGER_S = 0.05
"""Batches are at least so far apart, so that what comes in drops is one batch; a first drop goes at once."""
LARGEST_BATCH = 5000
_MOST_REJECTS = 100


class Inbox:
    def __init__(self, bound: int, receipts: Receipts) -> None:
        self.bound = bound
        self._receipts = receipts
        self._chunks: deque[tuple[int, list[Reading], Receipt | None]] = deque()
        self._rejects: list[Reject] = []
        self._held = 0
        self._failure: BaseException | None = None
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._last_batch = 0.0

    def put(self, readings: list[Reading], receipt: Receipt | None = None) -> None:
        """`receipt`: the message that holds these and no more."""
        if readings:
            self._chunks.append((time.time_ns() // 1000, readings, receipt))
            self._held += len(readings)
            self._changed.set()
            if self._held >= self.bound:
                self._room.clear()

    def reject(self, reject: Reject) -> None:
        self._rejects.append(reject)
        if len(self._rejects) >= _MOST_REJECTS:
            self._room.clear()
        self._changed.set()

    @property
    def has_room(self) -> bool:
        return self._room.is_set()

    async def room(self) -> None:
        """Wait until half of the bound is free again."""
        await self._room.wait()

    def fail(self, failure: BaseException) -> None:
        """The connection is over; what was received before is still read, then this is raised."""
        if self._failure is None:
            self._failure = failure
        self._changed.set()

    async def take(self) -> Batch:
        """The next batch: what arrived within LINGER_S, at most LARGEST_BATCH readings. Safe to cancel."""
        while not self._chunks and not self._rejects:
            if self._failure is not None:
                raise self._failure
            self._changed.clear()
            await self._changed.wait()
        wait = self._last_batch + LINGER_S - time.monotonic()
        if 0 < wait <= LINGER_S and self._held < LARGEST_BATCH and self._failure is None:
            await asyncio.sleep(wait)
        self._last_batch = time.monotonic()
        return self._batch()

    def _batch(self) -> Batch:
        rejects, self._rejects = self._rejects, []
        arrived, readings, receipt = self._chunks.popleft() if self._chunks else (time.time_ns() // 1000, [], None)
        first = arrived
        while self._chunks and len(readings) + len(self._chunks[0][1]) <= LARGEST_BATCH:
            if self._chunks[0][0] - first > LINGER_S * 1e6:
                break
            arrived, more, later = self._chunks.popleft()
            readings += more
            receipt = later or receipt
        self._held -= len(readings)
        if self._held <= self.bound // 2:
            self._room.set()
        if receipt is None:
            return Batch(readings, arrived, rejects)
        self._receipts.hand(receipt)
        return Batch(readings, arrived, rejects, partial(self._receipts.stored, receipt))
