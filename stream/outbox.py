"""Sending exactly once over any restart of the broker, for a process that holds what it sends.

As long as the process lives, the same idempotent producer repeats a batch with the same sequence numbers, and the broker, which reads
them back from its log after a crash, takes it once. Only when that producer is broken for good (an error it cannot repeat, or silence
from a broker that answers others) a new one takes over, and a new one is a stranger to the broker. So before it sends anything
again it asks the log: records are unique by their bytes (series and time), a batch is written whole or not at all, and what stands
behind the oldest time of the batch is read and compared. Only what is missing is sent again.

One limit is Kafka's: when it loads its logs again it forgets a producer whose newest record is older than `producer.id.expiration.ms`, at
most 24.8 days. So a batch under way can double if the broker dies and meanwhile the gateway's clock jumps by more than that.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from aiokafka.errors import MessageSizeTooLargeError, RecordListTooLargeError

from stream.broker.wire import silence
from stream.consumer import StreamConsumer
from stream.producer import Pack, Parcel, Partition, StreamLost, StreamProducer, packs
from stream.words import said

TICK_S = 0.5
SILENT_S = 3.0
"""Without an acknowledgement for so long the stream counts as silent: people are told, nothing else changes."""
SETTLE_S = 1.0
"""The end of a partition must not move for so long before it is compared: a request of the old producer may still be on its way."""
READ_WITHIN_S = 20
"""Without a record for so long, reading back has failed and is tried again."""
_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)


@dataclass(slots=True)
class Refusal:
    """One record that the broker will never take."""

    parcel: Parcel
    """Holds this record only."""
    reason: str


@dataclass(slots=True)
class _Round:
    """One batch for each partition, handed over together."""

    waiting: dict[asyncio.Future[Any], Partition] = field(default_factory=dict)
    failed: dict[Partition, BaseException] = field(default_factory=dict)


class Outbox:
    """One sender, from `start` to `stop`. `send` is not for two coroutines at once.

    `trouble` is None while the stream answers, else a sentence that says since when it does not and why.
    """

    def __init__(self, bootstrap: str, client_id: str, *, stuck_s: float = 60, first_pause_s: float = 0.1) -> None:
        self._bootstrap, self._client_id = bootstrap, client_id
        self._stuck_s, self._first_pause_s = stuck_s, first_pause_s
        self._producer: StreamProducer | None = None
        self._floors: dict[Partition, int] = {}
        self._silent_since: float | None = None
        self._why = ""
        self.renewed = 0
        """How often a producer was broken for good and replaced."""

    @property
    def trouble(self) -> str | None:
        if self._silent_since is None:
            return None
        since = time.strftime("%H:%M:%S", time.localtime(self._silent_since))
        return f"the local stream does not answer since {since}: {self._why}"

    async def send(self, parcels: Iterable[Parcel]) -> list[Refusal]:
        """Return when every record is acknowledged, however long the broker is away; the caller holds no more than it can meanwhile.

        Raises RecordTooLarge before anything is sent. Returns what the broker itself refused for its size.
        """
        queues: dict[Partition, deque[Pack]] = {}
        for pack in packs(parcels):
            queues.setdefault((pack[0].topic, pack[0].partition), deque()).append(pack)
        refused: list[Refusal] = []
        while queues:
            heads = {place: queue.popleft() for place, queue in queues.items()}
            for place, again in (await self._round(heads, refused)).items():
                queues[place].extendleft(reversed(again))
            queues = {place: queue for place, queue in queues.items() if queue}
        return refused

    async def stop(self, within_s: float = 10) -> None:
        if self._producer is not None:
            await self._producer.stop(within_s)
            self._producer = None

    async def _round(self, heads: dict[Partition, Pack], refused: list[Refusal]) -> dict[Partition, list[Pack]]:
        """Send one batch to each partition; what has to be sent again, by partition."""
        producer = await self._ready()
        again: dict[Partition, list[Pack]] = {}
        sent = _Round()
        for place, pack in heads.items():
            try:
                sent.waiting[await producer.hand_over(pack)] = place
            except StreamLost as lost:
                self._silent(str(lost))
                again[place] = [pack]
        doubtful = await self._acknowledged(sent)
        if again:
            await asyncio.sleep(self._first_pause_s)
        if doubtful or again or producer.worn:
            await self._drop_producer(in_order=not doubtful and not again)
        for place in doubtful:
            again[place] = await self._sort_out(heads[place], sent.failed.get(place), refused)
        if not again:
            self._silent_since = None
        return again

    async def _acknowledged(self, sent: _Round) -> list[Partition]:
        """Wait for the acknowledgements; the partitions of which it is not known what arrived."""
        answered_since: float | None = None
        started = time.monotonic()
        while sent.waiting:
            done, _ = await asyncio.wait(sent.waiting, timeout=TICK_S, return_when=asyncio.ALL_COMPLETED)
            for future in done:
                self._note(sent, future)
            now = time.monotonic()
            if sent.waiting and now - started > SILENT_S:
                problem = await silence(self._bootstrap, within_s=2)
                self._silent(problem or "it is there, but acknowledges nothing")
                answered_since = None if problem else answered_since or now
                if answered_since and now - answered_since > self._stuck_s:
                    break
        return [*sent.failed, *sent.waiting.values()]

    def _note(self, sent: _Round, future: asyncio.Future[Any]) -> None:
        place = sent.waiting.pop(future)
        error = future.exception()
        if error is not None:
            sent.failed[place] = error
            self._why = said(error)
        elif future.result().offset >= 0:
            self._floors[place] = future.result().offset + 1

    async def _sort_out(self, pack: Pack, error: BaseException | None, refused: list[Refusal]) -> list[Pack]:
        """What of a doubtful batch has to be sent again."""
        if isinstance(error, _TOO_LARGE):
            if sum(map(len, pack)) > 1:
                return _halves(pack)
            refused.append(Refusal(pack[0], f"the stream takes no record of {len(pack[0].values[0])} bytes"))
            return []
        pause = self._first_pause_s
        while True:
            try:
                return await self._missing(pack)
            except StreamLost as lost:
                self._silent(str(lost))
                await asyncio.sleep(pause)
                pause = min(2 * pause, 2.0)

    async def _missing(self, pack: Pack) -> list[Pack]:
        """Ask the log: the pack less what stands there already; nothing if it arrived. Raises StreamLost."""
        place = pack[0].topic, pack[0].partition
        reader = StreamConsumer(
            self._bootstrap, f"{self._client_id}-check", isolation="read_uncommitted", reset="earliest", within_s=10
        )
        await reader.start()
        try:
            end = await self._settled_end(reader, place)
            oldest = min(p.timestamps_ms if isinstance(p.timestamps_ms, int) else min(p.timestamps_ms) for p in pack)
            first = (await reader.offsets_at({place: oldest}))[place]
            start = max(self._floors.get(place, 0), end if first is None else first)
            found = await _values_between(reader, place, start, end)
        finally:
            await reader.stop()
        return _without(pack, found)

    async def _settled_end(self, reader: StreamConsumer, place: Partition) -> int:
        """The end of a partition once nothing is added any more, or at the latest after ten looks: others may write to it too."""
        end = (await reader.ends([place]))[place]
        for _ in range(10):
            await asyncio.sleep(SETTLE_S)
            before, end = end, (await reader.ends([place]))[place]
            if before == end:
                break
        return end

    async def _ready(self) -> StreamProducer:
        """The producer; a new one as soon as the broker takes it."""
        pause = self._first_pause_s
        while self._producer is None:
            fresh = StreamProducer(self._bootstrap, self._client_id)
            try:
                await fresh.start(within_s=10)
            except StreamLost as lost:
                self._silent(str(lost))
                await asyncio.sleep(pause)
                pause = min(2 * pause, 2.0)
            else:
                self._producer = fresh
        return self._producer

    async def _drop_producer(self, in_order: bool) -> None:
        assert self._producer is not None
        if in_order:
            await self._producer.stop()
        else:
            await self._producer.give_up()
            self.renewed += 1
        self._producer = None

    def _silent(self, why: str) -> None:
        if self._silent_since is None:
            self._silent_since = time.time()
        self._why = why


async def _values_between(reader: StreamConsumer, place: Partition, start: int, end: int) -> Counter[bytes]:
    """The values of the records from `start` up to, not including, `end`. Raises StreamLost."""
    found: Counter[bytes] = Counter()
    if start >= end:
        return found
    reader.assign({place: start})
    moved = time.monotonic()
    while await reader.position(place) < end:
        records = (await reader.poll(5000, wait_s=1)).get(place, [])
        found.update(record.value for record in records if record.offset < end)
        moved = time.monotonic() if records else moved
        if time.monotonic() - moved > READ_WITHIN_S:
            raise StreamLost(f"{place[0]}/{place[1]} could not be read up to {end}")
    return found


def _without(pack: Pack, found: Counter[bytes]) -> list[Pack]:
    """The records of a pack that are not among `found`, order kept."""
    left: Pack = []
    for parcel in pack:
        for at, value in enumerate(parcel.values):
            if found[value] > 0:
                found[value] -= 1
            else:
                left.append(parcel.part(at, at + 1))
    return [left] if left else []


def _halves(pack: Pack) -> list[Pack]:
    half = max(1, sum(map(len, pack)) // 2)
    singles = [parcel.part(at, at + 1) for parcel in pack for at in range(len(parcel))]
    return [singles[:half], singles[half:]]
