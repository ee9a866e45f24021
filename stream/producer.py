"""aiokafka's producer with our safe defaults, whole batches instead of single records, and a deadline on every await.

Idempotent, acks=all, zstd. Any error or expired deadline is StreamLost: whoever holds this producer gives it up and never sends the same
records through it again (PITFALLS 6.2). Transactional users (actors/processor.py) then start anew from the committed offsets; adapters
ask the log what arrived (outbox.py). Not responsible for keeping records, retrying, or choosing partitions.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from stream import broken_connections
from stream.ending import ended
from stream.words import said

BATCH_BYTES = 512 * 1024
"""Most bytes of one batch before compression; only a single record may be larger."""
RECORD_BYTES = 1_000_000
"""A larger record is refused here: the broker's own limit is 1,048,588 for the whole batch."""
_OVERHEAD_BYTES = 24
"""What a record takes in a batch beside its key and value, at most."""
SEQUENCES_MAX = 2**30
"""Records of one partition after which a producer is worn: aiokafka counts on from 2**31 - 1 into the negative, where Kafka expects 0."""

Partition = tuple[str, int]
"""(topic, partition)."""


# What goes wrong is said once, by whoever handles it; aiokafka would say it twenty times a second.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
broken_connections.apply()


class StreamLost(Exception):
    """The stream did not answer in time, or refused for good. What was under way may or may not have arrived."""


class RecordTooLarge(ValueError):
    """One record is larger than the stream takes; nothing of its parcel was sent."""


@dataclass(slots=True)
class Parcel:
    """Records of one partition, in order."""

    topic: str
    partition: int
    keys: list[bytes]
    values: list[bytes]
    timestamps_ms: int | list[int]
    """When the records arrived, milliseconds since 1970: one for all, or one each."""
    _measured: tuple[int, int] = (0, 0)
    """Records and bytes when it was last measured."""

    def __len__(self) -> int:
        return len(self.values)

    @property
    def size(self) -> int:
        """Bytes in a batch, before compression."""
        n = len(self.values)
        if self._measured[0] != n:
            self._measured = n, sum(map(len, self.values)) + sum(map(len, self.keys)) + _OVERHEAD_BYTES * n
        return self._measured[1]

    def part(self, start: int, end: int) -> Parcel:
        """The records from `start` up to, not including, `end`."""
        times = self.timestamps_ms
        some = times if isinstance(times, int) else times[start:end]
        return Parcel(self.topic, self.partition, self.keys[start:end], self.values[start:end], some)


Pack = list[Parcel]
"""What one batch holds: parcels of one partition, not empty."""


class StreamProducer:
    """One producer, from `start` to `stop` or StreamLost. Not for two coroutines at once.

    Plain: `await send(parcels)` returns when all are acknowledged.
    Transactional: `await begin()`, any number of `await submit(parcels)`, then `await commit(offsets, group)` or `await abort()`.
    """

    def __init__(
        self,
        bootstrap: str,
        client_id: str,
        transactional_id: str | None = None,
        *,
        within_s: float = 30,
        request_within_s: float = 15,
        transaction_within_s: float = 60,
    ) -> None:
        self._options = {
            "bootstrap_servers": bootstrap,
            "client_id": client_id,
            "transactional_id": transactional_id,
            "transaction_timeout_ms": int(transaction_within_s * 1000),
            "request_timeout_ms": int(request_within_s * 1000),
            "enable_idempotence": True,
            "acks": "all",
            "compression_type": "zstd",
            "max_batch_size": RECORD_BYTES + 4096,
            "max_request_size": RECORD_BYTES + 4096,
            "retry_backoff_ms": 50,
        }
        self._within_s = within_s
        self._client: AIOKafkaProducer | None = None
        self._under_way: list[asyncio.Future[Any]] = []
        self._sent: dict[Partition, int] = {}

    @property
    def worn(self) -> bool:
        """Stop it between two sends or transactions and start a new one."""
        return max(self._sent.values(), default=0) > SEQUENCES_MAX

    async def start(self, within_s: float | None = None) -> None:
        """Connect; a transactional one fences its predecessor and resolves what that left open. Raises StreamLost."""
        self._client = AIOKafkaProducer(**self._options)
        self._client._message_accumulator._pending_batches = _Batches()
        try:
            await self._in_time(self._client.start(), "start", within_s)
        except StreamLost:
            await self.give_up()
            raise

    async def send(self, parcels: Iterable[Parcel], within_s: float | None = None) -> None:
        """Send and wait until all are acknowledged. Raises RecordTooLarge (nothing was sent) or StreamLost."""
        await self.submit(parcels, within_s)
        await self.settle(within_s)

    async def submit(self, parcels: Iterable[Parcel], within_s: float | None = None) -> None:
        """Hand over to the sender; returns before they are acknowledged. Raises RecordTooLarge (nothing was sent) or StreamLost."""
        for pack in packs(parcels):
            self._under_way.append(await self.hand_over(pack, within_s))

    async def hand_over(self, pack: Pack, within_s: float | None = None) -> asyncio.Future[Any]:
        """Give one batch to the sender; the future is done when it is acknowledged. Raises StreamLost: then it was not given."""
        first = pack[0]
        builder = _filled(self._open.create_batch(), pack)
        send = self._open.send_batch(builder, first.topic, partition=first.partition)
        future: asyncio.Future[Any] = await self._in_time(send, "take records", within_s)
        future.add_done_callback(_forget)  # whoever waits for it hears of its error all the same
        place = first.topic, first.partition
        self._sent[place] = self._sent.get(place, 0) + builder.record_count()
        return future

    async def settle(self, within_s: float | None = None) -> None:
        """Wait until all that was submitted is acknowledged. Raises StreamLost."""
        futures, self._under_way = self._under_way, []
        if futures:
            await self._in_time(asyncio.gather(*futures), "acknowledge records", within_s)

    async def begin(self) -> None:
        await self._in_time(self._open.begin_transaction(), "begin a transaction")

    async def commit(self, offsets: Mapping[Partition, int], group: str) -> None:
        """Commit what was submitted together with the offsets of the next records to read. Raises StreamLost: unknown whether
        it was committed; the next producer of the same transactional id resolves it."""
        # aiokafka would commit the rest of a transaction of which one batch failed: so look at every one first.
        await self.settle()
        if offsets:
            named = {TopicPartition(*place): offset for place, offset in offsets.items()}
            await self._in_time(self._open.send_offsets_to_transaction(named, group), "take offsets")
        await self._in_time(self._open.commit_transaction(), "commit")

    async def abort(self) -> None:
        for future in self._under_way:
            future.cancel()
        self._under_way = []
        await self._in_time(self._open.abort_transaction(), "abort")

    async def stop(self, within_s: float = 10) -> None:
        """Flush and close; gives up when that takes too long. May be called twice, and before start."""
        if self._client is None:
            return
        in_order = False
        try:
            in_order = await ended(self._client.stop(), within_s)
        finally:
            if in_order:
                self._client = None
            else:
                await self.give_up()

    async def give_up(self) -> None:
        """Close without waiting for anything that may never come: aiokafka's own stop() hangs while the broker is away."""
        client, self._client = self._client, None
        if client is None:
            return
        client._closed = True  # else its finaliser complains
        for future in self._under_way:
            _forget(future)
        self._under_way = []
        sender: asyncio.Task[None] | None = client._sender.sender_task
        if sender is not None:
            sender.remove_done_callback(client._sender._fail_all)
        await ended(client.client.close(), 2)
        if sender is not None:
            await ended(sender, 0)
        _discard(client._message_accumulator)
        if client._txn_manager is not None and client._txn_manager._transaction_waiter is not None:
            _forget(client._txn_manager._transaction_waiter)

    @property
    def _open(self) -> AIOKafkaProducer:
        if self._client is None:
            raise StreamLost("this producer is not started, or was given up")
        return self._client

    async def _in_time(self, coroutine: Any, what: str, within_s: float | None = None) -> Any:
        limit = self._within_s if within_s is None else within_s
        try:
            async with asyncio.timeout(limit):
                return await coroutine
        except TimeoutError as late:
            raise StreamLost(f"the local stream did not {what} within {limit:g} s ({late or 'no answer'})") from late
        except (KafkaError, AssertionError, OSError, ValueError) as wrong:
            raise StreamLost(f"the local stream could not {what}: {said(wrong)}") from wrong


def packs(parcels: Iterable[Parcel]) -> list[Pack]:
    """Parcels joined and split into what fits one batch each, in order. Raises RecordTooLarge before anything is sent."""
    full: list[Pack] = []
    open_packs: dict[Partition, tuple[Pack, int]] = {}
    for parcel in parcels:
        for piece in _pieces(parcel):
            place = piece.topic, piece.partition
            pack, size = open_packs.get(place, ([], 0))
            if pack and size + piece.size > BATCH_BYTES:
                full.append(pack)
                pack, size = [], 0
            pack.append(piece)
            open_packs[place] = (pack, size + piece.size)
    return full + [pack for pack, _ in open_packs.values()]


def _pieces(parcel: Parcel) -> list[Parcel]:
    """The parcel, cut where it is larger than a batch."""
    if parcel.size > RECORD_BYTES and (largest := max(map(len, parcel.values))) > RECORD_BYTES:
        raise RecordTooLarge(f"a record of {largest} bytes for {parcel.topic}; at most {RECORD_BYTES} fit the stream")
    if len(parcel) < 2 or parcel.size <= BATCH_BYTES:
        return [parcel] if len(parcel) else []
    half = len(parcel) // 2
    return _pieces(parcel.part(0, half)) + _pieces(parcel.part(half, len(parcel)))


def _filled(builder: Any, pack: Pack) -> Any:
    """The batch with its records. Past aiokafka's wrapper to the C builder: 0.13 us a record instead of 0.31."""
    append, n = builder._builder.append, 0
    for parcel in pack:
        times = parcel.timestamps_ms
        stamps = repeat(times) if isinstance(times, int) else times
        for key, value, stamp in zip(parcel.keys, parcel.values, stamps, strict=False):
            if append(n, stamp, key, value, []) is None:
                raise AssertionError(f"a pack of {sum(p.size for p in pack)} bytes did not fit a batch")
            n += 1
    builder._relative_offset = n
    builder.close()
    return builder


class _Batches(set[Any]):
    """aiokafka removes a batch that has failed, and complains when it waits for its next attempt: then it is not among these."""

    remove = set.discard


def _discard(accumulator: Any) -> None:
    """Fail what aiokafka still holds."""
    accumulator._exception = KafkaError("given up")
    for batch in chain(accumulator._pending_batches, *accumulator._batches.values()):
        batch.failure(accumulator._exception)
        _forget(batch.future)
        _forget(batch._drain_waiter)


def _forget(future: asyncio.Future[Any]) -> None:
    """Perhaps nobody waits for it any more. An error has to be looked at, or asyncio complains that nobody did."""
    if not future.cancel() and not future.cancelled():
        future.exception()
