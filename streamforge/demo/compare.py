"""At the end of the demo: the stream against itself and against the database, record by record.

One partition after the other, since all records of an asset are in one: memory holds a part of the run at a time, packed (seen.py).
A gateway whose machines are silent still writes: the windows of a minute when the minute is over, of an hour when the hour is. So what was found
counts only if nothing has moved meanwhile and every hop has passed what was read; otherwise all is read again.
Reading the stream is what stands here; reading the database is stored.py, judging what was read judge.py.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psycopg2

from pipeline.intervals import INTERVALS
from schemas.records import Document
from stream.codec import Codec, SchemaIds
from stream.consumer import StreamConsumer
from stream.producer import Partition, StreamLost
from streamforge.demo.judge import Found, judge
from streamforge.demo.seen import FIGURES, READING, WINDOW, Column, Event, Names, Rows, Seen, pack, pack_window
from streamforge.demo.stored import Database

__all__ = ["Found", "NotCompared", "compare"]

RAW = ("telemetry.raw", "events.raw")
CLEAN = ("telemetry.clean", "events.clean")
AGGREGATED = "telemetry.clean"
ALARMS = "alarms.raw"
"""Goes to the databases as it came: raw and clean at once."""
REFUSED = ("dlq.telemetry", "dlq.events")
AGGREGATES = tuple(interval.topic for interval in INTERVALS)
STAGES = {"sf-validator": RAW, "sf-aggregator": (AGGREGATED,)}
"""By consumer group, the topics that it reads."""
SINK = (*CLEAN, ALARMS, *AGGREGATES)
READ_WITHIN_S = 300.0
SETTLES_WITHIN_S = 60.0
"""What still moves after this is compared as it is."""
AGAIN_S = 1.0
POLL_MAX = 1000
HOLD_S = 0.05
EVICTED_MARGIN = 10_000_000
"""Microseconds: adapters write side by side, so a record may be a little older than the one before it in the log."""


class NotCompared(Exception):
    """The stream or the database could not be read; the text says which and why."""


def compare(bootstrap: str, partitions: int, dsn: str, since_ms: int) -> Found:
    """Everything that arrived since, in the stream and in the database. Raises NotCompared."""
    try:
        return asyncio.run(asyncio.wait_for(_compare(bootstrap, partitions, dsn, since_ms), READ_WITHIN_S))
    except TimeoutError:
        raise NotCompared(f"reading it all took more than {READ_WITHIN_S:.0f} s") from None
    except StreamLost as lost:
        raise NotCompared(str(lost)) from None
    except psycopg2.Error as error:
        raise NotCompared(f"the database could not be read: {str(error).strip()}") from None


async def _compare(bootstrap: str, partitions: int, dsn: str, since_ms: int) -> Found:
    give_up = time.monotonic() + SETTLES_WITHIN_S
    async with AsyncExitStack() as opened:
        consumer = await _opened(opened, bootstrap)
        stages = {group: await _opened(opened, bootstrap, group) for group in STAGES}
        while True:
            found, moves = await _compare_once(consumer, stages, partitions, dsn, since_ms)
            if not moves or time.monotonic() > give_up:
                return found
            await asyncio.sleep(AGAIN_S)


async def _opened(opened: AsyncExitStack, bootstrap: str, group: str | None = None) -> StreamConsumer:
    consumer = StreamConsumer(bootstrap, "streamforge-demo", group, hold_s=HOLD_S)
    await consumer.start()
    opened.push_async_callback(consumer.stop)
    return consumer


async def _compare_once(
    consumer: StreamConsumer, stages: dict[str, StreamConsumer], partitions: int, dsn: str, since_ms: int
) -> tuple[Found, bool]:
    """What was found, and whether something moved meanwhile or is on its way."""
    names, found = Names(), Found()
    reader = _Reader(consumer, since_ms, names)
    await reader.find(partitions)
    with Database(dsn, partitions, names) as database:
        passed = {
            place: offset for stage in stages.items() for place, offset in (await _passed(*stage, partitions)).items()
        }
        stored = await asyncio.to_thread(database.offsets)
        await reader.read_dead_letters(partitions)
        for partition in range(partitions):
            seen = await reader.read(partition)
            await asyncio.to_thread(database.read, partition, seen)
            found.add(judge(seen))
    waits = reader.waits(passed) or reader.waits({place: stored.get(place) for place in reader.places(SINK)})
    return found, waits or await reader.has_grown()


async def _passed(group: str, consumer: StreamConsumer, partitions: int) -> dict[Partition, int | None]:
    """Up to where a stage has processed what it reads."""
    return await consumer.committed([(topic, partition) for topic in STAGES[group] for partition in range(partitions)])


@dataclass(frozen=True)
class _Span:
    """The offsets of one partition's records of this run, `end` not among them."""

    begin: int
    end: int
    cut: bool
    """Its oldest records may have been deleted."""


@dataclass
class _Letters:
    """What dead letters say of one partition."""

    refused: Column = field(default_factory=lambda: Column(READING))
    rejects: int = 0
    unreadable: list[str] = field(default_factory=list)


class _Reader:
    """Reads one partition of all topics at a time."""

    def __init__(self, consumer: StreamConsumer, since_ms: int, names: Names) -> None:
        self._consumer = consumer
        self._codec = Codec(SchemaIds())
        self._since_ms, self._names = since_ms, names
        self._letters: dict[int, _Letters] = {}
        self._spans: dict[Partition, _Span] = {}
        self._ends: dict[Partition, int] = {}
        self._last: dict[Partition, int] = {}

    async def find(self, partitions: int) -> None:
        """Where the records since stand, of all topics at once: what is asked one by one would each time wait behind a held fetch."""
        topics = (*RAW, *CLEAN, ALARMS, *AGGREGATES, *REFUSED)
        places = [(topic, partition) for topic in topics for partition in range(partitions)]
        self._ends = ends = await self._consumer.ends(places)
        firsts = await self._consumer.beginnings(places)
        begins = await self._consumer.offsets_at(dict.fromkeys(places, self._since_ms))
        for place, begin in begins.items():
            if begin is not None and begin < ends[place]:
                self._spans[place] = _Span(begin, ends[place], cut=0 < firsts[place] == begin)

    def places(self, topics: tuple[str, ...]) -> list[Partition]:
        """Of these topics, those that hold records of this run."""
        return [place for place in self._last if place[0] in topics]

    def waits(self, passed: dict[Partition, int | None]) -> bool:
        """Has a hop that has passed so much of the stream not passed all that was read?"""
        return any(self._last[place] >= (at or 0) for place, at in passed.items() if place in self._last)

    async def has_grown(self) -> bool:
        return await self._consumer.ends(self._ends) != self._ends

    async def read_dead_letters(self, partitions: int) -> None:
        """All first: the letter of a record that ended its worker is keyed by the worker, and stands in another partition than the record."""
        for partition in range(partitions):
            await self._read([(topic, partition) for topic in REFUSED], self._take_letters)

    async def read(self, partition: int) -> Seen:
        """Of one partition all that arrived since. Raises StreamLost."""
        letters = self._letters.pop(partition, _Letters())
        seen = Seen(self._names, self._since_ms * 1000, refused=letters.refused, rejects=letters.rejects)
        seen.unreadable += letters.unreadable
        places = [(topic, partition) for topic in (*RAW, *CLEAN, ALARMS, *AGGREGATES)]
        evicted = await self._read(places, lambda place, messages: self._take(place, messages, seen))
        if evicted is not None:
            seen.leave_out_before(evicted + EVICTED_MARGIN)
        return seen

    async def _read(self, places: list[Partition], take: Any) -> int | None:
        """Hand over every record; returns when the oldest record arrived (microseconds) of a log whose records of this run were partly deleted."""
        spans = {place: self._spans[place] for place in places if place in self._spans}
        cut = {place for place, span in spans.items() if span.cut}
        evicted: int | None = None
        self._consumer.assign({place: span.begin for place, span in spans.items()})
        while any([await self._consumer.position(place) < span.end for place, span in spans.items()]):
            for place, messages in (await self._consumer.poll(POLL_MAX, 0.5)).items():
                if place in cut:
                    cut.discard(place)
                    evicted = max(evicted or 0, messages[0].timestamp * 1000)
                self._last[place] = messages[-1].offset
                take(place, messages)
        return evicted

    def _take(self, place: Partition, messages: list[Any], seen: Seen) -> None:
        """Note what was read from the machines since: a backlog of an earlier run is not of this one."""
        topic = place[0]
        decoded = self._codec.decode(*place, messages)
        for records in decoded.records:
            rows = pack(records, self._names, seen.since, aggregated=topic == AGGREGATED)
            if topic in (*RAW, ALARMS):
                seen.raw.add(rows)
            if topic in (*CLEAN, ALARMS):
                seen.clean.add(rows)
        seen.windows.add(_windows(decoded.documents, self._names))
        seen.events += [event for event in _events(decoded.documents) if event.gateway >= seen.since]
        if topic not in RAW:
            seen.unreadable += [f"{p.topic}/{p.partition} at {p.offset}: {p.reason}" for p in decoded.poison]

    def _take_letters(self, place: Partition, messages: list[Any]) -> None:
        decoded = self._codec.decode(*place, messages)
        letters = self._letters.setdefault(place[1], _Letters())
        letters.unreadable += [f"{p.topic}/{p.partition} at {p.offset}: {p.reason}" for p in decoded.poison]
        for document in decoded.documents:
            if document.schema == "dead_letter":
                self._take_letter(document)

    def _take_letter(self, letter: Document) -> None:
        """The refused reading itself stands in the dead letter, as it stood in its topic."""
        fields, since = letter.fields, self._since_ms * 1000
        if fields["topic"] in RAW:
            message = _Message(fields["offset"], fields["arrived_at"] // 1000, None, fields["original"])
            decoded = self._codec.decode(fields["topic"], fields["partition"], [message])
            letters = self._letters.setdefault(fields["partition"], _Letters())
            for records in decoded.records:
                letters.refused.add(pack(records, self._names, since))
            if decoded.records:
                return
        self._letters.setdefault(letter.partition, _Letters()).rejects += fields["arrived_at"] >= since


@dataclass
class _Message:
    """What a decoder needs of a Kafka record."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes


def _windows(documents: list[Document], names: Names) -> Rows:
    packed = []
    for fields in (document.fields for document in documents if document.schema == "aggregate"):
        point = names.points((fields["asset_id"], fields["parameter"]))
        figures = [fields[name] for name in FIGURES]
        packed.append(pack_window(point, fields["interval"], fields["window_start"], figures))
    return np.array(packed, WINDOW)


def _events(documents: list[Document]) -> list[Event]:
    names = ("asset_id", "parameter", "kind", "device_time", "gateway_time", "message", "details")
    return [Event(*(document.fields[name] for name in names)) for document in documents if document.schema == "event"]
