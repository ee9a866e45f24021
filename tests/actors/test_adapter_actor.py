"""The adapter actor between a real source and a real broker: what is read arrives, once, and the source hears of it only then."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager, suppress

import pytest

import protocols
from actors import adapter as actor
from actors.adapter_hold import Hold
from actors.context import Context, Status
from actors.topics import ensure
from protocols.contract import BadConfig, NotConnected
from schemas.records import Quality
from stream.codec import Codec, SchemaIds
from stream.consumer import StreamConsumer
from stream.partitions import Partitioner
from tests.kit.kafka_server import make
from tests.kit.line_protocol import LineServer
from tests.kit.waiting import until

SAYS_EVERY_S = 0.002
TOPICS = ("telemetry.raw", "events.raw", "alarms.raw", "dlq.telemetry")


@pytest.fixture(autouse=True)
def lines(monkeypatch):
    monkeypatch.setitem(protocols.ADAPTERS, "lines", "tests.kit.line_protocol:LineAdapter")
    monkeypatch.setitem(protocols.CONFIGS, "lines", "tests.kit.line_protocol:LineConfig")
    monkeypatch.setattr(actor, "TICK_S", 0.1)


@pytest.fixture
async def server():
    server = await LineServer().start()
    yield server
    await server.stop()


@pytest.fixture
def asset(unique):
    return unique("press")


@pytest.fixture
def context(kafka, server, asset, tmp_path):
    return context_for(kafka, server.port, asset, tmp_path)


def context_for(bootstrap, server_port, asset, data_dir, **adapter):
    points = [
        {"parameter": "force", "asset": asset, "unit": "kN"},
        {"parameter": "door", "asset": asset, "classification": "EVENT"},
        {"parameter": "smoke", "asset": asset, "classification": "ALARM"},
    ]
    retry = {"first": "50ms", "most": "200ms"}
    config = {"id": "plc", "protocol": "lines", "port": server_port, "points": points, "retry": retry, **adapter}
    common = {
        "gateway_id": "g1",
        "data_dir": str(data_dir),
        "bootstrap": bootstrap,
        "partitions": 12,
        "config_version": "v1",
    }
    return Context("data_path/adapters/plc", {**common, "adapter": config})


class Seen:
    """What came to the topics of one asset since the beginning of a test."""

    def __init__(self, bootstrap: str, asset: str) -> None:
        self._places = [(topic, Partitioner(12)(asset.encode())) for topic in TOPICS]
        self._reader, self._codec, self._asset = StreamConsumer(bootstrap, "seen"), Codec(SchemaIds()), asset
        self.rows: list[tuple] = []
        self.letters: list[dict] = []

    async def open(self, *, whole: bool = False):
        """From now on, or the whole log."""
        await self._reader.start()
        ends = await self._reader.ends(self._places)
        self._reader.assign(dict.fromkeys(ends, 0) if whole else ends)
        return self

    async def until(self, true, within_s: float = 30) -> list[tuple]:
        async with asyncio.timeout(within_s):
            while not true():
                for (topic, partition), found in (await self._reader.poll(5000, wait_s=0.2)).items():
                    self._take(topic, self._codec.decode(topic, partition, found))
        return self.rows

    def _take(self, topic, decoded):
        self.letters += [d.fields for d in decoded.documents if d.fields["asset_id"] in (self._asset, None)]
        for records in decoded.records:
            for row in range(len(records)):
                series = records.table[records.series[row]]
                if series.asset == self._asset:
                    status = Quality(records.quality[row]).name
                    self.rows.append((topic, series.parameter, records.value(row), status, records.reason.get(row)))

    async def close(self):
        await self._reader.stop()


@pytest.fixture
async def seen(kafka, asset):
    made = await Seen(kafka, asset).open()
    yield made
    await made.close()


@asynccontextmanager
async def running(context):
    task = asyncio.create_task(actor.run(context))
    try:
        yield task
        context.stopping.set()
        await asyncio.wait_for(task, 30)
    finally:
        task.cancel()
        with suppress(BaseException):
            await task


async def test_readings_go_to_the_stream_and_the_source_hears_of_it(context, server, seen, asset):
    async with running(context):
        await server.say((asset, "force", 1.5, "GOOD"), (asset, "door", True, "GOOD"), (asset, "smoke", False, "GOOD"))
        await server.say((asset, "force", 2.5, "UNCERTAIN"), (asset, "door", True, "GOOD"))
        rows = await seen.until(lambda: len(seen.rows) == 4)
        await until(lambda: server.answered == [1, 2])
        await until(lambda: context.facts.get("last_reading_at") and "readings_per_second" in context.gauges)
    assert sorted(rows) == [
        ("alarms.raw", "smoke", False, "GOOD", None),
        ("events.raw", "door", True, "GOOD", None),
        ("telemetry.raw", "force", 1.5, "GOOD", None),
        ("telemetry.raw", "force", 2.5, "UNCERTAIN", "as told"),
    ]
    assert context.counters["readings_total"] == 4
    assert context.counters["lines_total"] == 1, "the adapter's own counters are shown"
    assert (context.facts["stream"], context.facts["connected"]) == ("ok", True)
    assert context.facts["last_reading_at"].endswith("+00:00")
    assert {"ack_latency_ms", "queue_fill", "queue_readings", "errors_last_minute"} <= context.gauges.keys()


async def test_a_lost_source_is_bad_once_and_comes_back_by_itself(context, server, seen, asset):
    async with running(context):
        await server.say((asset, "force", 1.5, "GOOD"), (asset, "door", None, "BAD"))
        await seen.until(lambda: len(seen.rows) == 2)
        await server.stop()
        await until(lambda: context.status is Status.DEGRADED and context.counters.get("errors_total", 0) > 4)
        assert "source: " in context.reason
        await server.start()
        await server.say((asset, "force", 3.5, "GOOD"))
        rows = await seen.until(lambda: any(row[2] == 3.5 for row in seen.rows))
        await until(lambda: context.status is Status.HEALTHY)
    why = "source lost: the server closed the connection"
    assert sorted(rows[2:], key=str) == [
        ("alarms.raw", "smoke", None, "BAD", why),
        ("telemetry.raw", "force", 3.5, "GOOD", None),
        ("telemetry.raw", "force", None, "BAD", f"{why} (before: GOOD)"),
    ]
    assert context.counters["reconnects_total"] == 1


async def test_a_source_that_is_away_at_the_start_is_normal(context, server, seen):
    await server.stop()
    async with running(context):
        rows = await seen.until(lambda: len(seen.rows) == 3)
        await until(lambda: context.counters.get("errors_total", 0) >= 3)
        assert context.status is Status.DEGRADED
    assert {row[3] for row in rows} == {"BAD"}
    assert len(await seen.until(lambda: True)) == 3


async def test_attempts_are_limited_when_configured(kafka, asset, tmp_path, server):
    await server.stop()
    context = context_for(kafka, server.port, asset, tmp_path, retry={"first": "10ms", "most": "20ms", "attempts": 3})
    with pytest.raises(NotConnected):
        await asyncio.wait_for(actor.run(context), 30)
    assert context.counters["errors_total"] == 3


async def test_nonsense_is_counted_and_read_past(context, server, seen, asset):
    async with running(context):
        for n in range(10):
            await server.say(bad=f"nonsense {n}")
        await server.say((asset, "force", 1.5, "GOOD"))
        await seen.until(lambda: len(seen.rows) == 1)
        await until(lambda: context.gauges["errors_last_minute"] == 10)
    assert context.counters["bad_answers_total"] == 10
    assert context.facts["last_error"] == "nonsense 9"


async def test_what_cannot_be_a_reading_is_a_dead_letter_and_acknowledged_too(context, server, seen, asset):
    async with running(context):
        await server.say((asset, "force", 2**63, "GOOD"), (asset, "force", 4.5, "GOOD"), reject="no number")
        await seen.until(lambda: seen.letters and seen.rows)
        await until(lambda: server.answered == [1])
    assert [row[2] for row in seen.rows] == [4.5]
    assert context.counters['rejects_total{rule="payload"}'] == context.counters['rejects_total{rule="encode"}'] == 1


async def test_anything_else_crashes_after_what_was_read_is_safe(context, server, seen, asset):
    task = asyncio.create_task(actor.run(context))
    await server.say((asset, "force", 1.5, "GOOD"))
    await server.say(crash="the decoder is broken")
    with pytest.raises(RuntimeError, match="decoder is broken"):
        await asyncio.wait_for(task, 30)
    assert await seen.until(lambda: len(seen.rows) == 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"port": 1}, "never a line server"), ({"port": "x"}, "port"), ({"protocol": "smoke"}, "not known"),
     ({"points": [{"parameter": "a", "asset": "b", "classification": "LOG"}]}, "LOG is for log lines")],
)  # fmt: skip
async def test_what_can_never_work_says_so(kafka, asset, tmp_path, server, change, words):
    context = context_for(kafka, server.port, asset, tmp_path, **change)
    with pytest.raises(BadConfig, match=words):
        await asyncio.wait_for(actor.run(context), 30)


async def test_stopping_sends_what_was_read_and_tells_the_source_before_it_leaves(context, server, seen, asset):
    async with running(context):
        for n in range(50):
            await server.say((asset, "force", float(n), "GOOD"))
        await until(lambda: context.counters.get("readings_total", 0) >= 50)
    assert server.answered == list(range(1, 51))
    assert len(await seen.until(lambda: len(seen.rows) == 50)) == 50
    assert "unsent_at_stop_total" not in context.counters


async def test_a_stop_without_a_stream_ends_and_says_what_it_leaves(asset, tmp_path, server, monkeypatch):
    monkeypatch.setattr(actor, "FLUSH_WITHIN_S", 0.3)
    context = context_for("127.0.0.1:9", server.port, asset, tmp_path)
    async with running(context):
        await server.say((asset, "force", 1.5, "GOOD"), (asset, "door", True, "GOOD"))
        await until(lambda: "does not answer since" in (context.reason or ""))
        assert context.facts["stream"] != "ok"
    assert context.counters["unsent_at_stop_total"] == 2
    assert context.facts["unsent_at_stop"] == {asset: 2}
    assert f"it ended with 2 readings that the stream had not taken within 0.3 s: {asset} (2)" in context.reason
    assert server.answered == []


async def test_a_full_hold_stops_reading_and_says_so(asset, tmp_path, server, monkeypatch):
    monkeypatch.setattr(actor, "Hold", lambda: Hold(readings_max=10))
    monkeypatch.setattr(actor, "FLUSH_WITHIN_S", 0.1)
    context = context_for("127.0.0.1:9", server.port, asset, tmp_path)
    async with running(context):
        for n in range(30):
            await server.say((asset, "force", float(n), "GOOD"))
        await until(lambda: "reading has stopped" in (context.reason or ""))
        assert context.counters["readings_total"] == 10
        assert context.gauges["queue_fill"] == 1


async def test_a_broker_killed_under_a_reading_adapter_loses_and_doubles_nothing(tmp_path, asset, server):
    """Readings without a device time: nothing downstream could tell a double."""
    broker = make(tmp_path / "stream", durability="synced")
    await broker.start()
    bootstrap = broker.place.bootstrap
    await ensure(bootstrap, 2**30, 12)
    context = context_for(bootstrap, server.port, asset, tmp_path)
    said, enough = 0, asyncio.Event()
    try:
        async with running(context) as task:

            async def say_on() -> None:
                nonlocal said
                while not (task.done() or enough.is_set()):
                    await server.say((asset, "force", float(said), "GOOD"))
                    said += 1
                    await asyncio.sleep(SAYS_EVERY_S)

            saying = asyncio.create_task(say_on())
            await until(lambda: len(server.answered) > 100)
            broker.child.kill()
            await broker.child.exited
            await until(lambda: context.status is Status.DEGRADED)
            assert "the local stream does not answer since" in context.reason
            broker = make(tmp_path / "stream", broker.place.port, durability="synced")
            await broker.start()
            await until(lambda: context.status is Status.HEALTHY, 60)
            enough.set()
            await saying
            await until(lambda: len(server.answered) == said)
        seen = await Seen(bootstrap, asset).open(whole=True)
        await seen.until(lambda: len(seen.rows) >= said, within_s=60)
        await seen.close()
        assert Counter(row[2] for row in seen.rows) == Counter(map(float, range(said)))
    finally:
        await broker.kill()
