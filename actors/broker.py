"""The broker actor: owns the JVM of the gateway's own Kafka, or, with `stream.bootstrap`, only sees that the named cluster answers.

It claims the data, starts the broker (safely after a stop that was not orderly), watches it, and stops it in order. A broker that does not
start, for want of disk, port, Java or whole data, is said and tried again and again: a new actor would find the same, and a gateway that
gives up over it would lose what its adapters hold meanwhile. A broker that ends later ends this actor, with a reason in words. How each of
these is done stands in stream/broker/.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from pathlib import Path
from typing import Any

import psutil
import structlog

from actors.context import Context, Status
from actors.io_actor import IoActor
from schemas.gateway import StreamConfig
from stream.broker import aot as broker_aot
from stream.broker import java as broker_java
from stream.broker.claim import Claim, Claimed
from stream.broker.data import DataError, in_words
from stream.broker.run import Broker, BrokerDied, Started
from stream.broker.settings import STRAY, SWALLOWED, Place
from stream.broker.transactions import Watch, settle
from stream.broker.wire import answers, silence
from stream.parts import KAFKA_VERSION, Jars, PartsError, parts_directory, ready_jars

ASK_EVERY_S = 3.0
ASK_WITHIN_S = 5.0
SILENT_S = 30.0
"""A broker that answered nobody for so long is killed. A slow disk or a pause of ten seconds is not a reason."""
MEASURE_EVERY_S = 10.0
LOOK_EVERY_S = 5.0
STUCK_S = 120.0
SETTLE_WITHIN_S = 3.0
STOP_WITHIN_S = 17.0
"""Below the supervisor's 30 s (supervisors/tree.py), less the quarter that io_actor keeps for the end."""

EXTERNAL_STEP = "start that cluster, or correct `stream.bootstrap`; its listener must be plain, without TLS and without a login. StreamForge goes on by itself"

AGAIN_S = (1.0, 15.0)
"""Pause before a start is tried again: it doubles, with jitter."""
START_STEP = "put this right; StreamForge looks again by itself, and what reads machines holds on meanwhile"

log = structlog.get_logger()


class NotStarted(Exception):
    """The broker ended before it answered; the message says why."""


class Problems:
    """What is wrong at the moment, by kind; together they are the actor's health."""

    def __init__(self, context: Context, next_step: str | None = None) -> None:
        self._context, self._next_step = context, next_step
        self._now: dict[str, str] = {}

    def set(self, kind: str, words: str | None) -> None:
        if words is None:
            self._now.pop(kind, None)
        else:
            if kind not in self._now:
                log.warning("broker_problem", kind=kind, words=words)
            self._now[kind] = words
        if self._now:
            self._context.health(Status.DEGRADED, "; ".join(self._now.values()), self._next_step)
        else:
            self._context.health(Status.HEALTHY)


async def run(context: Context) -> None:
    """Until `stopping`. BrokerDied says in words why the broker ended that had started."""
    stream = StreamConfig.model_validate(context.config["stream"])
    if stream.bootstrap is not None:
        await _watch_external(context, stream.bootstrap)
        return
    pause, most = AGAIN_S
    while not context.stopping.is_set():
        try:
            await _claimed(context, stream, Place(Path(context.config["data_dir"]) / "stream", stream.port))
        except (PartsError, DataError, Claimed, NotStarted) as wrong:
            _say_not_started(context, str(wrong))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause * random.uniform(0.8, 1.2)):  # noqa: S311 - jitter
                    await context.stopping.wait()
            pause = min(2 * pause, most)


def _say_not_started(context: Context, why: str) -> None:
    context.count("broker_failed_starts_total")
    if why != context.reason:
        log.warning("broker_not_started", reason=why)
    context.health(Status.UNHEALTHY, why, START_STEP)


async def _claimed(context: Context, stream: StreamConfig, place: Place) -> None:
    """One life of the broker, with the data claimed for it."""
    try:
        claim = await Claim.take(place.root)
        try:
            await _run_own(context, stream, place, claim)
        finally:
            claim.release()
    except OSError as error:
        words = in_words(error, place.root)
        if words is None:
            raise
        raise words from error


async def _run_own(context: Context, stream: StreamConfig, place: Place, claim: Claim) -> None:
    problems = Problems(context)
    java, jars = await asyncio.to_thread(_parts, stream.java)
    broker = Broker(
        place, java, jars, broker_aot.usable(java, jars, parts_directory()),
        durability=stream.durability, heap=stream.heap, stop_within_s=STOP_WITHIN_S,
        inherit=[claim.descriptor], on_pid=claim.write, on_line=lambda line: _on_line(context, problems, line),
    )  # fmt: skip
    stopping = asyncio.create_task(context.stopping.wait())
    try:
        starting = asyncio.create_task(broker.start())
        await asyncio.wait({stopping, starting}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.wait({starting})
            return
        _report_start(context, broker, _started(starting), java.feature)
        await _watch(context, problems, broker, stopping)
        context.facts["stopped_in_order"] = await _stop(broker)
    finally:
        stopping.cancel()
        await broker.kill()


def _started(starting: asyncio.Task[Started]) -> Started:
    try:
        return starting.result()
    except BrokerDied as died:
        raise NotStarted(str(died)) from died


async def _stop(broker: Broker) -> bool:
    """In order, once no transaction is open. With one open a kill is the safer end: the safe start that follows it loses nothing."""
    try:
        left = await settle("127.0.0.1", broker.place.port, SETTLE_WITHIN_S)
    except (OSError, EOFError) as error:
        log.warning("broker_does_not_settle", error=str(error))
        return await broker.stop()
    if left:
        log.warning("broker_killed_with_open_transactions", open=[f"{one.topic}-{one.partition}" for one in left[:10]])
        await broker.kill()
        return False
    return await broker.stop()


async def _watch(context: Context, problems: Problems, broker: Broker, stopping: asyncio.Task[Any]) -> None:
    """Return when `stopping` is done; raise why the broker is of no use any more."""
    assert broker.child
    watches = [
        asyncio.create_task(_answering(context, problems, broker)),
        asyncio.create_task(_measured(context, broker)),
        asyncio.create_task(_transactions(context, problems, broker.place)),
    ]
    try:
        done, _ = await asyncio.wait({*watches, stopping, broker.child.exited}, return_when=asyncio.FIRST_COMPLETED)
        for task in watches:
            if task in done:
                task.result()
        if stopping not in done:
            raise broker.death()
    finally:
        for task in watches:
            task.cancel()
        await asyncio.gather(*watches, return_exceptions=True)


def _parts(configured_java: str | None) -> tuple[broker_java.Java, Jars]:
    return broker_java.find(configured_java), ready_jars()


def _report_start(context: Context, broker: Broker, started: Started, java: int) -> None:
    context.facts.update(
        version=KAFKA_VERSION, java=java, pid=broker.pid, port=broker.place.port, started_in_s=round(started.seconds, 2),
        safe_start=started.safe_start_s is not None, repaired=list(started.repaired),
    )  # fmt: skip
    if started.safe_start_s is not None:
        context.count("broker_safe_starts_total")
        context.facts["safe_start_s"] = round(started.safe_start_s, 2)
    for what in started.repaired:
        context.count("broker_files_repaired_total")
        log.warning("broker_file_repaired", what=what)
    if context.status is Status.UNHEALTHY:
        context.health(Status.HEALTHY)
    context.ready()


def _on_line(context: Context, problems: Problems, line: str) -> None:
    """One line of the broker's console: warnings, errors and those named in broker_settings."""
    level = line.split(" ", 1)[0]
    if level in ("WARN", "ERROR", "FATAL"):
        context.count(f'broker_log_lines_total{{level="{level}"}}')
    if SWALLOWED in line:
        context.count("broker_markers_swallowed_total")
        problems.set(
            "swallowed",
            f"Kafka dropped the end of a transaction: readings may appear twice or stay hidden. Please report this line: {line[:300]}",
        )

    if STRAY in line:
        context.count("broker_stray_logs_total")
        problems.set(
            "stray", f"Kafka does not know a topic any more and set its data aside, nothing is deleted: {line[:300]}"
        )


async def _answering(context: Context, problems: Problems, broker: Broker) -> None:
    """Ask every few seconds; kill a broker that is silent for too long."""
    heard = time.monotonic()
    while True:
        await asyncio.sleep(ASK_EVERY_S)
        asked = time.monotonic()
        problem = await answers("127.0.0.1", broker.place.port, ASK_WITHIN_S)
        if problem is None:
            heard = time.monotonic()
            context.gauge("broker_answer_seconds", heard - asked)
            problems.set("silent", None)
            continue
        context.count("broker_missed_answers_total")
        silent = time.monotonic() - heard
        problems.set("silent", f"the broker (pid {broker.pid}) has not answered for {silent:.0f} s: {problem}")
        if silent > SILENT_S:
            # Killed only after this has become the reason: else its end by SIGKILL would be.
            raise BrokerDied(f"The broker had not answered for {silent:.0f} s ({problem}) and is killed")


async def _measured(context: Context, broker: Broker) -> None:
    """Disk and memory, for the page and the disk guard."""
    while True:
        used = await asyncio.to_thread(disk_bytes, broker.place.data)
        context.gauge("broker_disk_bytes", used)
        with contextlib.suppress(psutil.Error):
            context.gauge("broker_rss_bytes", psutil.Process(broker.pid).memory_info().rss)
        await asyncio.sleep(MEASURE_EVERY_S)


def disk_bytes(directory: Path) -> int:
    """What the files really take (index files are mostly holes). Files that vanish meanwhile count nothing."""
    total = 0
    for parent, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.stat(f"{parent}/{name}").st_blocks * 512  # noqa: PTH116 - a thousand files, no Path for each
    return total


async def _transactions(context: Context, problems: Problems, place: Place) -> None:
    """End transactions nobody owns; say so when one stays open."""
    watch = Watch("127.0.0.1", place.port)
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        try:
            ended = await watch.look()
        except (OSError, TimeoutError, EOFError):
            continue  # the question whether the broker answers is asked elsewhere
        context.gauge("broker_open_transactions", watch.open_now)
        for one in ended:
            context.count("broker_transactions_resolved_total")
            context.facts["last_resolved_transaction"] = one.why
            log.warning("broker_transaction_resolved", how=type(one).__name__, why=one.why)
        oldest = watch.oldest()
        stuck = oldest if oldest and oldest[1] > STUCK_S else None
        problems.set(
            "stuck",
            stuck
            and f"a transaction has been open for {stuck[1]:.0f} s and holds back readers of {stuck[0].topic} partition {stuck[0].partition}",
        )


async def _watch_external(context: Context, bootstrap: str) -> None:
    """The named cluster is its operator's business; here it is only said whether one of its addresses answers."""
    problems = Problems(context, EXTERNAL_STEP)
    context.facts.update(bootstrap=bootstrap, external=True)
    stopping = asyncio.create_task(context.stopping.wait())
    first = True
    while not context.stopping.is_set():
        wrong = await silence(bootstrap, ASK_WITHIN_S)
        problems.set("away", wrong)
        if wrong:
            context.count("broker_missed_answers_total")
        elif first:
            first = False
            context.ready()
        await asyncio.wait({stopping}, timeout=ASK_EVERY_S)


class BrokerActor(IoActor):
    main = staticmethod(run)
