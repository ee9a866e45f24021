"""The one runtime for all processing stages: read, let the stage judge, write, commit; exactly once (DESIGN section 7).

One Kafka transaction holds the outputs, the dead letters, now and then a snapshot of the state, and the offsets read so far. While it
commits, the next records are fetched and judged. On any error the worker crashes; its successor fences it by the same
transactional id, restores the snapshots, replays to the committed offsets with the outputs thrown away, and goes on.
Not responsible for what a stage decides (pipeline/) or how its outputs become records (stage_outputs.py).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actors import stage_snapshots
from actors.context import Context, Status
from actors.io_actor import IoActor
from actors.stage_doubt import Doubt, Range
from actors.stage_outputs import Writer
from actors.stage_snapshots import Snapshot
from pipeline.contract import Outputs, Stage
from schemas.gateway import ProcessingConfig, Rule
from schemas.records import Poison
from stream.codec import Codec, SchemaIds
from stream.consumer import Skipped, StreamConsumer
from stream.producer import Parcel, Partition, StreamLost, StreamProducer

POLL_MAX = 5000
TRANSACTION_MAX = 20_000
"""Records after which a transaction is closed early."""
IDLE_TICK_S = 0.5
LAG_EVERY_S = 2.0
WAIT_FOR_STREAM_S = 1.0
START_WITHIN_S = 20.0


@dataclass(slots=True)
class Round:
    """What one transaction holds."""

    outputs: list[Outputs] = field(default_factory=list)
    poison: list[Poison] = field(default_factory=list)
    read: int = 0
    offsets: dict[Partition, int] = field(default_factory=dict)
    snapshots: list[Parcel] = field(default_factory=list)

    def empty(self) -> bool:
        """Nothing to write: then nothing is committed."""
        written = any(o.readings or o.documents or o.refused for o in self.outputs)
        return not (written or self.poison or self.read or self.snapshots)


async def run(context: Context) -> None:
    """Work until stopped. Any exception is a crash."""
    context.ready()
    worker = Worker(context)
    try:
        await worker.open()
        await worker.work()
    finally:
        await worker.close()


def validator(config: dict[str, Any]) -> Stage:
    from pipeline.validator import Validator

    return Validator([Rule.model_validate(rule) for rule in config["rules"]])


def aggregator(config: dict[str, Any]) -> Stage:
    from pipeline.aggregator import Aggregator

    lateness = ProcessingConfig.model_validate(config["processing"]).lateness
    return Aggregator(config["aggregates"], lateness)


STAGES: dict[str, Callable[[dict[str, Any]], Stage]] = {"validator": validator, "aggregator": aggregator}


class Worker:
    """One stage over its share of the partitions."""

    def __init__(self, context: Context) -> None:
        config = context.config
        self._context = context
        self._name = f"{config['stage']}-{config['worker']}"
        self._group = f"sf-{config['stage']}"
        self._state_topic = f"state.{config['stage']}"
        self._settings = ProcessingConfig.model_validate(config["processing"])
        self._stage = STAGES[config["stage"]](config)
        self._partitions = [p for p in range(config["partitions"]) if p % config["workers"] == config["worker"]]
        self._places: list[Partition] = [(topic, p) for topic in self._stage.inputs for p in self._partitions]
        data_dir = Path(config["data_dir"])
        self._codec = Codec(SchemaIds(data_dir / "schemas.json"))
        self._writer = Writer(self._codec, config["partitions"], context.id, config["config_version"])
        self._doubt = Doubt(data_dir / "doubt" / self._name)
        self._producer = StreamProducer(config["bootstrap"], self._name, transactional_id=self._name)
        self._consumer = StreamConsumer(config["bootstrap"], self._name, self._group, on_skip=self._skipped)
        self._committed: dict[Partition, int] = {}
        self._snapshot_due: dict[int, float] = {}
        self._kept: dict[int, dict[str, int]] = {}
        self._lag_due = 0.0

    # Opening: fence, restore, replay.

    async def open(self) -> None:
        """Fence the predecessor, take its state over. Waits for a stream that is not there yet. Raises StreamLost."""
        await self._wait_for_stream()
        await self._consumer.start(START_WITHIN_S)
        self._committed = await self._starts()
        found = await stage_snapshots.find(self._consumer, self._state_topic, self._partitions)
        await self._restore(found)
        self._consumer.assign(self._committed)
        suspects = self._doubt.suspects
        if suspects and self._committed.get((suspects.topic, suspects.partition), 0) >= suspects.next:
            self._doubt.passed()
        now = time.monotonic()
        spread = self._settings.snapshot_every / max(1, len(self._partitions))
        for n, partition in enumerate(self._partitions):
            # The first one soon, so that a young log need not be replayed from its beginning; then spread over the period.
            self._snapshot_due[partition] = now + (n * spread if partition in found else 0.0)
        self._context.facts |= {"stage": self._name, "partitions": len(self._partitions)}
        self._context.health(Status.HEALTHY)

    async def _wait_for_stream(self) -> None:
        since = time.time()
        while True:
            try:
                await self._producer.start(START_WITHIN_S)
                return
            except StreamLost as lost:
                words = (
                    f"the local stream does not answer since {time.strftime('%H:%M:%S', time.localtime(since))}: {lost}"
                )
                self._context.health(Status.DEGRADED, words)
            if self._context.stopping.is_set():
                raise asyncio.CancelledError
            await asyncio.sleep(WAIT_FOR_STREAM_S)

    async def _starts(self) -> dict[Partition, int]:
        """Where to go on: the committed offsets, brought into what the log holds."""
        committed = await self._consumer.committed(self._places)
        begins = await self._consumer.beginnings(self._places)
        ends = await self._consumer.ends(self._places)
        starts = {}
        for place in self._places:
            wanted = committed[place]
            starts[place] = begins[place] if wanted is None else max(begins[place], min(wanted, ends[place]))
            if wanted is not None and wanted != starts[place]:
                self._off_the_log(place, wanted, starts[place])
        return starts

    def _off_the_log(self, place: Partition, wanted: int, at: int) -> None:
        name = f"{place[0]}/{place[1]}"
        if wanted < at:
            self._context.count("lost_total", at - wanted)
            text = f"{name}: records {wanted} to {at} were deleted before they were processed"
        else:
            text = f"{name}: the log ends at {at}, {wanted - at} records before what was processed: it lost its tail"
        self._context.facts.setdefault("off_the_log", []).append(text)

    def _skipped(self, skipped: Skipped) -> None:
        self._context.count("lost_total", skipped.next - skipped.first)
        text = f"{skipped.topic}/{skipped.partition}: {skipped.first} to {skipped.next} {skipped.reason}"
        self._context.facts.setdefault("off_the_log", []).append(text)

    async def _restore(self, found: dict[int, Snapshot]) -> None:
        """Snapshots, then the records from there to the committed offsets with the outputs thrown away."""
        starts: dict[Partition, int] = {}
        begins = await self._consumer.beginnings(self._places)
        for partition in self._partitions:
            offsets = self._take_snapshot_back(partition, found.get(partition))
            for topic in self._stage.inputs:
                place = topic, partition
                starts[place] = min(max(offsets.get(topic, 0), begins[place]), self._committed[place])
        behind = {place: at for place, at in starts.items() if at < self._committed[place]}
        if behind:
            await self._replay(behind)

    def _take_snapshot_back(self, partition: int, snapshot: Snapshot | None) -> dict[str, int]:
        """The offsets the partition's state stands for; nothing for a state that could not be read."""
        if snapshot is not None and all(
            snapshot.offsets.get(t, 0) <= self._committed[t, partition] for t in self._stage.inputs
        ):
            try:
                self._stage.restore(partition, snapshot.state)
                self._kept[partition] = snapshot.offsets
                return snapshot.offsets
            except ValueError as unreadable:
                self._context.facts["snapshot"] = f"partition {partition}: {unreadable}; replaying the log instead"
        self._stage.forget(partition)
        return {}

    async def _replay(self, starts: dict[Partition, int]) -> None:
        self._context.health(Status.DEGRADED, "replaying the stream to rebuild its state")
        self._consumer.assign(starts)
        while any([await self._consumer.position(p) < self._committed[p] for p in starts]):
            for place, messages in (await self._consumer.poll(POLL_MAX, 0.2)).items():
                known = [m for m in messages if m.offset < self._committed[place]]
                self._context.count("replayed_total", len(known))
                self._judge(place, known, Round())
                await asyncio.sleep(0)

    # Working.

    async def work(self) -> None:
        """Rounds until stopped; the one that is committing is awaited before the next may begin."""
        committing: asyncio.Task[None] | None = None
        try:
            while not self._context.stopping.is_set():
                one = await self._round()
                if committing:
                    await committing
                    committing = None
                if not one.empty():
                    committing = asyncio.create_task(self._transact(one))
                await self._look_at_lag()
            if committing:
                await committing
                committing = None
        finally:
            if committing:
                committing.cancel()

    async def _round(self) -> Round:
        """What comes within one transaction's time, judged."""
        one = Round()
        end = time.monotonic() + self._settings.transaction_every
        while (
            (left := end - time.monotonic()) > 0 and one.read < TRANSACTION_MAX and not self._context.stopping.is_set()
        ):
            for place, messages in (await self._consumer.poll(POLL_MAX, left)).items():
                self._judge(place, messages, one)
                one.read += len(messages)
                one.offsets[place] = messages[-1].offset + 1
                await asyncio.sleep(0)
        self._committed |= one.offsets
        one.outputs.append(self._stage.tick(time.time_ns() // 1000))
        self._take_snapshots(one)
        return one

    def _judge(self, place: Partition, messages: list[Any], one: Round) -> None:
        """Decode and step, with the records in doubt meanwhile. Raises whatever the stage raises: that is a crash."""
        if not messages:
            return
        suspects = self._doubt.suspects
        if suspects and (suspects.topic, suspects.partition) == place:
            self._judge_suspects(place, messages, one)
            return
        self._doubt.batch(Range(*place, messages[0].offset, messages[-1].offset + 1))
        self._step(place, messages, one)
        self._doubt.done()

    def _judge_suspects(self, place: Partition, messages: list[Any], one: Round) -> None:
        suspects = self._doubt.suspects
        assert suspects is not None
        for message in messages:
            where = (*place, message.offset)
            if self._doubt.poison and where in self._doubt.poison:
                self._set_aside(place, message, one)
            elif where in suspects:
                self._doubt.alone(Range(*place, message.offset, message.offset + 1))
                self._step(place, [message], one)
                self._doubt.done()
            else:
                self._step(place, [message], one)
        if messages[-1].offset + 1 >= suspects.next:
            self._doubt.passed()

    def _set_aside(self, place: Partition, message: Any, one: Round) -> None:
        words = f"poison: the {self._context.config['stage']} ended twice over this record; it was not decoded again"
        one.poison.append(
            Poison(*place, message.offset, message.timestamp * 1000, message.key, message.value or b"", words)
        )

    def _step(self, place: Partition, messages: list[Any], one: Round) -> None:
        try:
            decoded = self._codec.decode(*place, messages)
            one.poison += decoded.poison
            for records in decoded.records:
                one.outputs.append(self._stage.step(place[1], records, int(records.arrived.max())))
        except Exception:
            self._doubt.proven()
            raise

    def _take_snapshots(self, one: Round) -> None:
        """At most one each round: they are spread over the period."""
        now = time.monotonic()
        due = [p for p, at in self._snapshot_due.items() if at <= now]
        if not due:
            return
        partition = min(due, key=self._snapshot_due.__getitem__)
        self._snapshot_due[partition] = now + self._settings.snapshot_every
        offsets = {topic: self._committed[topic, partition] for topic in self._stage.inputs}
        if self._kept.get(partition) == offsets:
            return
        self._kept[partition] = offsets
        taken = Snapshot(partition, offsets, self._stage.snapshot(partition))
        one.snapshots.append(stage_snapshots.parcel(self._state_topic, taken, time.time_ns() // 1_000_000))

    async def _transact(self, one: Round) -> None:
        """Write and commit; only then is anything counted. Raises StreamLost."""
        began = time.monotonic()
        parcels = self._writer.parcels(one.outputs, one.poison, time.time_ns() // 1_000_000)
        await self._producer.begin()
        await self._producer.submit([*parcels, *one.snapshots])
        await self._producer.commit(one.offsets, self._group)
        context = self._context
        context.count("transactions_total")
        context.count("read_total", one.read)
        context.count(
            "written_total",
            sum(len(j.rows) for o in one.outputs for j in o.readings) + sum(len(o.documents) for o in one.outputs),
        )
        for poison in one.poison:
            context.count(
                f'refused_total{{rule="{poison.reason.partition(":")[0] if poison.reason.startswith("poison") else "decode"}"}}'
            )
        for outputs in one.outputs:
            for name, n in outputs.counters.items():
                context.count(name, n)
            for refused in outputs.refused:
                context.count(f'refused_total{{rule="{refused.rule}"}}')
        context.gauge("transaction_ms", (time.monotonic() - began) * 1000)

    async def _look_at_lag(self) -> None:
        now = time.monotonic()
        if now < self._lag_due:
            return
        self._lag_due = now + LAG_EVERY_S
        lag = await self._consumer.lag()
        for topic in self._stage.inputs:
            self._context.gauge(f'lag{{topic="{topic}"}}', sum(n for (t, _), n in lag.items() if t == topic))

    async def close(self) -> None:
        await self._consumer.stop()
        await self._producer.stop()
        self._doubt.close()


class ProcessorActor(IoActor):
    """The workers `data_path/processing/<stage>-<n>`."""

    main = staticmethod(run)

