"""The newest value of each point, or why it has none, read from the stream only while somebody looks.

What is BAD stands among the dead letters, so these are read, too: else a point whose device is gone would show its last good value for
ever. Sampled, not complete: when more arrives than a page can show, the older is skipped. Completeness is the sinks' business.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import numpy as np

from actors.context import Context
from actors.sink_figures import GATEWAY_STARTED_US
from control import letters
from schemas.records import NO_TIME, Document, Quality, Records
from stream.codec import Codec, SchemaIds
from stream.consumer import OutOfRange, StreamConsumer
from stream.producer import Partition, StreamLost

WATCHED = ("telemetry.clean", "events.clean", "alarms.raw")
"""Where readings of each class come to their end; an alarm as it was read."""
REFUSED = ("dlq.telemetry", "dlq.events")
"""Where what is BAD comes to its end."""
POINTS_MAX = 5000
"""Points beyond are not shown, only counted: `left_out`."""
READ_EVERY_S = 0.5
BATCH_MAX = 5000
PAST_MAX = 500_000
"""Records that are gone through when somebody begins to look, for points that are quiet; about a second's work."""
REFUSED_PAST_MAX = 100_000
"""Of dead letters, which take longer; so many more of a partition where others have few."""
PAST_WITHIN_S = 10.0
BEHIND_MAX = 10_000
"""Records behind the end of the watched topics at which the older ones are skipped, once the past is gone through."""
AGAIN_AFTER_S = 2.0
START_WITHIN_S = 10.0

Place = tuple[str, str]
"""asset, parameter."""


class Values:
    """What the page shows of each point. `run` is one task of the API's worker."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._newest: dict[Place, tuple[int, int, dict[str, Any]]] = {}
        """The round it was read in, when it arrived (microseconds), and what is shown."""
        self._left_out: set[int] = set()
        self._round = 0
        self._read_to: dict[Partition, int] = {}
        self._wanted = asyncio.Event()
        self.watchers = 0

    @property
    def left_out(self) -> int:
        """Points that were seen and have no room; no more than are shown are counted."""
        return len(self._left_out)

    def watch(self, by: int) -> None:
        """One more, or one fewer, looks."""
        self.watchers += by
        if self.watchers:
            self._wanted.set()
        else:
            self._wanted.clear()

    def since(self, seen: int) -> tuple[int, list[dict[str, Any]]]:
        """What is newer than round `seen`, and the round it is of."""
        return self._round, [value for at, _, value in self._newest.values() if at > seen]

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
            places = [(t, p) for t in (*WATCHED, *REFUSED) for p in range(self._context.config["partitions"])]
            consumer.assign(await self._beginning(consumer, places))
            patient_until = time.monotonic() + PAST_WITHIN_S
            while self.watchers:
                await self._take(consumer, codec)
                behind, is_patient = sum((await consumer.lag()).values()), time.monotonic() < patient_until
                if behind > BEHIND_MAX and not is_patient:
                    await self._skip(consumer)
                await asyncio.sleep(0 if behind >= BATCH_MAX and is_patient else READ_EVERY_S)
        finally:
            await consumer.stop()

    async def _beginning(self, consumer: StreamConsumer, places: list[Partition]) -> dict[Partition, int]:
        """Well before the end, but nothing twice: a point that is quiet, or was while nobody looked, has a newest value too."""
        begins, ends = await consumer.beginnings(places), await consumer.ends(places)
        news = {p: max(begins[p], min(self._read_to.get(p, 0), end)) for p, end in ends.items()}
        refused = {p for p in ends if p[0] in REFUSED}
        kept = shares({p: end - news[p] for p, end in ends.items() if p not in refused}, PAST_MAX)
        kept |= shares({p: ends[p] - news[p] for p in refused}, REFUSED_PAST_MAX)
        return {p: end - kept[p] for p, end in ends.items()}

    async def _take(self, consumer: StreamConsumer, codec: Codec) -> None:
        polled = await consumer.poll(BATCH_MAX, 0.1)
        self._round += 1
        for (topic, partition), messages in polled.items():
            decoded = codec.decode(topic, partition, messages)
            for records in decoded.records:
                self._note(records)
            self._note_refused(codec, decoded.documents)
        self._read_to = consumer.positions()

    async def _skip(self, consumer: StreamConsumer) -> None:
        """More comes than a page can show: go on near the end."""
        positions = consumer.positions()
        ends = await consumer.ends(list(positions))
        spare = BATCH_MAX // max(1, len(ends))
        consumer.assign({place: max(end - spare, positions[place]) for place, end in ends.items()})

    def _note(self, records: Records) -> None:
        """The last of each series."""
        last = np.full(len(records.table), -1, np.int64)
        last[records.series] = np.arange(len(records))
        for row in np.sort(last[last >= 0]).tolist():
            self._show(int(records.arrived[row]), reading(records, row))

    def _note_refused(self, codec: Codec, documents: list[Document]) -> None:
        """The last dead letter of each point, of those since the gateway was started: then every adapter says anew which of its points are
        BAD, and a point that is no longer configured is not BAD for ever."""
        found = [d for d in documents if d.schema == letters.SCHEMA and letters.is_of_point(d)]
        found = [d for d in found if d.fields["arrived_at"] >= GATEWAY_STARTED_US]
        of_points = [((d.fields["asset_id"], d.fields["parameter"]), d) for d in found]
        last, first = dict(of_points), dict(reversed(of_points))
        for place, letter in last.items():
            value = refused(letter, letters.record_of(codec, letter))
            began = None if first[place] is letter else first[place].fields["arrived_at"]
            self._show(letter.fields["arrived_at"], value, began)

    def _show(self, arrived: int, value: dict[str, Any], began: int | None = None) -> None:
        """Unless there is a newer one: good and bad readings come by different ways. `began`: when the first of several alike arrived."""
        place = value["asset"], value["parameter"]
        before = self._newest.get(place)
        if before is None and len(self._newest) >= POINTS_MAX:
            if len(self._left_out) < POINTS_MAX:
                self._left_out.add(hash(place))
        elif before is None or before[1] <= arrived:
            same = before is not None and before[2]["quality"] == value["quality"]
            alone = began is None or (before is not None and before[1] >= began)
            value["since"] = before[2]["since"] if before and same else value["time"] if alone else began
            self._newest[place] = self._round, arrived, value


def consumer_of(context: Context) -> StreamConsumer:
    return StreamConsumer(context.config["bootstrap"], "streamforge-api", within_s=START_WITHIN_S)


def codec_of(context: Context) -> Codec:
    return Codec(SchemaIds(Path(context.config["data_dir"]) / "schemas.json"))


def device_or_gateway(records: Records, row: int) -> int:
    device = int(records.device_time[row])
    return int(records.gateway_time[row]) if device == NO_TIME else device


def reading(records: Records, row: int) -> dict[str, Any]:
    series = records.table[int(records.series[row])]
    return {
        "asset": series.asset,
        "parameter": series.parameter,
        "adapter": series.adapter_id,
        "value": records.value(row),
        "unit": series.unit,
        "quality": Quality(int(records.quality[row])).name,
        "reason": records.reason.get(row),
        "time": device_or_gateway(records, row),
    }


def refused(letter: Document, record: Records | Document | None) -> dict[str, Any]:
    """A point whose newest reading, or what should have become one, went to the dead letters."""
    fields = letter.fields
    bad = {"quality": Quality.BAD.name, "reason": fields["reason"]}
    if isinstance(record, Records):
        return reading(record, 0) | bad
    asset, parameter, at = fields["asset_id"], fields["parameter"], fields["arrived_at"]
    adapter = fields["stage"].rpartition("/")[2]
    return {"asset": asset, "parameter": parameter, "adapter": adapter, "value": None, "unit": None, "time": at, **bad}


def shares(there: dict[Partition, int], most: int) -> dict[Partition, int]:
    """How many of each may be had so that all together are at most so many: what one does not need, others get."""
    given: dict[Partition, int] = {}
    for left, (place, n) in enumerate(sorted(there.items(), key=lambda item: item[1])):
        given[place] = min(n, (most - sum(given.values())) // (len(there) - left))
    return given
