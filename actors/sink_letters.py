"""The dead letters of one sink, exactly once over crashes: each set is one Kafka transaction together with a mark of how far they go.

The mark is a consumer group's offset for the partition the refused records came from; as these are sent in the order of the stream,
whatever lies before it was sent. Who sends again after a crash what was sent already (the destination still holds it, or the
stream is read again) is thereby passed over. Poison and refusals come at different times, so each has its own mark.
"""

from __future__ import annotations

import time

from actors import refusals
from actors.context import Context
from sinks.contract import RefusedRecord
from stream.codec import Codec, dead_letter
from stream.consumer import StreamConsumer
from stream.partitions import Partitioner
from stream.producer import RECORD_BYTES, Parcel, Partition, StreamProducer

REASON_MOST = 4000
"""Characters of a reason that are kept."""


class Letters:
    """One producer, fixed to its sink: a new one fences the old and resolves what that left open."""

    def __init__(self, context: Context, bootstrap: str, name: str, codec: Codec, partitions: int) -> None:
        self._context, self._bootstrap, self._name, self._codec = context, bootstrap, name, codec
        self._partition_of = Partitioner(partitions)
        self._producer = StreamProducer(bootstrap, name, transactional_id=name)
        self._marks: dict[str, dict[Partition, int]] = {}

    async def start(self) -> None:
        await self._producer.start()

    async def stop(self) -> None:
        await self._producer.stop(within_s=3)

    async def send(self, kind: str, refused: list[RefusedRecord]) -> None:
        """Write the dead letters of these records, in the order of the stream. `kind` is the rule they name. Raises StreamLost."""
        if not refused:
            return
        marks = await self._marks_of(kind, {(r.topic, r.partition) for r in refused})
        new = [r for r in refused if r.offset >= marks.get((r.topic, r.partition), 0)]
        new.sort(key=lambda r: (r.topic, r.partition, r.offset))
        if not new:
            return
        reached = {(r.topic, r.partition): r.offset + 1 for r in new}
        await self._producer.begin()
        await self._producer.submit([self._letter(kind, r) for r in new])
        await self._producer.commit(reached, self._group(kind))
        marks.update(reached)
        self._context.count(f'refused_total{{rule="{kind}"}}', len(new))
        last = new[-1]
        place = {"topic": last.topic, "partition": last.partition, "offset": last.offset}
        refusals.note(
            self._context, refusals.letters_of(last.topic), kind, last.reason, last.asset, last.parameter, **place
        )

    def _letter(self, kind: str, r: RefusedRecord) -> Parcel:
        topic = refusals.letters_of(r.topic)
        room = RECORD_BYTES - 5 * REASON_MOST
        reason = r.reason[:REASON_MOST]
        if len(r.wire) > room:
            reason += f" (only the first {room} of {len(r.wire)} bytes are kept here)"
        letter = dead_letter(
            topic, stage=self._context.id, rule=kind, reason=reason, source=(r.topic, r.partition, r.offset),
            arrived_at=r.arrived, original=r.wire[:room], asset=r.asset, parameter=r.parameter,
            config_version=self._context.config.get("config_version"),
        )  # fmt: skip
        wire = self._codec.encode_document(letter)
        return Parcel(topic, self._partition_of(letter.key), [letter.key], [wire], int(time.time() * 1000))

    def _group(self, kind: str) -> str:
        return f"{self._name}-{kind}"

    async def _marks_of(self, kind: str, places: set[Partition]) -> dict[Partition, int]:
        """How far dead letters of this kind were sent; asked once for each partition."""
        marks = self._marks.setdefault(kind, {})
        if unknown := sorted(places - marks.keys()):
            consumer = StreamConsumer(self._bootstrap, self._name, self._group(kind))
            await consumer.start()
            try:
                marks.update({place: at or 0 for place, at in (await consumer.committed(unknown)).items()})
            finally:
                await consumer.stop()
        return marks
