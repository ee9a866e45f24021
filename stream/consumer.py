"""aiokafka's consumer with our safe defaults: partitions assigned by hand, nothing committed by itself, committed records only, a deadline
on every await, and no silent gap.

What cannot be read (a batch whose checksum is wrong, records deleted before they were read) is passed over and told to `on_skip`.
Not responsible for decoding, or for where offsets are kept.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CorruptRecordException, KafkaError, OffsetOutOfRangeError

from stream.codec.read import Message
from stream.ending import ended
from stream.fetched import plain_records
from stream.flow import Flow, refuse_dead_tasks
from stream.offset_fetch import whole_answers
from stream.producer import Partition, StreamLost
from stream.words import said

Polled = dict[Partition, list[Message]]
"""The records of each partition, in offset order."""

plain_records()
whole_answers()

logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # said once, by whoever handles it

_NAMED = re.compile(r"TopicPartition\(topic='(.+)', partition=(\d+)\)")


@dataclass(frozen=True, slots=True)
class Skipped:
    """Offsets that were passed over, from `first` up to, not including, `next`."""

    topic: str
    partition: int
    first: int
    next: int
    reason: str


class OutOfRange(Exception):
    """Positions that the log does not hold; what to do is the caller's decision."""

    def __init__(self, places: dict[Partition, tuple[int, int, int]]) -> None:
        """`places`: (position, first offset, end offset) of each."""
        self.places = places
        words = [f"{t}/{p}: at {at}, the log holds {first} to {end}" for (t, p), (at, first, end) in places.items()]
        super().__init__("; ".join(words))


class StreamConsumer:
    """One consumer, from `start` to `stop` or StreamLost. Not for two coroutines at once.

    `reset` says what happens at a position whose records were deleted: "earliest" goes on with the oldest and tells `on_skip`,
    "none" raises OutOfRange. A position beyond the end (a log that lost its tail) always raises OutOfRange.
    The broker holds a request for records that are not there yet for `hold_s`; whatever else is asked waits behind it.
    """

    def __init__(
        self,
        bootstrap: str,
        client_id: str,
        group: str | None = None,
        *,
        reset: Literal["earliest", "none"] = "earliest",
        isolation: Literal["read_committed", "read_uncommitted"] = "read_committed",
        on_skip: Callable[[Skipped], None] = lambda _: None,
        within_s: float = 30,
        hold_s: float = 0.5,
    ) -> None:
        self._options = {
            "bootstrap_servers": bootstrap,
            "client_id": client_id,
            "group_id": group,
            "isolation_level": isolation,
            "auto_offset_reset": "none",
            "enable_auto_commit": False,
            "request_timeout_ms": int(within_s * 1000),
            "retry_backoff_ms": 50,
            "fetch_max_wait_ms": int(hold_s * 1000),
            "session_timeout_ms": 60_000,
            "check_crcs": True,
        }
        self._reset, self._on_skip, self._within_s = reset, on_skip, within_s
        self._client: AIOKafkaConsumer | None = None
        self._next: dict[Partition, int] = {}
        self._flow = Flow()

    async def start(self, within_s: float | None = None) -> None:
        """Connect. Raises StreamLost."""
        self._client = AIOKafkaConsumer(**self._options)
        try:
            await self._in_time(self._client.start(), "start", within_s)
        except StreamLost:
            await self.stop()
            raise

    def assign(self, starts: Mapping[Partition, int]) -> None:
        """Read these partitions from these offsets on; replaces what was assigned."""
        self._next, self._flow = dict(starts), Flow()
        self._open.assign([TopicPartition(*place) for place in starts])
        self._seek(starts)

    async def poll(self, max_records: int, wait_s: float) -> Polled:
        """At least one record, or none after `wait_s`. Raises OutOfRange or StreamLost: also when records are there and none come."""
        refuse_dead_tasks(self._open)
        began = time.monotonic()
        polling = self._open.getmany(timeout_ms=int(wait_s * 1000), max_records=max_records)
        try:
            got = await self._in_time(polling, "answer", wait_s + self._within_s, unreadable=True)
        except OffsetOutOfRangeError:
            await self._move_into_range()
            return {}
        except _Unreadable as found:
            # aiokafka has moved on over good records of this and other partitions, and dropped them.
            self._seek(self._next)
            return await self._salvage(found, max_records)
        polled = {(tp.topic, tp.partition): records for tp, records in got.items()}
        for place, records in polled.items():
            self._next[place] = records[-1].offset + 1
        if self._flow.waited(time.monotonic() - began):
            await self._refuse_standstill()
        return polled

    def positions(self) -> dict[Partition, int]:
        """The offset after the last record that `poll` returned, or where reading starts."""
        return dict(self._next)

    async def position(self, place: Partition) -> int:
        """The next offset to fetch: also behind control records, which `poll` never returns. Raises StreamLost."""
        return int(await self._in_time(self._open.position(TopicPartition(*place)), "name its position"))

    async def lag(self) -> dict[Partition, int]:
        """Committed records that were not polled yet, of each assigned partition; control records among them count. Raises StreamLost."""
        ends = await self.ends(self._next)
        return {place: max(0, end - await self.position(place)) for place, end in ends.items()}

    async def ends(self, places: Iterable[Partition]) -> dict[Partition, int]:
        """The offset the next record will have; with read_committed the last stable offset. Raises StreamLost."""
        named = [TopicPartition(*place) for place in places]
        found = await self._in_time(self._open.end_offsets(named), "name its end offsets") if named else {}
        return {(tp.topic, tp.partition): offset for tp, offset in found.items()}

    async def beginnings(self, places: Iterable[Partition]) -> dict[Partition, int]:
        """The oldest offset the log still holds. Raises StreamLost."""
        named = [TopicPartition(*place) for place in places]
        found = await self._in_time(self._open.beginning_offsets(named), "name its first offsets") if named else {}
        return {(tp.topic, tp.partition): offset for tp, offset in found.items()}

    async def offsets_at(self, times: Mapping[Partition, int]) -> dict[Partition, int | None]:
        """The first offset whose record is not older than this (milliseconds), None where there is none. Raises StreamLost."""
        asked = {TopicPartition(*place): at for place, at in times.items()}
        found = await self._in_time(self._open.offsets_for_times(asked), "search by time") if asked else {}
        hits = {place: found.get(TopicPartition(*place)) for place in times}
        return {place: None if hit is None else int(hit.offset) for place, hit in hits.items()}

    async def committed(self, places: Iterable[Partition]) -> dict[Partition, int | None]:
        """The group's committed offsets, None where there is none. Raises StreamLost."""
        return {p: await self._in_time(self._open.committed(TopicPartition(*p)), "name its offsets") for p in places}

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Store the group's offsets of the next records to read. Raises StreamLost."""
        named = {TopicPartition(*place): offset for place, offset in offsets.items()}
        await self._in_time(self._open.commit(named), "take offsets")

    async def stop(self, within_s: float = 5) -> None:
        """May be called twice, and before start."""
        client, self._client = self._client, None
        if client is None:
            return
        await _close(client, within_s)

    @property
    def _open(self) -> AIOKafkaConsumer:
        if self._client is None:
            raise StreamLost("this consumer is not started, or was stopped")
        return self._client

    async def _refuse_standstill(self) -> None:
        ends = await self.ends(self._next)
        stuck = self._flow.stuck({place: await self.position(place) for place in ends}, ends)
        if stuck:
            words = ", ".join(f"{topic}/{p} at {at} of {end}" for (topic, p), (at, end) in stuck.items())
            raise StreamLost(f"the local stream holds records that its reader was not given: {words}")

    def _seek(self, positions: Mapping[Partition, int]) -> None:
        for place, offset in positions.items():
            self._open.seek(TopicPartition(*place), offset)

    def _skip(self, place: Partition, to: int, reason: str) -> None:
        self._on_skip(Skipped(*place, self._next[place], to, reason))
        self._next[place] = to
        self._seek({place: to})

    async def _move_into_range(self) -> None:
        """The log no longer holds a position: go on with the oldest record and say so, or leave it to the caller."""
        firsts, ends = await self.beginnings(self._next), await self.ends(self._next)
        outside = {
            place: (at, firsts[place], ends[place])
            for place, at in self._next.items()
            if not firsts[place] <= at <= ends[place]
        }
        self._seek(self._next)
        beyond = {place: found for place, found in outside.items() if found[0] > found[2]}
        if beyond or (outside and self._reset == "none"):
            raise OutOfRange(beyond or outside)
        for place, (_at, first, _end) in outside.items():
            self._skip(place, first, "deleted by retention before it was read")

    async def _salvage(self, found: _Unreadable, max_records: int) -> Polled:
        """The good records before an unreadable batch, one by one; when there are none, pass over the batch."""
        place = found.place or await self._first_unreadable()
        if place is None:
            return {}
        records: list[Any] = []
        reader = self._open
        with suppress(_Unreadable):
            while len(records) < max_records:
                one = reader.getmany(TopicPartition(*place), timeout_ms=1000, max_records=1)
                got = await self._in_time(one, "answer", unreadable=True)
                if not got:
                    break
                records += got[TopicPartition(*place)]
                self._next[place] = records[-1].offset + 1
        self._seek(self._next)
        if records:
            return {place: records}
        self._skip(place, await self._after_unreadable(place), f"cannot be read: {found}")
        return {}

    async def _first_unreadable(self) -> Partition | None:
        async with _Probe(self) as probe:
            for place, at in self._next.items():
                if not await probe.readable(place, at):
                    return place
        return None

    async def _after_unreadable(self, place: Partition) -> int:
        """The first offset behind a batch that cannot be read: the broker answers any offset inside a batch with the whole batch."""
        bad, step = self._next[place], 1
        end = (await self.ends([place]))[place]
        async with _Probe(self) as probe:
            good = min(bad + step, end)
            while good < end and not await probe.readable(place, good):
                bad, step = good, step * 2
                good = min(bad + step, end)
            while good - bad > 1:
                middle = (good + bad) // 2
                if await probe.readable(place, middle):
                    good = middle
                else:
                    bad = middle
        return good

    async def _in_time(self, coroutine: Any, what: str, within_s: float | None = None, unreadable: bool = False) -> Any:
        limit = self._within_s if within_s is None else within_s
        try:
            async with asyncio.timeout(limit):
                return await coroutine
        except OffsetOutOfRangeError:
            raise
        except TimeoutError as late:
            raise StreamLost(f"the local stream did not {what} within {limit:g} s") from late
        except CorruptRecordException as wrong:
            named = _NAMED.search(str(wrong))
            raise _Unreadable(str(wrong), (named[1], int(named[2])) if named else None) from wrong
        except (KafkaError, AssertionError, OSError) as wrong:
            raise StreamLost(f"the local stream could not {what}: {said(wrong)}") from wrong
        except Exception as wrong:
            if not unreadable:
                raise
            raise _Unreadable(f"{type(wrong).__name__} {wrong}", None) from wrong


async def _close(client: AIOKafkaConsumer, within_s: float) -> None:
    """Also its connections, which stop() leaves open when it hangs, or when a background task has ended by an error."""
    await ended(client.stop(), within_s)
    client._closed = True  # else its finaliser complains
    inner = client._client
    if inner._sync_task is not None and inner._sync_task.done():
        inner._sync_task = None  # close() would raise what ended it
    await ended(inner.close(), within_s)


class _Unreadable(Exception):
    """A batch that came from the log is broken."""

    def __init__(self, words: str, place: Partition | None) -> None:
        super().__init__(words)
        self.place = place


class _Probe:
    """A second consumer for a moment, to try offsets without moving the first."""

    def __init__(self, like: StreamConsumer) -> None:
        self._options = {**like._options, "group_id": None}
        self._within_s = like._within_s
        self._consumer = AIOKafkaConsumer(**self._options)

    async def __aenter__(self) -> Self:
        async with asyncio.timeout(self._within_s):
            await self._consumer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await _close(self._consumer, 5)

    async def readable(self, place: Partition, offset: int) -> bool:
        tp = TopicPartition(*place)
        self._consumer.assign([tp])
        self._consumer.seek(tp, offset)
        try:
            async with asyncio.timeout(self._within_s):
                await self._consumer.getmany(tp, timeout_ms=1000, max_records=1)
        except KafkaError as wrong:
            return not isinstance(wrong, CorruptRecordException)
        except TimeoutError:
            raise StreamLost("the local stream did not answer") from None
        except Exception:
            return False
        return True
