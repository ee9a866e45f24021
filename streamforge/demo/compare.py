"""At the end of the demo: the stream against itself and against the database, record by record.

Three questions. Did each raw reading become exactly one clean or one refused reading? Does each clean reading stand in the database
once? Does each window there say what the newest record of the stream says, and do the windows count what was read?
Reading is thin; the judging is `judge`, a pure function of what was read.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from sys import intern
from typing import Any

import psycopg2

from schemas.records import NO_TIME, Kind, Records
from stream.codec import Codec, SchemaIds
from stream.consumer import StreamConsumer

Reading = tuple[str, str, int, int, Any]
"""asset, parameter, device time (gateway time where missing), gateway time, value."""
Point = tuple[str, str, int]
Window = tuple[str, str, str, int]
RAW = ("telemetry.raw", "events.raw")
CLEAN = ("telemetry.clean", "events.clean")
REFUSED = ("dlq.telemetry", "dlq.events")
AGGREGATES = ("telemetry.1s", "telemetry.10s", "telemetry.1min", "telemetry.1hour")
SECOND = 1_000_000
READ_WITHIN_S = 300.0
POLL_MAX = 5000


@dataclass
class Seen:
    """What stood in the stream and in the database, of one run."""

    raw: Counter[Reading] = field(default_factory=Counter)
    clean: Counter[Reading] = field(default_factory=Counter)
    refused: Counter[Reading] = field(default_factory=Counter)
    rejects: int = 0
    """Dead letters that never were readings: payloads that did not fit."""
    windows: dict[Window, int] = field(default_factory=dict)
    """The newest emission of each window: its count."""
    emissions: int = 0
    stored: dict[Point, Any] = field(default_factory=dict)
    """Each row's value, as a Reading has it."""
    stored_windows: dict[Window, int] = field(default_factory=dict)


@dataclass
class Found:
    """The comparison's answer; `sentences` says in words what was wrong."""

    produced: int
    validated: int
    rejected: int
    aggregated: int
    stored: int
    missing: int = 0
    doubled: int = 0
    sentences: list[str] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in ("produced", "validated", "rejected", "aggregated", "stored")}

    def lack(self, n: int, what: str, example: object) -> None:
        if n:
            self.missing += n
            self.sentences.append(f"missing: {n} {what}, as {example}")

    def surplus(self, n: int, what: str, example: object) -> None:
        if n:
            self.doubled += n
            self.sentences.append(f"doubled: {n} {what}, as {example}")


def judge(seen: Seen) -> Found:
    """Compare. A raw reading that the adapter wrote twice counts as doubled unless a rule refused the second."""
    found = Found(
        produced=seen.raw.total(),
        validated=seen.clean.total(),
        rejected=seen.refused.total() + seen.rejects,
        aggregated=seen.emissions,
        stored=len(seen.stored),
    )
    lost = seen.raw - seen.clean - seen.refused
    extra = (seen.clean - seen.raw) | Counter({r: seen.clean[r] + n - seen.raw[r] for r, n in seen.refused.items()})
    found.lack(lost.total(), "raw readings are neither clean nor refused", next(iter(lost), None))
    found.surplus(extra.total(), "clean or refused readings have no raw one", next(iter(extra), None))
    twice = Counter({r: n - 1 for r, n in seen.clean.items() if n > 1})
    found.surplus(twice.total(), "clean readings stand in the stream more than once", next(iter(twice), None))
    _judge_rows(seen, found)
    _judge_windows(seen, found)
    return found


def _judge_rows(seen: Seen, found: Found) -> None:
    expected = {(asset, parameter, time): value for asset, parameter, time, _, value in seen.clean}
    absent, strange = expected.keys() - seen.stored.keys(), seen.stored.keys() - expected.keys()
    wrong = [point for point, value in expected.items() if point in seen.stored and seen.stored[point] != value]
    found.lack(len(wrong), "rows of the database hold another value than the stream", next(iter(wrong), None))
    found.lack(len(absent), "clean readings are not in the database", next(iter(absent), None))
    found.surplus(len(strange), "rows of the database are not in the stream", next(iter(strange), None))


def _judge_windows(seen: Seen, found: Found) -> None:
    absent = [w for w, n in seen.windows.items() if seen.stored_windows.get(w) != n]
    found.lack(len(absent), "windows of the database differ from the newest of the stream", next(iter(absent), None))
    counted: Counter[Window] = Counter()
    first = min((time for _, _, time, _, _ in seen.clean), default=0)
    for asset, parameter, time, _, _ in seen.clean:
        counted[asset, parameter, "1s", time // SECOND * SECOND] += 1
    whole = [w for w in seen.windows if w[2] == "1s" and w[3] > first]
    less = [w for w in whole if seen.windows[w] < counted[w]]
    more = [w for w in whole if seen.windows[w] > counted[w]]
    found.lack(len(less), "windows of 1s count fewer readings than were read", next(iter(less), None))
    found.surplus(len(more), "windows of 1s count more readings than were read", next(iter(more), None))


def compare(bootstrap: str, partitions: int, dsn: str, since_ms: int) -> Found:
    """Everything that arrived since, in the stream and in the database. Raises StreamLost."""
    seen = Seen()
    asyncio.run(asyncio.wait_for(_read_stream(bootstrap, partitions, since_ms, seen), READ_WITHIN_S))
    _read_database(dsn, since_ms, seen)
    return judge(seen)


async def _read_stream(bootstrap: str, partitions: int, since_ms: int, seen: Seen) -> None:
    codec = Codec(SchemaIds())
    consumer = StreamConsumer(bootstrap, "streamforge-demo")
    await consumer.start()
    try:
        places = [(topic, p) for topic in (*RAW, *CLEAN, *REFUSED, *AGGREGATES) for p in range(partitions)]
        ends = await consumer.ends(places)
        begins = {place: await consumer.offset_at(place, since_ms) for place in places}
        consumer.assign({place: ends[place] if begin is None else begin for place, begin in begins.items()})
        while any([await consumer.position(place) < ends[place] for place in places]):
            for place, messages in (await consumer.poll(POLL_MAX, 0.5)).items():
                _take(codec, *place, messages, since_ms * 1000, seen)
    finally:
        await consumer.stop()


def _take(codec: Codec, topic: str, partition: int, messages: list[Any], since: int, seen: Seen) -> None:
    """Note what was read from the machines since (microseconds): a backlog of an earlier run is not of this one."""
    decoded = codec.decode(topic, partition, messages)
    into = {**dict.fromkeys(RAW, seen.raw), **dict.fromkeys(CLEAN, seen.clean)}.get(topic)
    for records in decoded.records:
        if into is not None:
            into.update(of_run(records, since))
    for document in decoded.documents:
        fields = document.fields
        if document.schema == "aggregate":
            seen.emissions += 1
            window = (fields["asset_id"], fields["parameter"], fields["interval"], fields["window_start"])
            seen.windows[window] = fields["count"]
        elif document.schema == "dead_letter":
            _take_dead_letter(codec, fields, since, seen)


def _take_dead_letter(codec: Codec, fields: dict[str, Any], since: int, seen: Seen) -> None:
    """The refused reading itself stands in the dead letter, as it stood in its topic."""
    if fields["topic"] not in RAW:
        seen.rejects += fields["arrived_at"] >= since
        return
    message = _Message(fields["offset"], fields["arrived_at"] // 1000, None, fields["original"])
    for records in codec.decode(fields["topic"], fields["partition"], [message]).records:
        seen.refused.update(of_run(records, since))


@dataclass
class _Message:
    """What a decoder needs of a Kafka record."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes


def readings(records: Records) -> Iterator[Reading]:
    """Each row as a value that can be compared; a NaN is equal to itself here."""
    for row in range(len(records)):
        series = records.table[int(records.series[row])]
        device, gateway = int(records.device_time[row]), int(records.gateway_time[row])
        value = records.value(row)
        shown = repr(value) if records.kind[row] == Kind.DOUBLE else value
        yield series.asset, series.parameter, gateway if device == NO_TIME else device, gateway, shown


def of_run(records: Records, since: int) -> Iterator[Reading]:
    """The readings that were read from the machines since then."""
    return (reading for reading, new in zip(readings(records), records.gateway_time >= since, strict=True) if new)


def _read_database(dsn: str, since_ms: int, seen: Seen) -> None:
    connection = psycopg2.connect(dsn)
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT p.asset_id, p.parameter, (extract(epoch FROM r.device_time) * 1000000)::bigint, r.kind, r.value, r.whole, r.text"
                " FROM readings r JOIN points p ON p.id = r.point WHERE r.gateway_time >= to_timestamp(%s)",
                (since_ms / 1000,),
            )
            # The same few names in every row: each is held once.
            seen.stored.update(((intern(row[0]), intern(row[1]), row[2]), _value(*row[3:])) for row in _rows(cursor))
            cursor.execute(
                "SELECT p.asset_id, p.parameter, a.interval, (extract(epoch FROM a.window_start) * 1000000)::bigint, a.count"
                " FROM aggregates a JOIN points p ON p.id = a.point"
            )
            seen.stored_windows.update({tuple(row[:4]): row[4] for row in _rows(cursor)})
    finally:
        connection.close()


def _value(kind: int, value: float | None, whole: int | None, text: str | None) -> Any:
    """A row's value as `readings` gives it."""
    if kind == Kind.DOUBLE:
        return repr(value)
    if kind == Kind.LONG:
        return int(value or 0) if whole is None else whole
    if kind == Kind.BOOLEAN:
        return bool(value)
    return text


def _rows(cursor: Any) -> Iterable[Any]:
    while rows := cursor.fetchmany(10_000):
        yield from rows
