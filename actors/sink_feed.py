"""What a sink reads: records of all its topics, collected and decoded into the next batch while the destination takes the last one.

At most one batch is being collected, bounded in records and bytes; a full one stops the reading, and the stream keeps the rest.
Not responsible for what becomes of a batch: whoever takes one calls `confirmed`, or `end`, `locate` and `begin` again.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from actors.cadence import Cadence
from actors.context import Context
from actors.sink_doubt import GivenDoubt, Span
from actors.sink_pace import Pace
from actors.sink_start import Moved, start_offsets
from actors.stage_doubt import Doubt, Range
from actors.stream_silence import Silence
from schemas.gateway import SinkConfig
from schemas.records import Poison
from sinks.contract import Batch, Offsets
from stream.codec import Codec, Decoded
from stream.consumer import Skipped, StreamConsumer
from stream.producer import Partition, StreamLost

POLL_MOST = 5000
POLL_WAIT_S = 0.5
GATHER_S = 0.02
"""How long the first record of a batch waits for those that come with it."""
DECODE_FROM = 4000
"""Undecoded records from which on decoding does not wait for the batch to be taken."""
LOOK_EVERY_S = 1.0
BEYOND_AGAIN_S = 2.0
"""A stream that seems to end too early is asked again after so long: it may just have started."""
MOVES_KEPT = 20

log = structlog.get_logger()


@dataclass(slots=True)
class Filled:
    """The next batch. `offsets` are those of the next records of each partition it has records of."""

    batch: Batch = field(default_factory=Batch)
    poison: list[Poison] = field(default_factory=list)
    offsets: Offsets = field(default_factory=dict)
    firsts: Offsets = field(default_factory=dict)
    """The first offset of each partition that the destination is given records of."""
    counts: Counter[str] = field(default_factory=Counter)
    """Records of each topic."""
    size: int = 0
    """Bytes."""
    oldest_ms: int | None = None
    """When the oldest of its records arrived in the stream, milliseconds since 1970."""
    began: float = 0.0
    """When its first record was read, by the monotonic clock."""
    raw: dict[Partition, list[Any]] = field(default_factory=dict)
    """Records that are not decoded yet."""

    @property
    def total(self) -> int:
        return self.counts.total()

    @property
    def spans(self) -> list[Span]:
        """What the destination is given."""
        return [(*place, first, self.offsets[place]) for place, first in self.firsts.items()]


class Feed:
    """One consumer over all partitions of a sink's topics. `take` may run beside the collecting, nothing else."""

    def __init__(
        self,
        context: Context,
        config: SinkConfig,
        consumer: StreamConsumer,
        codec: Codec,
        doubt: Doubt,
        given: GivenDoubt,
    ) -> None:
        """`doubt` is over decoding; `given` is for whoever gives batches to the destination, and may ask for single records."""
        self._context, self._config, self._consumer, self._codec, self._doubt = context, config, consumer, codec, doubt
        self.given = given
        self._places = [(topic, p) for topic in config.topics for p in range(context.config["partitions"])]
        self._next = Filled()
        self._in_hand: Filled | None = None
        self._news, self._room = asyncio.Event(), asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._delivered: Offsets = {}
        self._moved: Offsets = {}
        self._said: Offsets = {}
        self._committed: Offsets = {}
        self._taken_at = self._looked_at = self._moved_on_at = 0.0
        self._waiting_since_ms: int | None = None
        self._cadence, self._busy_s = Cadence(config.flush_every), 0.0
        self.pace, self.silence = Pace(config.flush_every), Silence()
        self.most = config.batch_records
        """Most records of one batch; the owner lowers it for a destination that cannot take so many in its time."""

    # Where to read.

    async def locate(self, stored: Offsets | None) -> None:
        """Go to what the destination has stored, else to what the group has committed, else to the oldest. Raises StreamLost."""
        delivered: dict[Partition, int | None] = (
            dict(stored) if stored is not None else await self._consumer.committed(self._places)
        )
        firsts = await self._consumer.beginnings(self._places)
        ends = await self._consumer.ends(self._places)
        starts, moved = start_offsets(delivered, firsts, ends)
        if any(m.to < m.at for m in moved):
            await asyncio.sleep(BEYOND_AGAIN_S)
            ends = await self._consumer.ends(self._places)
            starts, moved = start_offsets(delivered, firsts, ends)
        for one in moved:
            self._say(one)
        self.given.located(starts, ends)
        self._consumer.assign(starts)
        self._delivered, self._committed = starts, {}
        self._moved = {(m.topic, m.partition): m.to for m in moved}

    def skipped(self, skipped: Skipped) -> None:
        """The consumer passed over offsets."""
        self._say(Moved(skipped.topic, skipped.partition, skipped.first, skipped.next, skipped.reason))
        self._next.offsets[skipped.topic, skipped.partition] = skipped.next

    def _say(self, moved: Moved) -> None:
        """Once for each offset, however often the destination has to be asked where it is."""
        place = moved.topic, moved.partition
        said, self._said[place] = self._said.get(place), moved.to
        if said is not None and moved.at < moved.to:
            moved = replace(moved, at=max(moved.at, said))
        if moved.at == moved.to:
            return
        self._context.count(f'lost_total{{topic="{moved.topic}"}}', moved.lost)
        told = {
            "topic": moved.topic,
            "partition": moved.partition,
            "at": moved.at,
            "to": moved.to,
            "reason": moved.reason,
        }
        log.error("sink_moved", lost=moved.lost, **told)
        earlier = self._context.facts.get("moved", [])
        self._context.facts["moved"] = [*earlier, {"when": round(time.time(), 3), **told}][-MOVES_KEPT:]

    # Collecting.

    def begin(self) -> None:
        """Start collecting from where `locate` went."""
        self._next, self._in_hand = Filled(offsets=dict(self._moved)), None
        self._moved_on_at = time.monotonic()
        self.silence.heard()
        self._task = asyncio.create_task(self._collect())
        self._task.add_done_callback(lambda _: self._news.set())

    async def end(self) -> None:
        """Stop collecting and drop what was not confirmed: the stream has it."""
        dropped = [filled.oldest_ms for filled in (self._in_hand, self._next) if filled and filled.oldest_ms]
        self._waiting_since_ms = min(dropped, default=self._waiting_since_ms)
        self._next, self._in_hand = Filled(), None
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled():
                task.exception()  # whoever took batches has seen it
            if self._consumer.positions() != self._delivered:
                self._consumer.assign(self._delivered)

    async def _collect(self) -> None:
        while True:
            if self._full(self._next):
                self._room.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_EVERY_S):
                        await self._room.wait()
            else:
                polled = await self._consumer.poll(min(POLL_MOST, self._most - self._next.total), POLL_WAIT_S)
                for place, messages in polled.items():
                    self._add(place, messages)
                if sum(map(len, self._next.raw.values())) >= DECODE_FROM:
                    self._decode(self._next)
                self._news.set()
            await self.look()

    def _add(self, place: Partition, messages: list[Any]) -> None:
        filled = self._next
        if not filled.total:
            filled.began = time.monotonic()
        filled.raw.setdefault(place, []).extend(messages)
        filled.firsts.setdefault(place, messages[0].offset)
        filled.offsets[place] = messages[-1].offset + 1
        filled.counts[place[0]] += len(messages)
        filled.size += sum([len(m.value or b"") for m in messages])
        oldest = messages[0].timestamp
        filled.oldest_ms = oldest if filled.oldest_ms is None else min(oldest, filled.oldest_ms)

    @property
    def _most(self) -> int:
        return 1 if self.given.one_by_one else self.most

    def _full(self, filled: Filled) -> bool:
        return filled.total >= self._most or filled.size >= self._config.batch_bytes

    # Taking.

    async def take(self, wait_s: float) -> Filled | None:
        """The next batch when it is due, or None after `wait_s`. Raises what ended the collecting."""
        deadline = time.monotonic() + wait_s
        while True:
            if self._task is not None and self._task.done():
                self._task.result()
            now, due = time.monotonic(), self._due()
            if due is not None and due <= now:
                return self._hand_over(now)
            if now >= deadline:
                return None
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(deadline, due or deadline) - now):
                    await self._news.wait()

    def _due(self) -> float | None:
        """When the next batch shall be written, by the monotonic clock; None while there is nothing."""
        if self._full(self._next):
            return 0.0
        if self._next.total:
            return max(self._next.began + GATHER_S, self._taken_at + self._cadence.gather_s)
        return 0.0 if self._next.offsets else None

    def _hand_over(self, now: float) -> Filled:
        filled, self._next = self._next, Filled()
        self._decode(filled)
        self._cadence.worked(self._busy_s, now - self._taken_at)
        self._in_hand, self._taken_at = filled, now
        self._room.set()
        return filled

    def confirmed(self, filled: Filled) -> None:
        """The destination has this batch."""
        self._in_hand = self._waiting_since_ms = None
        self._delivered |= filled.offsets
        self.given.passed(self._delivered)
        self._moved_on_at = time.monotonic()
        self._busy_s = self._moved_on_at - self._taken_at
        suspects = self._doubt.suspects
        if suspects and self._delivered.get((suspects.topic, suspects.partition), 0) >= suspects.next:
            self._doubt.passed()

    # Decoding, with the records in doubt meanwhile.

    def _decode(self, filled: Filled) -> None:
        raw, filled.raw = filled.raw, {}
        try:
            for place, messages in raw.items():
                if good := self._not_poison(place, messages, filled):
                    self._decode_messages(place, good, filled)
        except Exception:
            self._doubt.proven()
            raise

    def _not_poison(self, place: Partition, messages: list[Any], filled: Filled) -> list[Any]:
        """All but the record that the worker ended over while the destination was given it."""
        poison = self.given.poison
        if poison is None or poison[:2] != place:
            return messages
        good = [message for message in messages if message.offset != poison[2]]
        if len(good) < len(messages):
            words = "the sink ended over giving it to the destination; it was not offered again"
            self._set_aside(place, next(m for m in messages if m.offset == poison[2]), filled, words)
            filled.firsts = {p: first for p, first in filled.firsts.items() if p != place or good}
        return good

    def _decode_messages(self, place: Partition, messages: list[Any], filled: Filled) -> None:
        suspects = self._doubt.suspects
        if suspects and (suspects.topic, suspects.partition) == place:
            for message in messages:
                self._decode_suspect(place, message, filled)
            return
        self._doubt.batch(Range(*place, messages[0].offset, messages[-1].offset + 1))
        self._keep(filled, self._codec.decode(*place, messages))
        self._doubt.done()

    def _decode_suspect(self, place: Partition, message: Any, filled: Filled) -> None:
        if self._doubt.poison and (*place, message.offset) in self._doubt.poison:
            self._set_aside(place, message, filled, "the sink ended twice over this record; it was not decoded again")
            return
        self._doubt.alone(Range(*place, message.offset, message.offset + 1))
        self._keep(filled, self._codec.decode(*place, [message]))
        self._doubt.done()

    @staticmethod
    def _set_aside(place: Partition, message: Any, filled: Filled, words: str) -> None:
        value = message.value or b""
        filled.poison.append(Poison(*place, message.offset, message.timestamp * 1000, message.key, value, words))

    @staticmethod
    def _keep(filled: Filled, decoded: Decoded) -> None:
        filled.batch.readings += decoded.records
        filled.batch.documents += decoded.documents
        filled.poison += decoded.poison

    # Looking after the stream.

    async def look(self) -> None:
        """Once a second: say how much waits, tell the group how far the destination is, notice a stream that gives nothing."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = now
        if not self._delivered:
            await self.locate(None)
        elif self._task is None:
            await self._watch_retention()
        held = [filled for filled in (self._in_hand, self._next) if filled]
        lag: Counter[str] = Counter(dict.fromkeys(self._config.topics, 0))
        for (topic, _), n in (await self._consumer.lag()).items():
            lag[topic] += n
        self.silence.heard()
        for filled in held:
            lag.update(filled.counts)
        for topic, n in lag.items():
            self._context.gauge(f'lag{{topic="{topic}"}}', n)
        oldest = min((f.oldest_ms for f in held if f.oldest_ms), default=self._waiting_since_ms)
        waits = lag.total() > 0 and oldest is not None
        lag_s = max(0.0, round(time.time() - oldest / 1000, 3)) if waits and oldest else 0.0
        self._context.gauge("lag_s", lag_s)
        if self._task is None:
            self.pace.forget()
        else:
            self.pace.look(now, lag.total(), lag_s)
        behind = self.pace.behind
        self._context.gauge("catch_up_s", round(behind.left_s, 1) if behind and behind.left_s else 0.0)
        await self.commit()
        self._watch(now, lag.total(), any(f.total for f in held))

    async def _watch_retention(self) -> None:
        """While the destination is away the stream may delete what it does not have yet: that is said at once."""
        for place, first in (await self._consumer.beginnings(self._places)).items():
            at = self._delivered[place]
            if at < first:
                self._say(Moved(*place, at, first, "deleted by retention before the destination had it"))

    async def commit(self) -> None:
        """Tell the group what is delivered: for monitors, for retention, and for destinations that keep no offsets."""
        new = {place: at for place, at in self._delivered.items() if self._committed.get(place) != at}
        if new:
            await self._consumer.commit(new)
            self._committed |= new

    def _watch(self, now: float, lag: int, held: bool) -> None:
        """A buffer that does not drain although nothing is wrong (FIELD A2)."""
        if self._task is None or lag == 0 or held:
            self._moved_on_at = now
        elif now - self._moved_on_at > self._config.write_timeout:
            raise StreamLost(f"{lag} records wait in the stream, but it gave none for {now - self._moved_on_at:.0f} s")
