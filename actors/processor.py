"""The one runtime for all processing stages: read, let the stage judge, write, commit; exactly once (DESIGN section 7).

One Kafka transaction holds the outputs, the dead letters, now and then a snapshot of the state, and the offsets read so far. While it
commits, the next records are fetched, judged and encoded. On any error the worker crashes; its successor fences it by the same
transactional id, restores the snapshots, replays to the committed offsets with the outputs thrown away, and goes on.
Not responsible for what a stage decides (pipeline/), how its outputs become records (stage_outputs.py), or where it starts
(stage_start.py).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from actors import refusals, stage_start
from actors.base import Address
from actors.cadence import Cadence
from actors.context import Context, Status
from actors.io_actor import IoActor
from actors.messages import Start
from actors.stage_doubt import Doubt, Range
from actors.stage_kinds import NICE, STAGES
from actors.stage_outputs import POISON, Refusal, Writer, poison_refusal, poison_rule, refusal
from actors.stage_read import read_between
from actors.stage_snapshots import Shelf
from actors.stage_start import OffTheLog
from actors.stream_silence import Silence, tell
from actors.surroundings import command
from pipeline.contract import Outputs
from schemas.gateway import ProcessingConfig
from schemas.records import Poison
from stream.codec import Codec, SchemaIds
from stream.codec.read import Message
from stream.consumer import Polled, Skipped, StreamConsumer
from stream.producer import Parcel, Partition, StreamLost, StreamProducer

POLL_MAX = 5000
TRANSACTION_MAX = 20_000
"""Records after which a transaction is closed early."""
GATHER_S = 0.05
"""How long records are gathered before they are judged: no reading is later for it, since outputs leave with the transaction."""
FETCH_S = 0.01
"""For more to come meanwhile."""
COMMITTING_POLL_S = 0.02
"""How long to wait for records while the transaction before still commits: as long as it does, this one grows."""
LAG_EVERY_S = 2.0
WAIT_FOR_STREAM_S = 1.0
START_WITHIN_S = 20.0
STREAM_STEP = "it goes on by itself; see what this says of the stream: "
TOLD_MAX = 20
"""Losses shown in the facts; all are counted and logged."""

log = structlog.get_logger()


@dataclass(slots=True)
class Round:
    """What one transaction holds."""

    parcels: list[Parcel] = field(default_factory=list)
    counters: Counter[str] = field(default_factory=Counter)
    offsets: dict[Partition, int] = field(default_factory=dict)
    read: int = 0
    judging_s: float = 0.0
    """How long judging them took."""
    refused: Refusal | None = None
    """The last one."""
    passed: bool = False
    """Are the records in doubt all taken or set aside?"""

    @property
    def empty(self) -> bool:
        """Nothing to write: then nothing is committed."""
        return not (self.parcels or self.read)


async def run(context: Context) -> None:
    """Work until stopped. Any exception is a crash."""
    # Waiting for a stream that is away is no failed start.
    context.ready()
    context.health(Status.STARTING, "takes over the state that is in the stream")
    worker = Worker(context)
    try:
        if await worker.open():
            await worker.work()
    except BaseException:
        await worker.give_up()
        raise
    await worker.close()


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
        data_dir = Path(config["data_dir"])
        self._codec = Codec(SchemaIds(data_dir / "schemas.json"))
        self._writer = Writer(self._codec, config["partitions"], context.id, config["config_version"])
        self._doubt = Doubt(data_dir / "doubt" / self._name)
        self._producer = self._new_producer()
        self._consumer = StreamConsumer(config["bootstrap"], self._name, self._group, on_skip=self._skipped)
        self._read_to: dict[Partition, int] = {}
        """The next record of each input that the stage's state does not know."""
        self._shelves: dict[int, Shelf] = {}
        self._kept: dict[int, dict[str, int]] = {}
        """The offsets for which each partition's newest snapshot stands."""
        self._snapshot_due: dict[int, float] = {}
        self._lag_due = 0.0
        self._cadence, self._silence = Cadence(self._settings.transaction_every), Silence()

    # Opening: fence, restore, replay.

    async def open(self) -> bool:
        """Fence the predecessor, take its state over. Waits for a stream that is not there yet; False if told to stop
        meanwhile. Raises StreamLost."""
        if not await self._wait_for_stream():
            return False
        await self._consumer.start(START_WITHIN_S)
        start = await stage_start.find(
            self._consumer, self._stage, self._state_topic, self._partitions, self._off_the_log, self._unreadable
        )
        self._read_to = start.offsets
        self._shelves = {p: start.shelves.get(p) or Shelf(p) for p in self._partitions}
        self._kept = start.restored
        if start.replay:
            await self._replay(start.replay)
        self._consumer.assign(self._read_to)
        suspects = self._doubt.suspects
        if suspects and self._read_to.get((suspects.topic, suspects.partition), 0) >= suspects.next:
            self._doubt.passed()
        self._plan_snapshots()
        self._context.facts |= {"stage": self._name, "partitions": self._partitions}
        self._context.health(Status.HEALTHY)
        return True

    async def _wait_for_stream(self) -> bool:
        since = time.strftime("%H:%M:%S")
        while not self._context.stopping.is_set():
            try:
                await self._producer.start(START_WITHIN_S)
                return True
            except StreamLost as lost:
                words = f"the local stream does not answer since {since}: {lost}"
                self._context.health(Status.DEGRADED, words, STREAM_STEP + command("status"))
            await asyncio.sleep(WAIT_FOR_STREAM_S)
        return False

    def _plan_snapshots(self) -> None:
        """The first of a young log soon, so that it need not be replayed from its beginning; then spread over the period."""
        now = time.monotonic()
        spread = self._settings.snapshot_every / max(1, len(self._partitions))
        for n, partition in enumerate(self._partitions):
            self._snapshot_due[partition] = now + (n * spread if partition in self._kept else 0.0)

    def _off_the_log(self, found: OffTheLog) -> None:
        self._tell_loss(found.lost, str(found))

    def _skipped(self, skipped: Skipped) -> None:
        words = f"{skipped.topic}/{skipped.partition}: {skipped.first} to {skipped.next} {skipped.reason}"
        self._tell_loss(skipped.next - skipped.first, words)

    def _tell_loss(self, lost: int, words: str) -> None:
        log.warning("stage_off_the_log", lost=lost, reason=words)
        if lost:
            self._context.count("lost_total", lost)
        self._context.facts["off_the_log"] = [*self._context.facts.get("off_the_log", []), words][-TOLD_MAX:]

    def _unreadable(self, partition: int, reason: str) -> None:
        log.warning("stage_snapshot_unreadable", partition=partition, reason=reason)
        self._context.facts["snapshot"] = f"partition {partition}: {reason}; the log is replayed instead"

    async def _replay(self, starts: dict[Partition, int]) -> None:
        self._context.health(
            Status.DEGRADED, "replaying the stream to rebuild its state", "nothing to do: it goes on by itself"
        )
        ends = {place: self._read_to[place] for place in starts}
        async for place, messages in read_between(self._consumer, starts, ends, POLL_MAX):
            if self._context.stopping.is_set():
                return
            await self._judge(place, messages, Round())
            self._context.count("replayed_total", len(messages))

    # Working.

    async def work(self) -> None:
        """Rounds until stopped; the one that is committing is awaited before the next may begin to."""
        committing: asyncio.Task[None] | None = None
        self._silence.heard()
        telling = asyncio.create_task(tell(self._context, self._silence, STREAM_STEP), name="tell")
        try:
            while not self._context.stopping.is_set():
                one = await self._round(committing)
                if committing:
                    await committing
                    committing = None
                if self._producer.worn:
                    await self._renew_producer()
                if not one.empty:
                    committing = asyncio.create_task(self._transact(one), name="transact")
                await self._look_at_lag()
            if committing:
                await committing
                committing = None
        finally:
            telling.cancel()
            if committing:
                committing.cancel()

    async def _renew_producer(self) -> None:
        """Between two transactions. Raises StreamLost."""
        await self._producer.stop()
        self._producer = self._new_producer()
        await self._producer.start(START_WITHIN_S)

    def _new_producer(self) -> StreamProducer:
        return StreamProducer(self._context.config["bootstrap"], self._name, transactional_id=self._name)

    async def _round(self, committing: asyncio.Task[None] | None) -> Round:
        """What comes within one transaction's time, and until the one before is committed; judged and encoded."""
        one = Round()
        began = time.monotonic()
        end = began + self._cadence.gather_s
        while one.read < TRANSACTION_MAX and not self._context.stopping.is_set():
            left = end - time.monotonic()
            if left <= 0 and (committing is None or committing.done()):
                break
            for place, messages in (await self._gather(max(left, COMMITTING_POLL_S))).items():
                judged_at = time.monotonic()
                await self._judge(place, messages, one)
                one.judging_s += time.monotonic() - judged_at
                one.read += len(messages)
                one.offsets[place] = self._read_to[place] = messages[-1].offset + 1
        self._cadence.worked(one.judging_s, time.monotonic() - began)
        self._keep(one, self._stage.tick(time.time_ns() // 1000))
        self._take_snapshot(one)
        return one

    async def _gather(self, within_s: float) -> Polled:
        """What comes within a breath, of each partition together: a record costs half as much in a batch of hundreds as in one of tens."""
        gathered: dict[Partition, list[Message]] = {}
        end, count = time.monotonic() + min(within_s, GATHER_S), 0
        while count < POLL_MAX and (left := end - time.monotonic()) > 0:
            for place, messages in (await self._consumer.poll(POLL_MAX - count, left)).items():
                gathered.setdefault(place, []).extend(messages)
                count += len(messages)
            await asyncio.sleep(min(FETCH_S, max(0.0, end - time.monotonic())) if gathered else 0)
        return gathered

    async def _judge(self, place: Partition, messages: list[Any], one: Round) -> None:
        """Decode, step and encode, with the records in doubt meanwhile. Raises whatever the stage raises: that is a crash."""
        suspects = self._doubt.suspects
        inside = [m for m in messages if suspects and (*place, m.offset) in suspects]
        if not inside:
            await self._judge_together(place, messages, one)
            return
        await self._judge_together(place, [m for m in messages if m.offset < inside[0].offset], one)
        for message in inside:
            await self._judge_alone(place, message, one)
        one.passed |= suspects is not None and messages[-1].offset + 1 >= suspects.next
        await self._judge_together(place, [m for m in messages if m.offset > inside[-1].offset], one)

    async def _judge_together(self, place: Partition, messages: list[Any], one: Round) -> None:
        if messages:
            self._doubt.batch(Range(*place, messages[0].offset, messages[-1].offset + 1))
            self._step(place, messages, one)
        # The heart beats on, and so does the transaction before.
        await asyncio.sleep(0)

    async def _judge_alone(self, place: Partition, message: Any, one: Round) -> None:
        if self._doubt.poison and (*place, message.offset) in self._doubt.poison:
            words = f"{POISON}the {self._context.config['stage']} ended over this record again and again; it was not decoded any more"
            self._set_aside(
                [Poison(*place, message.offset, message.timestamp * 1000, message.key, message.value or b"", words)],
                one,
            )
            # Now, so that no replay meets the record again.
            self._snapshot_due[place[1]] = 0.0
            log.error("stage_poison", topic=place[0], partition=place[1], offset=message.offset)
            return
        self._doubt.alone(Range(*place, message.offset, message.offset + 1))
        self._step(place, [message], one)
        await asyncio.sleep(0)

    def _step(self, place: Partition, messages: list[Any], one: Round) -> None:
        try:
            decoded = self._codec.decode(*place, messages)
            self._set_aside(decoded.poison, one)
            for records in decoded.records:
                self._keep(one, self._stage.step(place[1], records, int(records.arrived.max())))
        except Exception:
            self._doubt.proven()
            raise
        self._doubt.done()

    def _keep(self, one: Round, outputs: Outputs) -> None:
        """Encode what a stage brought forth, and count it for when it is committed."""
        one.parcels += self._writer.parcels(outputs, time.time_ns() // 1_000_000)
        one.counters.update(outputs.counters)
        written = sum(len(judged.rows) for judged in outputs.readings) + len(outputs.documents)
        if written:
            one.counters["written_total"] += written
        for refused in outputs.refused:
            one.counters[f'refused_total{{rule="{refused.rule}"}}'] += 1
        if outputs.refused:
            one.refused = refusal(outputs.refused[-1])
        for document in outputs.documents:
            if document.schema == "event":
                one.counters["events_total"] += 1

    def _set_aside(self, poison: list[Poison], one: Round) -> None:
        if poison:
            one.parcels += self._writer.poison(poison, time.time_ns() // 1_000_000)
            one.counters.update(f'refused_total{{rule="{poison_rule(each)}"}}' for each in poison)
            one.refused = poison_refusal(poison[-1])

    def _take_snapshot(self, one: Round) -> None:
        """At most one each round: they are spread over the period."""
        now = time.monotonic()
        partition, due = min(self._snapshot_due.items(), key=lambda item: item[1], default=(0, now + 1))
        if due > now:
            return
        self._snapshot_due[partition] = now + self._settings.snapshot_every
        offsets = {topic: self._read_to[topic, partition] for topic in self._stage.inputs}
        if self._kept.get(partition) == offsets:
            return
        self._kept[partition] = offsets
        shelf = self._shelves[partition]
        parts = self._stage.snapshot_parts(partition, shelf.written)
        parcel = shelf.parcel(self._state_topic, offsets, parts, time.time_ns() // 1_000_000)
        one.parcels.append(parcel)
        one.counters["snapshots_total"] += 1
        one.counters["snapshot_bytes_total"] += parcel.size

    async def _transact(self, one: Round) -> None:
        """Write and commit; only then is anything counted. Raises StreamLost."""
        began = time.monotonic()
        await self._producer.begin()
        await self._producer.submit(one.parcels)
        await self._producer.commit(one.offsets, self._group)
        self._silence.heard()
        if one.passed:
            self._doubt.passed()
        self._context.count("transactions_total")
        self._context.count("read_total", one.read)
        for name, n in one.counters.items():
            self._context.count(name, n)
        if one.refused:
            refusals.note(self._context, *one.refused)
        self._context.gauge("transaction_ms", (time.monotonic() - began) * 1000)

    async def _look_at_lag(self) -> None:
        now = time.monotonic()
        if now < self._lag_due:
            return
        self._lag_due = now + LAG_EVERY_S
        lag = await self._consumer.lag()
        self._silence.heard()
        for topic in self._stage.inputs:
            self._context.gauge(f'lag{{topic="{topic}"}}', sum(n for (t, _), n in lag.items() if t == topic))

    # Ending.

    async def close(self) -> None:
        """In order: nothing is under way."""
        await self._consumer.stop()
        await self._producer.stop()
        self._doubt.close()

    async def give_up(self) -> None:
        """Leave what is under way to the successor, who fences this producer."""
        await self._producer.give_up()
        await self._consumer.stop(1.0)


class ProcessorActor(IoActor):
    """The workers `data_path/processing/<stage>-<n>`."""

    main = staticmethod(run)

    def on_start(self, order: Start, sender: Address) -> None:
        os.nice(NICE.get(order.config["stage"], 0))
        super().on_start(order, sender)
