"""Runs one protocol adapter: connect with back-off, read, encode, hand over to the local stream, tell the source when it is safe.

Two coroutines with a bounded queue between them: one reads and encodes, one sends, so that the next readings come in while the disk
works. Source away: DEGRADED, one BAD reading for each point, then silence. A fresh process has read nothing yet, so against a dead
source it says BAD once for each point, once for each start. Stream away: what is held is kept, reading stops when the bound is
reached, DEGRADED; both go on by themselves. Not responsible for the protocol (protocols/), the bytes (adapter_records.py), or for
exactly-once sending (stream/outbox.py).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt, stop_never
from tenacity.wait import wait_random_exponential

from actors import logs, refusals
from actors.adapter_causes import Since, reason, tell
from actors.adapter_hold import Held, Hold
from actors.adapter_log import TroubleLog
from actors.adapter_records import DEAD_LETTERS, RecordMaker
from actors.context import Context
from actors.io_actor import IoActor
from actors.surroundings import command
from protocols.contract import BadAnswer, BadConfig, Batch, Cause, Health, NotConnected
from protocols.load import make, placed, validated
from schemas.records import Classification
from stream.codec import SchemaIds
from stream.outbox import Outbox

TICK_S = 1.0
CLOSE_WITHIN_S = 5.0
FLUSH_WITHIN_S = 10.0
"""How long a stopping or crashing adapter waits for the stream to take what it holds."""
CONNECT_GRACE_S = 2.0
"""Added to `connect_timeout`: the protocol's own deadline has better words."""
NONSENSE_IN_A_ROW = 5
"""Bad answers after which reading pauses a little between them."""
NONSENSE_PAUSE_S = 0.1
ERRORS_KEPT = 1000
ASSETS_TOLD = 20
"""Most assets that are named when an adapter ends with readings unsent."""
OWN_COUNTERS = {
    "readings_total",
    "bytes_total",
    "bad_answers_total",
    "reconnects_total",
    "errors_total",
    "unchanged_total",
}
STREAM_STEP = "the source is not to blame; see what this says of the stream: "
POINTS_STEP = (
    "the connection stands; mend what is named here in the device, or in the gateway file and start the gateway again"
)
NO_LOG = "classification: LOG is for log lines; right would be TELEMETRY, EVENT or ALARM"


async def run(context: Context) -> None:
    """Work until stopped. Raises BadConfig for a configuration that can never work; any other exception is a crash as well."""
    worker = _Worker(context)
    reading = asyncio.create_task(worker.read(), name="read")
    sending = asyncio.create_task(worker.send(), name="send")
    reporting = asyncio.create_task(worker.report(), name="report")
    stopping = asyncio.create_task(context.stopping.wait(), name="stopping")
    context.ready()
    try:
        await asyncio.wait({reading, sending, reporting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        # In order: nothing new is read, what was read is sent, the source hears of it, only then it is left.
        await _ended(reading)
        await worker.flushed(sending)
    finally:
        for task in (reading, sending, reporting, stopping):
            await _ended(task)
        await worker.close()
    for task in (reading, sending, reporting):
        if task.done() and not task.cancelled():
            task.result()


async def _ended(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait({task}, timeout=CLOSE_WITHIN_S)


class _Worker:
    """One adapter's life."""

    def __init__(self, context: Context) -> None:
        given = context.config
        self._context = context
        self._config = validated(placed(given["adapter"], given["data_dir"]))
        self._adapter = make(self._config)
        if any(point.classification is Classification.LOG for point in self._adapter.points()):
            raise BadConfig(f"adapter {self._config.id}: {NO_LOG}")
        self._hold = Hold()
        self._outbox = Outbox(given["bootstrap"], f"adapter-{self._config.id}")
        ids = SchemaIds(Path(given["data_dir"]) / "schemas.json")
        identity = (self._config.id, self._adapter.version, given["gateway_id"])
        self._records = RecordMaker(identity, context.id, ids, given["partitions"], given.get("config_version"))
        self._away: str | None = "not connected yet"
        self._lost_told: str | None = None
        self._trouble_log, self._since = TroubleLog(), Since()
        self._advice: str | None = None
        self._unsent: str | None = None
        self._connects = 0
        self._errors: deque[float] = deque(maxlen=ERRORS_KEPT)
        self._last_reading: float | None = None

    async def read(self) -> None:
        """Sessions with the source, for ever. Raises NotConnected when the configured attempts are used up."""
        retry = self._config.retry
        while True:
            attempts = AsyncRetrying(
                retry=retry_if_exception_type(NotConnected),
                wait=wait_random_exponential(
                    multiplier=retry.first, max=retry.most, min=min(retry.first, retry.most) / 2
                ),
                stop=stop_after_attempt(retry.attempts) if retry.attempts else stop_never,
                before_sleep=self._backing_off,
                reraise=True,
            )
            await attempts(self._session)
            await asyncio.sleep(retry.first)

    async def _session(self) -> None:
        """Connect and read. Returns when a connection that had brought something is lost: back-off then begins anew."""
        brought = False
        try:
            await self._connect()
            async for batch in self._batches():
                if batch.readings:
                    brought = True
                    self._last_reading = batch.gateway_time / 1e6
                self._take(batch)
                await self._hold.room()
        except NotConnected as gone:
            await self._close_adapter()
            self._lost(str(gone), gone.next_step)
            if not brought:
                raise

    async def _connect(self) -> None:
        limit = self._config.connect_timeout + CONNECT_GRACE_S
        try:
            async with asyncio.timeout(limit):
                await self._adapter.connect()
        except TimeoutError:
            raise NotConnected(f"no connection within {limit:g} s") from None
        self._connects += 1
        if self._connects > 1:
            self._context.count("reconnects_total")
        self._away = self._lost_told = None
        self._context.facts["next_try_in_s"] = None
        self._tell()
        logs.get().info("connected", adapter=self._config.id)

    async def _batches(self) -> AsyncIterator[Batch]:
        """What the adapter reads, bad answers passed over. Raises NotConnected."""
        nonsense = 0
        while True:
            try:
                batch = await self._adapter.read()
            except BadAnswer as wrong:
                nonsense += 1
                self._error("bad_answers_total", str(wrong))
                await asyncio.sleep(NONSENSE_PAUSE_S if nonsense > NONSENSE_IN_A_ROW else 0)
            else:
                nonsense = 0
                yield batch

    def _take(self, batch: Batch) -> None:
        """Encode a batch and hold it until the stream has it."""
        encoded = self._records.encode(batch)
        count = self._context.count
        count("readings_total", encoded.readings)
        count("unchanged_total", encoded.unchanged)
        if (last := encoded.last_reject) is not None:
            refusals.note(self._context, DEAD_LETTERS, last.rule, last.reason, last.asset, last.parameter)
        for rule, n in encoded.rejects.items():
            count(f'rejects_total{{rule="{rule}"}}', n)
            self._errors.extend([time.monotonic()] * min(n, ERRORS_KEPT))
        size = encoded.size
        count("bytes_total", size)
        self._hold.add(Held(encoded.parcels, encoded.readings, size, batch.gateway_time, batch.delivered))

    def _lost(self, why: str, next_step: str | None) -> None:
        """Each point says BAD once; the record maker knows which have said it."""
        self._away, self._advice = why, next_step
        self._error("errors_total", why)
        batch = self._records.lost(self._adapter.points(), f"source lost: {why}", time.time_ns() // 1000)
        if batch.readings or why != self._lost_told:  # names made of topics are no points before the first message
            logs.get().warning("source lost", adapter=self._config.id, reason=why, points=len(batch.readings))
            self._lost_told = why
        if batch.readings:
            self._take(batch)
        self._tell()

    def _backing_off(self, state: RetryCallState) -> None:
        pause = state.next_action.sleep if state.next_action else 0
        self._context.facts["next_try_in_s"] = round(pause, 1)

    async def send(self) -> None:
        """Hand over what is held, for ever."""
        while True:
            taken = await self._hold.take()
            started = time.monotonic()
            too_large = await self._outbox.send([parcel for held in taken for parcel in held.parcels])
            if too_large:
                now = time.time_ns() // 1000
                self._context.count('rejects_total{rule="too_large"}', len(too_large))
                refusals.note(self._context, DEAD_LETTERS, "too_large", too_large[-1].reason, None, None)
                await self._outbox.send([self._records.refused(r.parcel, r.reason, now) for r in too_large])
            self._context.gauge("ack_latency_ms", (time.monotonic() - started) * 1000)
            for held in taken:
                held.delivered()
            self._hold.done(taken)

    async def flushed(self, sending: asyncio.Task[None]) -> None:
        """Wait until the stream has everything, or can be expected not to take it in time: that is counted and said."""
        empty = asyncio.create_task(self._hold.empty())
        try:
            await asyncio.wait({empty, sending}, timeout=FLUSH_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not empty.done():
                empty.cancel()
                self._say_unsent()

    def _say_unsent(self) -> None:
        """In the log, and in the last words to the supervisor: what the source does not repeat is lost."""
        readings, assets = self._hold.readings, self._hold.by_asset()
        named = [f"{asset} ({n})" for asset, n in list(assets.items())[:ASSETS_TOLD]]
        named += [f"{len(assets) - ASSETS_TOLD} more assets"] if len(assets) > ASSETS_TOLD else []
        self._unsent = (
            f"it ended with {readings} readings that the stream had not taken within {FLUSH_WITHIN_S:g} s: "
            f"{', '.join(named)}. What the source does not send again is lost"
        )
        self._context.count("unsent_at_stop_total", readings)
        self._context.facts["unsent_at_stop"] = dict(list(assets.items())[:ASSETS_TOLD])
        logs.get().error(
            "left before the stream had everything",
            adapter=self._config.id, readings=readings, assets=", ".join(named), reason=self._outbox.trouble,
        )  # fmt: skip
        self._tell()

    async def close(self) -> None:
        await self._close_adapter()
        await self._outbox.stop(CLOSE_WITHIN_S)

    async def _close_adapter(self) -> None:
        """A peer that is gone must not hold us: what does not close in time is left behind."""
        try:
            async with asyncio.timeout(CLOSE_WITHIN_S):
                await self._adapter.close()
        except TimeoutError:
            logs.get().warning("did not close in time", adapter=self._config.id, within_s=CLOSE_WITHIN_S)

    async def report(self) -> None:
        """Rates, fill and health, once a second."""
        before, then = 0.0, time.monotonic()
        while True:
            await asyncio.sleep(TICK_S)
            total, now = self._context.counters.get("readings_total", 0), time.monotonic()
            self._context.gauge("readings_per_second", round((total - before) / (now - then), 3))
            before, then = total, now
            self._tell()

    def _tell(self) -> None:
        """The health page's view (SPEC section 5)."""
        context, hold = self._context, self._hold
        own = self._adapter.health()
        context.counters |= {name: n for name, n in own.counters.items() if name not in OWN_COUNTERS}
        context.gauge("queue_readings", hold.readings)
        context.gauge("queue_fill", round(hold.fill, 4))
        recent = time.monotonic() - 60
        context.gauge("errors_last_minute", sum(at > recent for at in self._errors))
        context.facts |= {
            "protocol": context.config["adapter"]["protocol"],
            "connected": self._away is None,
            "stream": self._outbox.trouble or "ok",
            "last_reading_at": _iso(self._last_reading),
        }
        if not self._away and self._trouble_log.due(time.monotonic(), [cause.said for cause in own.causes]):
            self._log_trouble(own)
        told = [replace(cause, next_step=cause.next_step or POINTS_STEP) for cause in own.causes]
        # Without the source nothing comes anyway.
        tell(context, self._since, [*self._own_causes(), *([] if self._away else told)], time.time())

    def _own_causes(self) -> Iterator[Cause]:
        """What keeps readings from coming or going, whatever the protocol."""
        hold, stream_step = self._hold, STREAM_STEP + command("status")
        if self._away:
            yield Cause(f"source: {self._away}", next_step=self._advice)
        if self._outbox.trouble:
            yield Cause(self._outbox.trouble, next_step=stream_step)
        if hold.full:
            said = f"holds {hold.readings} readings, reading has stopped until the stream takes them"
            yield Cause(said, next_step=stream_step)
        if self._unsent:
            yield Cause(self._unsent)

    def _log_trouble(self, own: Health) -> None:
        if own.degraded:
            logs.get().warning("not everything can be read", adapter=self._config.id, reason=reason(own.causes))
        else:
            logs.get().info("everything can be read again", adapter=self._config.id)

    def _error(self, counter: str, words: str) -> None:
        self._context.count(counter)
        self._errors.append(time.monotonic())
        self._context.facts["last_error"] = words


def _iso(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


class AdapterActor(IoActor):
    main = staticmethod(run)
