"""The newest value of each point, read from the stream only while somebody looks; and a topic's records for `tail`.

Sampled, not complete: when more arrives than a page can show, the older is skipped. Completeness is the sinks' business.
"""

from __future__ import annotations

import asyncio
import base64
from collections import deque
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from actors.context import Context
from control.problems import Kind, Problem
from control.times import iso
from schemas.records import NO_TIME, Document, Poison, Quality, Records
from stream.codec import Codec, SchemaIds
from stream.consumer import OutOfRange, StreamConsumer
from stream.producer import Partition, StreamLost
from stream.topics import TOPICS

WATCHED = ("telemetry.clean", "events.clean")
POINTS_MAX = 5000
READ_EVERY_S = 0.5
BATCH_MAX = 2000
BEHIND_MAX = 4000
"""Records behind the end of the watched topics at which the older ones are skipped."""
AGAIN_AFTER_S = 2.0
START_WITHIN_S = 10.0
MARKERS = 100

Place = tuple[str, str]
"""asset, parameter."""


class Values:
    """What the page shows of each point. `run` is one task of the API's worker."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._newest: dict[Place, tuple[int, dict[str, Any]]] = {}
        self._round = 0
        self._wanted = asyncio.Event()
        self.watchers = 0

    def watch(self, by: int) -> None:
        """One more, or one fewer, looks."""
        self.watchers += by
        if self.watchers:
            self._wanted.set()
        else:
            self._wanted.clear()

    def since(self, seen: int) -> tuple[int, list[dict[str, Any]]]:
        """What is newer than round `seen`, and the round it is of."""
        return self._round, [value for at, value in self._newest.values() if at > seen]

    async def run(self) -> None:
        """Read while somebody looks, for ever; the stream may come and go."""
        while True:
            await self._wanted.wait()
            try:
                await self._read()
            except (StreamLost, OutOfRange):
                await asyncio.sleep(AGAIN_AFTER_S)

    async def _read(self) -> None:
        consumer, codec = consumer_of(self._context), codec_of(self._context)
        await consumer.start(START_WITHIN_S)
        try:
            places = [(t, p) for t in WATCHED for p in range(self._context.config["partitions"])]
            consumer.assign(await consumer.ends(places))
            while self.watchers:
                await self._take(consumer, codec)
                await asyncio.sleep(READ_EVERY_S)
        finally:
            await consumer.stop()

    async def _take(self, consumer: StreamConsumer, codec: Codec) -> None:
        polled = await consumer.poll(BATCH_MAX, 0.1)
        self._round += 1
        for (topic, partition), messages in polled.items():
            for records in codec.decode(topic, partition, messages).records:
                self._note(records)
        lag = await consumer.lag()
        if sum(lag.values()) > BEHIND_MAX:
            ends = await consumer.ends(lag)
            spare = BATCH_MAX // max(1, len(lag))
            consumer.assign({place: max(end - spare, consumer.positions()[place]) for place, end in ends.items()})

    def _note(self, records: Records) -> None:
        for row in range(len(records)):
            series = records.table[int(records.series[row])]
            place = series.asset, series.parameter
            if place not in self._newest and len(self._newest) >= POINTS_MAX:
                continue
            self._newest[place] = (
                self._round,
                {
                    "asset": series.asset,
                    "parameter": series.parameter,
                    "value": records.value(row),
                    "unit": series.unit,
                    "quality": Quality(int(records.quality[row])).name,
                    "reason": records.reason.get(row),
                    "time": device_or_gateway(records, row),
                },
            )


def consumer_of(context: Context) -> StreamConsumer:
    return StreamConsumer(context.config["bootstrap"], "streamforge-api", within_s=START_WITHIN_S)


def codec_of(context: Context) -> Codec:
    return Codec(SchemaIds(Path(context.config["data_dir"]) / "schemas.json"))


def device_or_gateway(records: Records, row: int) -> int:
    device = int(records.device_time[row])
    return int(records.gateway_time[row]) if device == NO_TIME else device


def check_topic(topic: str) -> None:
    """Raises Problem for a topic that cannot be shown."""
    names = [t.name for t in TOPICS if not t.compacted]
    if topic not in names:
        raise Problem(Kind.NOT_FOUND, f"there is no topic {topic!r} to show; there are {', '.join(names)}")


async def read_topic(context: Context, topic: str, last: int, follow: bool) -> AsyncIterator[dict[str, Any]]:
    """A topic's records as people and programs see them: `last` of each partition, then what comes.

    When the stream is lost, the last thing told is `{"error": ...}`: the answer has begun long before.
    """
    consumer, codec = consumer_of(context), codec_of(context)
    try:
        await consumer.start(START_WITHIN_S)
        places: list[Partition] = [(topic, p) for p in range(context.config["partitions"])]
        ends, begins = await consumer.ends(places), await consumer.beginnings(places)
        # Offsets are also taken by the ends of transactions: to find the last ones, begin well before them.
        consumer.assign({place: max(begins[place], ends[place] - 2 * last - MARKERS) for place in places})
        past: dict[Partition, deque[Any]] = {place: deque(maxlen=last) for place in places}
        coming: list[tuple[Partition, list[Any]]] = []
        while not context.stopping.is_set() and any([await consumer.position(p) < ends[p] for p in places]):
            for place, messages in (await consumer.poll(BATCH_MAX, 0.5)).items():
                past[place].extend(m for m in messages if m.offset < ends[place])
                coming.append((place, [m for m in messages if m.offset >= ends[place]]))
        for place, messages in [*((place, list(kept)) for place, kept in past.items()), *(coming if follow else [])]:
            for shown in show(codec, *place, messages):
                yield shown
        while follow and not context.stopping.is_set():
            for place, messages in (await consumer.poll(BATCH_MAX, 0.5)).items():
                for shown in show(codec, *place, messages):
                    yield shown
    except StreamLost as lost:
        yield {"error": f"{topic} cannot be read: {lost}"}
    finally:
        await consumer.stop()


def show(codec: Codec, topic: str, partition: int, messages: list[Any]) -> Iterator[dict[str, Any]]:
    """Records of one partition in offset order, each as SPEC section 4 shows a reading, or with its own fields."""
    decoded = codec.decode(topic, partition, messages)
    shown: list[dict[str, Any]] = []
    for records in decoded.records:
        shown += [reading(records, row) for row in range(len(records))]
    shown += [document(d) for d in decoded.documents]
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


def poison(found: Poison) -> dict[str, Any]:
    return {
        "undecodable": found.reason,
        "bytes": base64.b64encode(found.wire[:4096]).decode(),
        "topic": found.topic,
        "partition": found.partition,
        "offset": found.offset,
    }
