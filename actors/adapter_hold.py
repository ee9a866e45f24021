"""What an adapter has read and the stream has not acknowledged yet: a bounded queue between reading and sending.

Policy when full: reading stops until there is room (`room`); nothing is ever dropped. Over its bounds by one batch at most.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

from stream.producer import Parcel

READINGS_MAX = 200_000
BYTES_MAX = 32 * 2**20
TAKE_BYTES = 4 * 2**20
"""Most bytes handed to the stream at a time: more batches would not fit one request."""


@dataclass(slots=True)
class Held:
    """One batch of the protocol, encoded."""

    parcels: list[Parcel]
    records: int
    size: int
    gateway_time: int
    delivered: Callable[[], None]


class Hold:
    """For two coroutines of one loop: one adds, one takes."""

    def __init__(self, readings_max: int = READINGS_MAX, bytes_max: int = BYTES_MAX) -> None:
        self._readings_max, self._bytes_max = readings_max, bytes_max
        self._waiting: deque[Held] = deque()
        self._taken: list[Held] = []
        self._arrived, self._room = asyncio.Event(), asyncio.Event()
        self._room.set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._batches = 0
        self.readings = self.size = 0
        """Everything not acknowledged, also what is being sent."""

    @property
    def fill(self) -> float:
        """0 to 1, a little above when full."""
        return max(self.readings / self._readings_max, self.size / self._bytes_max)

    @property
    def full(self) -> bool:
        return not self._room.is_set()

    def add(self, held: Held) -> None:
        self._waiting.append(held)
        self._batches += 1
        self._empty.clear()
        self.readings += held.records
        self.size += held.size
        if self.fill >= 1:
            self._room.clear()
        self._arrived.set()

    async def room(self) -> None:
        """Return when something may be added."""
        await self._room.wait()

    async def empty(self) -> None:
        """Return when everything is acknowledged."""
        await self._empty.wait()

    async def take(self) -> list[Held]:
        """What waits, up to TAKE_BYTES, at least one batch. It counts as held until `done`."""
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        taken, size = [self._waiting.popleft()], 0
        while self._waiting and size + self._waiting[0].size <= TAKE_BYTES:
            size += self._waiting[0].size
            taken.append(self._waiting.popleft())
        self._taken = taken
        return taken

    def done(self, taken: list[Held]) -> None:
        """These are acknowledged."""
        self.readings -= sum(held.records for held in taken)
        self.size -= sum(held.size for held in taken)
        self._batches -= len(taken)
        self._taken = []
        if self.fill < 1:
            self._room.set()
        if not self._batches:
            self._empty.set()

    def by_asset(self) -> dict[str, int]:
        """Records of each asset that are not acknowledged, most first."""
        keys: Counter[bytes] = Counter()
        for held in chain(self._taken, self._waiting):
            for parcel in held.parcels:
                keys.update(parcel.keys)
        return {key.decode(errors="replace"): n for key, n in keys.most_common()}
