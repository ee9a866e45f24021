"""Nothing old is stamped as new: retained, queued, held back and redelivered messages have no device time."""

from __future__ import annotations

import asyncio

import pytest

from protocols.mqtt import freshness
from protocols.mqtt.freshness import AWAY, SLOW
from schemas.records import Quality
from tests.kit.mosquitto import publishing
from tests.kit.waiting import until
from tests.protocols.mqtt_kit import RAW, VERSIONS, adapter, collect, connected, read, silence


@VERSIONS
async def test_retained_values_come_once_and_uncertain(mosquitto, version):
    """QoS 0, so that the broker repeats them with each subscription in both versions."""
    broker = mosquitto()
    sender = mosquitto.publisher(broker)
    await asyncio.to_thread(sender.send, "t/a", "1", retain=True)
    async with connected(broker.port, {**RAW, "qos": 0, "time": "arrival"}, version=version) as one:
        batch = await read(one)
        assert [(reading.value, reading.status, reading.device_time) for reading in batch.readings] == [
            (1, Quality.UNCERTAIN, None)
        ]
        assert "retained" in batch.readings[0].reason
        batch.delivered()
        await one.close()
        await one.connect()
        await silence(one)
        assert one.health().counters["retained_repeated_total"] == 1
        await trusted(one)
        await asyncio.to_thread(sender.send, "t/a", "1")
        batch = await read(one)
        assert batch.readings[0].status == Quality.GOOD
        assert batch.readings[0].device_time == batch.gateway_time


async def test_messages_that_come_together_have_each_their_own_moment(mosquitto):
    """A hundred in a few packets of TCP: with one time for all of them a database would keep the last only."""
    broker = mosquitto()
    sender = mosquitto.publisher(broker)
    async with connected(broker.port, {**RAW, "qos": 0, "time": "arrival"}) as one:
        await trusted(one)
        await asyncio.to_thread(lambda: [sender.send("t/a", str(n)) for n in range(100)])
        readings, _ = await collect(one, lambda found, _: len(found) >= 100)
    times = [reading.device_time for reading in readings]
    assert times == sorted(set(times))


async def trusted(one):
    """The broker's queue was seen empty."""
    await until(lambda: one.connection.watch.doubt() is None)


def queued_for(mosquitto, version, qos=1, **more):
    """A broker, a publisher, and an adapter whose session the broker keeps."""
    broker = mosquitto(**more)
    arrival = {**RAW, "qos": qos, "time": "arrival"}
    return broker, mosquitto.publisher(broker), lambda **more: connected(broker.port, arrival, version=version, **more)


@VERSIONS
@pytest.mark.parametrize("qos", [1, 2])
async def test_what_the_broker_queued_while_we_were_away_is_not_stamped_as_new(mosquitto, version, qos):
    """More of them than the broker has in flight at once, so that they come in many turns."""
    lines = [] if qos == 1 else ["max_inflight_messages 0"]
    _, sender, session = queued_for(mosquitto, version, qos, lines=lines)
    async with session():
        pass
    await asyncio.to_thread(sender.send_many, [("t/a", str(n)) for n in range(200)], qos)
    async with session() as one:
        readings, _ = await collect(one, lambda found, _: len(found) >= 200)
        assert [reading.value for reading in readings] == list(range(200))
        assert {(reading.status, reading.device_time) for reading in readings} == {(Quality.UNCERTAIN, None)}
        assert {reading.reason for reading in readings} == {AWAY}
        await trusted(one)
        await asyncio.to_thread(sender.send, "t/a", "200", qos)
        batch = await read(one)
        assert [(r.status, r.device_time) for r in batch.readings] == [(Quality.GOOD, batch.gateway_time)]


async def test_the_first_connection_has_nothing_queued(mosquitto):
    _, sender, session = queued_for(mosquitto, "5")
    async with session() as one:
        await asyncio.to_thread(sender.send, "t/a", "1")
        batch = await read(one)
        assert [(r.status, r.device_time) for r in batch.readings] == [(Quality.GOOD, batch.gateway_time)]


@VERSIONS
async def test_what_waited_for_a_slow_stream_in_the_broker_is_not_stamped_as_new(mosquitto, version, monkeypatch):
    """The stream takes nothing for longer than a proof is good; what the broker could not send meanwhile is old."""
    monkeypatch.setattr(freshness, "TRUSTED_S", 1.0)
    monkeypatch.setattr(freshness, "TRUSTED_EVERY_S", 0.2)
    _, sender, session = queued_for(mosquitto, version, lines=["max_inflight_messages 1"])
    async with session(receive_maximum=1) as one:
        await asyncio.to_thread(sender.send_many, [("t/a", str(n)) for n in range(3)])
        first = await read(one)
        assert [r.status for r in first.readings] == [Quality.GOOD]
        await until(one.connection.watch.doubt)
        first.delivered()
        readings, _ = await collect(one, lambda found, _: len(found) >= 2)
        assert [(r.status, r.device_time, r.reason) for r in readings] == [(Quality.UNCERTAIN, None, SLOW)] * 2
        await trusted(one)


async def test_a_steady_flow_is_trusted_again_though_it_is_never_silent(mosquitto):
    broker, _, session = queued_for(mosquitto, "5")
    async with session():
        pass
    async with publishing(broker.port, "t/a", 0.005, qos=1), session() as one:
        readings, _ = await collect(one, lambda found, _: bool(found) and found[-1].status == Quality.GOOD)
        assert readings[0].reason == AWAY
        assert readings[-1].device_time


@VERSIONS
@pytest.mark.parametrize("time", [None, "arrival"])
async def test_what_a_killed_process_may_have_stored_is_marked_when_it_comes_again(mosquitto, version, time):
    """The stream had it, the broker did not hear so: nobody can tell the two readings apart, so the second says what it may be."""
    broker = mosquitto()
    sender = mosquitto.publisher(broker)
    first = adapter(broker.port, {**RAW, "time": time}, version=version)
    await first.connect()
    await asyncio.to_thread(sender.send, "t/a", "1")
    await read(first)
    first.connection.transport.abort()
    async with connected(broker.port, {**RAW, "time": time}, version=version) as second:
        (again,) = (await read(second)).readings
        assert (again.status, again.device_time) == (Quality.UNCERTAIN, None)
        assert "perhaps stored before" in again.reason
        assert second.health().counters["redelivered_total"] == 1


async def test_with_a_time_of_its_own_a_message_that_comes_again_is_the_same_reading(mosquitto):
    """Which the validator's duplicate rule then knows by asset, parameter and device time."""
    broker = mosquitto()
    sender = mosquitto.publisher(broker)
    timed = {
        "topic": "t/+",
        "mapping": "json",
        "asset": "x",
        "time": {"path": "$.t"},
        "points": [{"path": "$.v", "parameter": "v"}],
    }
    first = adapter(broker.port, timed)
    await first.connect()
    await asyncio.to_thread(sender.send, "t/a", '{"v": 1, "t": "2026-01-29T10:00:00Z"}')
    (original,) = (await read(first)).readings
    first.connection.transport.abort()
    async with connected(broker.port, timed) as second:
        (again,) = (await read(second)).readings
        assert again == original
        assert again.status == Quality.GOOD
