"""A topic's records for `tail`: the newest of each partition in the order in which they came, then what comes, each as people and programs
see it.

Bounded by what is kept at once, in records and in bytes; a reader that is slow makes the reading slow.
"""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from operator import itemgetter
from typing import Any

from actors.context import Context
from control import letters
from control.problems import Kind, Problem
from control.times import iso
from control.values import BATCH_MAX, START_WITHIN_S, codec_of, consumer_of
from schemas.records import NO_TIME, Document, Poison, Quality, Records
from stream.codec import Codec
from stream.consumer import OutOfRange, StreamConsumer
from stream.producer import Partition, StreamLost
from stream.topics import TOPICS

LAST_MAX = 10_000
"""Most records of each partition to begin with."""
PAST_BYTES_MAX = 32 * 2**20
"""Most bytes of them over all partitions; the older are left out."""
SHOWN_AT_ONCE = 500
MARKERS = 100

Past = dict[Partition, deque[Any]]


def check_topic(topic: str) -> None:
    """Raises Problem for a topic that cannot be shown."""
    names = [t.name for t in TOPICS if not t.compacted]
    if topic not in names:
        raise Problem(Kind.NOT_FOUND, f"there is no topic {topic[:100]!r} to show; there are {', '.join(names)}")


async def read_topic(context: Context, topic: str, last: int, follow: bool) -> AsyncGenerator[dict[str, Any], None]:
    """`last` of each partition, then, with `follow`, what comes.

    When the stream is lost, the last thing told is `{"error": ...}`: the answer has begun long before.
    """
    consumer, codec = consumer_of(context), codec_of(context)
    try:
        await consumer.start(START_WITHIN_S)
        ends = await consumer.ends([(topic, p) for p in range(context.config["partitions"])])
        past = await newest(context, consumer, ends, last)
        for shown in in_order(codec, past):
            yield shown
        if follow:
            consumer.assign(ends)
            async with aclosing(_coming(context, consumer)) as coming:
                async for place, messages in coming:
                    for shown in show(codec, *place, messages):
                        yield shown
    except (StreamLost, OutOfRange) as lost:
        yield {"error": f"{topic} cannot be read: {lost}"}
    finally:
        await consumer.stop()


async def newest(context: Context, consumer: StreamConsumer, ends: dict[Partition, int], last: int) -> Past:
    """The `last` messages of each partition before these ends, or fewer where they are large. Raises StreamLost, OutOfRange."""
    begins = await consumer.beginnings(ends)
    # Offsets are also taken by the ends of transactions: to find the last ones, begin well before them.
    consumer.assign({place: max(begins[place], end - 2 * last - MARKERS) for place, end in ends.items()})
    past: Past = {place: deque(maxlen=last) for place in ends}
    while not context.stopping.is_set() and any([await consumer.position(p) < end for p, end in ends.items()]):
        for place, messages in (await consumer.poll(BATCH_MAX, 0.5)).items():
            past[place].extend(m for m in messages if m.offset < ends[place])
        shorten(past, PAST_BYTES_MAX)
    return past


def shorten(past: Past, most: int) -> None:
    """Leave out the oldest messages of whichever partition holds the most bytes, until all together are few enough."""
    sizes = {place: sum(_size(m) for m in kept) for place, kept in past.items()}
    while sum(sizes.values()) > most:
        fullest = max(sizes, key=sizes.__getitem__)
        sizes[fullest] -= _size(past[fullest].popleft())


def _size(message: Any) -> int:
    return len(message.value or b"") + len(message.key or b"")


async def _coming(context: Context, consumer: StreamConsumer) -> AsyncGenerator[tuple[Partition, list[Any]], None]:
    while not context.stopping.is_set():
        for place, messages in (await consumer.poll(BATCH_MAX, 0.5)).items():
            yield place, messages


def in_order(codec: Codec, past: Past) -> Iterator[dict[str, Any]]:
    """Messages of many partitions as they came, the newest last; some at a time, each partition's together."""
    came = sorted(
        ((m.timestamp, place, m.offset, m) for place, kept in past.items() for m in kept), key=itemgetter(0, 1, 2)
    )
    past.clear()
    for at in range(0, len(came), SHOWN_AT_ONCE):
        some = came[at : at + SHOWN_AT_ONCE]
        turn = {(*place, offset): n for n, (_, place, offset, _) in enumerate(some)}
        by_place: dict[Partition, list[Any]] = {}
        for _, place, _, message in some:
            by_place.setdefault(place, []).append(message)
        shown = [each for place, messages in by_place.items() for each in _show(codec, *place, messages)]
        yield from sorted(shown, key=lambda s: turn[s["topic"], s["partition"], s["offset"]])


def show(codec: Codec, topic: str, partition: int, messages: list[Any]) -> Iterator[dict[str, Any]]:
    """Records of one partition in offset order, each as SPEC section 4 shows a reading, or with its own fields."""
    for at in range(0, len(messages), SHOWN_AT_ONCE):
        yield from _show(codec, topic, partition, messages[at : at + SHOWN_AT_ONCE])


def _show(codec: Codec, topic: str, partition: int, messages: list[Any]) -> Iterator[dict[str, Any]]:
    decoded = codec.decode(topic, partition, messages)
    shown: list[dict[str, Any]] = []
    for records in decoded.records:
        shown += [reading(records, row) for row in range(len(records))]
    shown += [document(d) | (refused(codec, d) if d.schema == letters.SCHEMA else {}) for d in decoded.documents]
    shown += [poison(p) for p in decoded.poison]
    yield from sorted(shown, key=lambda s: int(s["offset"]))


def reading(records: Records, row: int) -> dict[str, Any]:
    """One reading as SPEC section 4 shows it."""
    series = records.table[int(records.series[row])]
    device, gateway = int(records.device_time[row]), int(records.gateway_time[row])
    missing = device == NO_TIME
    return {
        "asset_id": series.asset,
        "parameter": series.parameter,
        "value": records.value(row),
        "unit": series.unit,
        "quality": Quality(int(records.quality[row])).name,
        "quality_reason": records.reason.get(row),
        "classification": series.classification.name,
        "timestamps": {"device_time": None if missing else iso(device), "gateway_time": iso(gateway)},
        "clock_skew_ms": None if missing else round((gateway - device) / 1000),
        "metadata": {
            "adapter_id": series.adapter_id,
            "adapter_version": series.adapter_version,
            "pipeline_id": series.pipeline_id,
            "gateway_id": series.gateway_id,
        },
        "topic": records.topic,
        "partition": records.partition,
        "offset": int(records.offsets[row]),
    }


TIMES = ("device_time", "gateway_time", "window_start", "window_end", "arrived_at")


def document(found: Document) -> dict[str, Any]:
    """An aggregate, event or dead letter with times and bytes as text."""
    fields = {k: iso(v) if k in TIMES and v is not None else v for k, v in found.fields.items()}
    fields = {k: base64.b64encode(v).decode() if isinstance(v, bytes) else v for k, v in fields.items()}
    # A dead letter says where its original stood; where it stands itself is told beside.
    source = {f"source_{k}": fields.pop(k) for k in ("topic", "partition", "offset") if k in fields}
    return {**fields, **source, "topic": found.topic, "partition": found.partition, "offset": found.offset}


def refused(codec: Codec, letter: Document) -> dict[str, Any]:
    """What a dead letter holds, for people: the reading it was, or the payload as text or hex."""
    record = letters.record_of(codec, letter)
    if isinstance(record, Records):
        return {"original_reading": reading(record, 0)}
    if isinstance(record, Document):
        return {"original_record": document(record)}
    return letters.payload(letter.fields["original"])


def poison(found: Poison) -> dict[str, Any]:
    return {
        "undecodable": found.reason,
        "bytes": base64.b64encode(found.wire[:4096]).decode(),
        "topic": found.topic,
        "partition": found.partition,
        "offset": found.offset,
    }
