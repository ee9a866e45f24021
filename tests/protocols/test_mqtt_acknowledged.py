"""Nothing is acknowledged to a real mosquitto before it is stored, nothing is lost in a kill, nothing that was stored is taken twice."""

from __future__ import annotations

import asyncio

import pytest

from protocols.contract import NotConnected
from tests.kit.waiting import until
from tests.protocols.mqtt_kit import RAW, VERSIONS, adapter, collect, connected, numbers, read, silence


@VERSIONS
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_messages_become_readings(mosquitto, version, qos):
    # Mosquitto 2.0.11 never sends the rest of a backlog of QoS 2 beyond its window, whoever subscribes: README.md.
    broker = mosquitto(lines=["max_inflight_messages 0"])
    sender = mosquitto.publisher(broker, five=version == "5")
    async with connected(broker.port, {**RAW, "qos": qos}, version=version) as one:
        await asyncio.to_thread(sender.send_many, [("t/press", str(n)) for n in range(50)], qos)
        readings, rejects = await collect(one, lambda found, _: len(found) >= 50)
        assert [reading.value for reading in readings] == list(range(50))
        assert {(reading.point.asset, reading.point.parameter) for reading in readings} == {("press", "value")}
        assert not rejects
        await silence(one, 0.1)


@VERSIONS
@pytest.mark.parametrize(("qos", "first"), [(1, "PUBACK"), (2, "PUBREC")])
async def test_the_broker_hears_nothing_before_the_stream_has_it(mosquitto, version, qos, first):
    broker = mosquitto()
    sender = mosquitto.publisher(broker)
    async with connected(broker.port, {**RAW, "qos": qos}, version=version) as one:
        await asyncio.to_thread(sender.send, "t/a", "1", qos)
        batch = await read(one)
        await silence(one, 0.3)
        assert f"Received {first} from streamforge-hall" not in broker.log()
        batch.delivered()
        await until(lambda: f"Received {first} from streamforge-hall" in broker.log())


@VERSIONS
async def test_with_one_message_in_flight_the_second_comes_after_the_first_is_stored(mosquitto, version):
    broker = mosquitto(lines=["max_inflight_messages 1"])
    sender = mosquitto.publisher(broker)
    async with connected(broker.port, version=version, receive_maximum=1) as one:
        await asyncio.to_thread(sender.send_many, [("t/a", "1"), ("t/a", "2"), ("t/a", "3")])
        for expected in (1, 2, 3):
            batch = await read(one)
            assert [reading.value for reading in batch.readings] == [expected]
            await silence(one, 0.15)
            batch.delivered()


@VERSIONS
@pytest.mark.parametrize("qos", [1, 2])
async def test_killed_between_receiving_and_storing_nothing_is_lost(mosquitto, version, qos):
    """The process dies with a batch in hand: a new one gets it again. Also QoS 2, where paho alone would have lost it."""
    broker = mosquitto()
    sender = mosquitto.publisher(broker)
    first = adapter(broker.port, {**RAW, "qos": qos}, version=version)
    await first.connect()
    await asyncio.to_thread(sender.send_many, [("t/a", str(n)) for n in range(10)], qos)
    await read(first)
    first.connection.transport.abort()
    await asyncio.to_thread(sender.send_many, [("t/a", str(n)) for n in range(10, 20)], qos)
    async with connected(broker.port, {**RAW, "qos": qos}, version=version) as second:
        assert await numbers(second, 20) == list(range(20))
        await silence(second, 0.1)


@VERSIONS
async def test_qos_2_killed_between_pubrec_and_pubrel_is_neither_lost_nor_repeated(mosquitto, version):
    broker = mosquitto()
    sender = mosquitto.publisher(broker)
    first = adapter(broker.port, {**RAW, "qos": 2}, version=version)
    await first.connect()
    await asyncio.to_thread(sender.send, "t/a", "1", 2)
    released = []
    first.connection._other = released.append
    (await read(first)).delivered()
    await until(lambda: released)
    first.connection.transport.abort()
    async with connected(broker.port, {**RAW, "qos": 2}, version=version) as second:
        await asyncio.to_thread(sender.send, "t/a", "2", 2)
        assert await numbers(second, 1) == [2]
        await silence(second, 0.1)


@VERSIONS
@pytest.mark.parametrize("qos", [1, 2])
async def test_a_broken_connection_repeats_nothing_that_was_stored(mosquitto, version, qos):
    """Stored while the connection was away: the same process knows it when the broker sends it again, and only acknowledges."""
    broker = mosquitto()
    sender = mosquitto.publisher(broker)
    async with connected(broker.port, {**RAW, "qos": qos}, version=version) as one:
        await asyncio.to_thread(sender.send_many, [("t/a", str(n)) for n in range(10)], qos)
        batch = await read(one)
        while len(batch.readings) < 10:
            more = await read(one)
            batch.readings += more.readings
            held = batch.delivered
            batch.delivered = lambda held=held, more=more: (held(), more.delivered())
        one.connection.transport.abort()
        with pytest.raises(NotConnected):
            await read(one)
        await one.close()
        batch.delivered()
        await one.connect()
        await asyncio.to_thread(sender.send, "t/a", "10", qos)
        assert await numbers(one, 1) == [10]
        assert one.health().counters["repeated_total"] == 10
        await silence(one, 0.1)


@VERSIONS
@pytest.mark.parametrize("qos", [1, 2])
async def test_what_is_on_its_way_to_a_slow_stream_is_not_taken_twice(mosquitto, version, qos):
    broker = mosquitto()
    sender = mosquitto.publisher(broker)
    async with connected(broker.port, {**RAW, "qos": qos}, version=version) as one:
        await asyncio.to_thread(sender.send, "t/a", "1", qos)
        batch = await read(one)
        for _ in range(2):
            one.connection.transport.abort()
            with pytest.raises(NotConnected):
                await read(one)
            await one.close()
            await one.connect()
            await silence(one, 0.1)
        batch.delivered()
        last = "PUBACK" if qos == 1 else "PUBCOMP"
        await until(lambda: f"Received {last} from streamforge-hall (" in broker.log())


@VERSIONS
@pytest.mark.parametrize("qos", [1, 2])
async def test_after_an_orderly_end_the_next_process_gets_only_what_was_not_stored(mosquitto, version, qos):
    """Also with more on its way: the last acknowledgements must not be lost in a reset of the connection."""
    broker = mosquitto(lines=["max_inflight_messages 0", "max_queued_messages 0"])
    sender = mosquitto.publisher(broker)
    stored = []
    async with connected(broker.port, {**RAW, "qos": qos}, version=version) as first:
        await asyncio.to_thread(sender.send_many, [("t/a", str(n)) for n in range(3000)], qos)
        while len(stored) < 1000:
            batch = await read(first)
            stored += [reading.value for reading in batch.readings]
            batch.delivered()
    rest = set(range(3000)) - set(stored)
    async with connected(broker.port, {**RAW, "qos": qos}, version=version) as second:
        assert set(await numbers(second, len(rest))) == rest
        await silence(second, 0.1)


@VERSIONS
async def test_the_session_outlives_a_restart_of_the_broker(mosquitto, version):
    broker = mosquitto(persistence=True)
    sender = mosquitto.publisher(broker)
    async with connected(broker.port, version=version) as one:
        await asyncio.to_thread(sender.send, "t/a", "1")
        assert await numbers(one, 1) == [1]
        await one.close()
        await asyncio.to_thread(sender.send_many, [("t/a", "2"), ("t/a", "3")])
        await asyncio.to_thread(broker.stop)
        await asyncio.to_thread(broker.start)
        await one.connect()
        assert await numbers(one, 2) == [2, 3]


async def test_rejects_are_acknowledged_after_they_are_stored_too(mosquitto):
    broker = mosquitto(lines=["max_inflight_messages 1"])
    sender = mosquitto.publisher(broker)
    async with connected(broker.port) as one:
        await asyncio.to_thread(sender.send_many, [("t/a", "one"), ("t/a", b"\xff\xfe"), ("t/a", "3")])
        rejects = []
        for _ in range(2):
            batch = await read(one)
            assert not batch.readings
            rejects += batch.rejects
            await silence(one, 0.1)
            batch.delivered()
        assert [(reject.rule, reject.payload) for reject in rejects] == [("type", b"one"), ("utf8", b"\xff\xfe")]
        assert await numbers(one, 1) == [3]


@VERSIONS
async def test_an_orderly_end_leaves_no_exchange_of_qos_2_half_done(mosquitto, version):
    """Some brokers (aedes) send the whole message again when PUBCOMP is missing; nobody could tell it from a new one."""
    broker = mosquitto(lines=["max_inflight_messages 0"])
    sender = mosquitto.publisher(broker)
    async with connected(broker.port, {**RAW, "qos": 2}, version=version) as one:
        await asyncio.to_thread(sender.send_many, [("t/a", str(n)) for n in range(100)], 2)
        assert await numbers(one, 100) == list(range(100))
    await until(lambda: "Received DISCONNECT from streamforge-hall" in broker.log())
    before, _, _ = broker.log().partition("Received DISCONNECT from streamforge-hall")
    assert before.count("Received PUBCOMP from streamforge-hall") == 100
