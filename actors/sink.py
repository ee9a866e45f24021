"""One sink: from the stream to a destination, each record once, whatever dies in between.

The order that makes it so: poison goes to the dead letters, then the batch to the destination together with the offsets, then what
the destination refused to the dead letters. After any failure the destination is asked what it has, and reading goes on from there.
Not responsible for how a destination is written (sinks/), or for what is read (sink_feed.py).
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import random
import re
import time
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import structlog

from actors import breaker
from actors.breaker import Breaker, State
from actors.context import Context, Status
from actors.io_actor import IoActor
from actors.sink_doubt import GivenDoubt
from actors.sink_feed import Feed, Filled
from actors.sink_figures import Latency
from actors.sink_letters import Letters
from actors.sink_stream import StreamAway
from actors.stage_doubt import Doubt
from actors.surroundings import command
from schemas.gateway import SinkConfig
from schemas.records import Poison
from sinks import CONFIGS, SINKS
from sinks.contract import NeedsPerson, NotConnected, Origin, RefusedRecord, Sink
from stream.cluster import cluster_id
from stream.codec import Codec, SchemaIds
from stream.consumer import OutOfRange, StreamConsumer
from stream.producer import RecordTooLarge, StreamLost

SPARE_S = 5.0
"""A destination keeps its own deadlines; so much later the caller gives up on it."""
IDLE_S = 1.0
SLOW_S = 10.0
"""A destination that has had a batch for so long is said to be slow, before its deadline is over."""
STREAM_PAUSE_S = (0.5, 5.0)
"""After the local stream was lost; grows, with jitter."""
REFUSED = "refused_by_sink"
SLOW_STEP = "see what the destination does meanwhile, and whether something there holds it up (a lock, a full disk, a dead line)"
STREAM_STEP = "the destination is not to blame; see what this says of the stream: "
PERSON_STEP = "put this right: what is changed at the destination is seen by itself; for a change of the gateway file start the gateway again"
LOGIN = re.compile("password|the user in `dsn`")
LOGIN_STEP = (
    "put this right: what is changed at the destination is seen by itself, a secret that is set anew here after: {restart}; "
    "for a change of the gateway file start the gateway again"
)

log = structlog.get_logger()
T = TypeVar("T")


async def run(context: Context) -> None:
    """Deliver until stopped. A stream or a destination that is away is waited for; anything else is a crash."""
    config, sink_class = _configured(context.config["sink"])
    gc.freeze()  # What is imported by now stays: else the collector looks through it all while thousands of records pass.
    context.facts |= {"type": config.type, "topics": config.topics}
    context.ready()
    lost, away = 0, StreamAway()
    while not context.stopping.is_set():
        began = time.monotonic()
        try:
            await _deliver(context, config, sink_class, away)
        except (StreamLost, OutOfRange, RecordTooLarge) as gone:
            lost = 1 if time.monotonic() - began > 60 else lost + 1
            pause = min(STREAM_PAUSE_S[0] * 2**lost, STREAM_PAUSE_S[1]) * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
            context.count("stream_lost_total")
            context.health(Status.DEGRADED, f"{gone}; tries again in {pause:.1f} s", STREAM_STEP + command("status"))
            away.lost(str(gone), pause)
            await _stopped_within(context, pause)


def _configured(given: dict[str, Any]) -> tuple[SinkConfig, Any]:
    """The validated configuration and the class of the sink, by its type."""
    config: SinkConfig = _find(CONFIGS[given["type"]]).model_validate(given)
    return config, _find(SINKS[config.type])


def _find(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


async def _deliver(context: Context, config: SinkConfig, sink_class: Any, away: StreamAway) -> None:
    """One life of the clients of the stream."""
    settings = context.config
    bootstrap, name, data_dir = settings["bootstrap"], f"sf-sink-{config.id}", Path(settings["data_dir"])
    codec = Codec(SchemaIds(data_dir / "schemas.json"))
    letters = Letters(context, bootstrap, name, codec, settings["partitions"])
    feed: Feed | None = None
    consumer = StreamConsumer(bootstrap, name, name, on_skip=lambda skipped: feed.skipped(skipped) if feed else None)
    doubt = Doubt(data_dir / "doubt" / f"sink-{config.id}")
    given = GivenDoubt(data_dir / "doubt" / f"sink-{config.id}-given")
    sink: Sink | None = None
    try:
        await letters.start()
        await consumer.start()
        origin = Origin(settings["gateway_id"], await cluster_id(bootstrap, name))
        if given.one_by_one:
            log.error(
                "sink_takes_records_one_by_one", reason="it ended more than once while it gave them to the destination"
            )
        feed = Feed(context, config, consumer, codec, doubt, given)
        sink = sink_class(config, origin)
        await Delivery(context, config, feed, letters, sink, away).work()
    finally:
        if feed is not None:
            await feed.end()
        if sink is not None:
            await sink.close()
        await asyncio.gather(consumer.stop(3), letters.stop())
        doubt.close()
        given.close()


async def _stopped_within(context: Context, seconds: float) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await context.stopping.wait()
    return context.stopping.is_set()


class Delivery:
    """Tries, writes, counts, and says how it goes."""

    def __init__(
        self, context: Context, config: SinkConfig, feed: Feed, letters: Letters, sink: Sink, away: StreamAway
    ) -> None:
        self._context, self._config, self._feed, self._letters, self._sink = context, config, feed, letters, sink
        self._stream_away = away
        self._latency = Latency(context)
        self._breaker = Breaker(config.breaker.failures, config.breaker.pause)
        self._failing_since = ""
        self._show()

    async def work(self) -> None:
        """Until stopped; a trial that hangs then is given up, a batch under way is finished. Raises StreamLost, and bugs."""
        while not self._context.stopping.is_set():
            if not breaker.may_try(self._breaker, time.monotonic()):
                left = self._breaker.next_trial_at - time.monotonic()
                await _stopped_within(self._context, min(left, IDLE_S))
                await self._feed.look()
                self._stream_away.back()
                continue
            self._breaker = breaker.trying(self._breaker, time.monotonic())
            self._show()
            try:
                await self._session()
            except NotConnected as away:
                self._failed(away)
            finally:
                await self._feed.end()
            await self._feed.commit()

    async def _session(self) -> None:
        """One connection to the destination, from connecting to the first failure or the end."""
        stored = await self._unless_stopping(self._in_time(self._sink.connect(), "connect"))
        if self._context.stopping.is_set():
            return
        self._context.count("connects_total")
        await self._send_refused(await self._in_time(self._sink.unsent(), "name its refused records"))
        await self._feed.locate(stored)
        self._feed.begin()
        while not self._context.stopping.is_set():
            filled = await self._unless_stopping(self._feed.take(IDLE_S))
            if filled is not None:
                await self._write(filled)
            elif not self._context.stopping.is_set():
                await self._in_time(self._sink.idle(), "answer while idle")
                self._succeeded()

    async def _unless_stopping(self, coroutine: Coroutine[Any, Any, T]) -> T | None:
        """What it returns or raises, or None when the worker is to stop first."""
        doing = asyncio.create_task(coroutine)
        stopping = asyncio.create_task(self._context.stopping.wait())
        try:
            await asyncio.wait({doing, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return doing.result() if doing.done() else None
        finally:
            stopping.cancel()
            if doing.cancel():
                await asyncio.wait({doing})

    async def _write(self, filled: Filled) -> None:
        await self._letters.send("poison", [_refused(poison) for poison in filled.poison])
        began = time.monotonic()
        slow = asyncio.get_running_loop().call_later(SLOW_S, self._slow)
        try:
            with self._feed.given.over(filled.spans):
                refused = await self._in_time(self._sink.write(filled.batch, filled.offsets), "write")
        except NotConnected:
            self._feed.most = max(1, min(filled.total, self._feed.most) // 2)
            raise
        finally:
            slow.cancel()
        self._context.gauge("write_ms", round((time.monotonic() - began) * 1000, 2))
        self._feed.confirmed(filled)
        self._feed.most = min(2 * self._feed.most, self._config.batch_records)
        self._count(filled, refused)
        self._succeeded()
        await self._send_refused(refused)

    async def _send_refused(self, refused: list[RefusedRecord]) -> None:
        if refused:
            await self._letters.send(REFUSED, refused)
            await self._in_time(self._sink.sent(refused), "forget dead letters")

    async def _in_time(self, coroutine: Coroutine[Any, Any, T], what: str) -> T:
        """A destination that keeps its own deadline is never cut off here; any other is."""
        limit = self._config.write_timeout + SPARE_S
        try:
            async with asyncio.timeout(limit):
                return await coroutine
        except TimeoutError:
            raise NotConnected(f"{self._config.id} did not {what} within {limit:g} s") from None

    # What is said about it.

    def _count(self, filled: Filled, refused: list[RefusedRecord]) -> None:
        context, now_us = self._context, time.time_ns() // 1000
        not_stored = Counter([r.topic for r in refused] + [p.topic for p in filled.poison])
        for topic, n in filled.counts.items():
            context.count(f'stored_total{{topic="{topic}"}}', n - not_stored[topic])
        context.count("batches_total")
        context.gauge("batch_records", filled.total)
        if filled.batch.readings:
            self._latency.stored(np.concatenate([r.gateway_time for r in filled.batch.readings]), now_us)
            self._latency.publish()
            context.facts["last_stored_at"] = round(now_us / 1e6, 3)

    def _slow(self) -> None:
        told = f"a batch was given to the destination {SLOW_S:g} s ago, and it has not answered yet; after {self._config.write_timeout:g} s it is tried anew, nothing is lost meanwhile"
        self._context.health(Status.DEGRADED, told, SLOW_STEP)

    def _succeeded(self) -> None:
        before, behind, silent = self._breaker, self._feed.pace.behind, self._feed.silence.words()
        if silent:
            self._context.health(Status.DEGRADED, silent, STREAM_STEP + command("status"))
        elif behind:
            self._context.health(Status.DEGRADED, str(behind), behind.next_step)
        else:
            self._context.health(Status.HEALTHY)
        if not silent:
            self._stream_away.back()
        if before.state is State.CLOSED and not before.failures:
            return
        self._breaker = breaker.succeeded(before, time.monotonic())
        self._show()
        if before.failures:
            log.info("sink_connected_again", after_failures=before.failures)

    def _failed(self, away: NotConnected) -> None:
        needs_person = isinstance(away, NeedsPerson)
        before = self._breaker
        self._breaker = breaker.failed(before, time.monotonic(), str(away), random.random(), at_once=needs_person)  # noqa: S311 - jitter
        opened = self._breaker.state is State.OPEN
        self._context.count("failures_total")
        if opened and before.state is State.CLOSED:
            self._context.count("breaker_opened_total")
        pause = self._breaker.next_trial_at - time.monotonic()
        if not before.failures:
            self._failing_since = time.strftime("%H:%M:%S")
        n = self._breaker.failures
        times = f"once, at {self._failing_since}" if n == 1 else f"{n} times in a row since {self._failing_since}"
        told = f"{away}; failed {times}, tries again in {pause:.1f} s"
        if opened:
            told += "; nothing is lost meanwhile, the stream keeps the records"
        step = LOGIN_STEP if LOGIN.search(str(away)) else PERSON_STEP
        step = step.format(restart=command(f"restart {self._config.id}"))
        next_step = away.next_step or (step if needs_person else None)
        self._context.health(Status.UNHEALTHY if opened else Status.DEGRADED, told, next_step)
        self._show()
        if before.state is self._breaker.state and before.reason == self._breaker.reason:
            return  # said already
        log.warning(
            "sink_failed",
            reason=str(away),
            failures=self._breaker.failures,
            breaker=str(self._breaker.state),
            pause_s=round(pause, 1),
        )

    def _show(self) -> None:
        """The breaker as a fact, its times by the wall clock."""
        one, wall = self._breaker, time.time() - time.monotonic()
        self._context.gauge("breaker_open", 0 if one.state is State.CLOSED else 1)
        self._context.facts["breaker"] = {
            "state": str(one.state),
            "failures": one.failures,
            "since": round(one.since + wall, 3) if one.since else None,
            "next_trial_at": round(one.next_trial_at + wall, 3) if one.next_trial_at else None,
            "reason": one.reason,
        }


def _refused(poison: Poison) -> RefusedRecord:
    return RefusedRecord(
        poison.topic, poison.partition, poison.offset, poison.wire, poison.reason, arrived=poison.arrived
    )


class SinkActor(IoActor):
    """The workers `data_path/sinks/<id>`."""

    main = staticmethod(run)
