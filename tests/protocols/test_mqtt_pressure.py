"""More than the stream takes, and brokers that say nothing: buffers are bounded, the connection is kept alive or given up."""

from __future__ import annotations

import asyncio

import pytest

from protocols.contract import NotConnected
from tests.kit.waiting import until
from tests.protocols.mqtt_kit import RAW, VERSIONS, collect, connected, numbers, read, silence

STANDSTILL_S = 1.7
"""The stream takes nothing for longer than one and a half keepalives of a second: the broker must not throw us out, nor we it."""


@VERSIONS
async def test_a_flood_of_retained_values_larger_than_the_buffer(mosquitto, version):
    """They come before the broker confirms the subscription."""
    broker = mosquitto()
    sender = mosquitto.publisher(broker)
    everything = [(f"t/{n}", str(n)) for n in range(500)]
    await asyncio.to_thread(
        lambda: [sender.client.publish(topic, payload, 1, retain=True) for topic, payload in everything][
            -1
        ].wait_for_publish(15)
    )
    async with connected(broker.port, {**RAW, "qos": 0}, version=version, buffer_messages=50) as one:
        assert sorted(await numbers(one, 500)) == list(range(500))


async def test_a_broker_that_vanishes_is_said_and_buffered_messages_are_still_read(mosquitto):
    broker = mosquitto()
    sender = mosquitto.publisher(broker)
    async with connected(broker.port, {**RAW, "qos": 0}) as one:
        await asyncio.to_thread(sender.send, "t/a", "1")
        await until(lambda: one.inbox.messages)
        await asyncio.to_thread(broker.stop, kill=True)
        await until(lambda: one.inbox.end)
        assert await numbers(one, 1) == [1]
        with pytest.raises(NotConnected, match="ended the connection"):
            await read(one)


async def test_a_silent_broker_is_given_up(mosquitto):
    broker = mosquitto()
    async with connected(broker.port, keepalive="1s") as one:
        broker.process.send_signal(19)
        try:
            with pytest.raises(NotConnected, match="said nothing for 1 s"):
                await asyncio.wait_for(one.read(), 30)
        finally:
            broker.process.send_signal(18)


async def test_pings_keep_an_idle_connection(mosquitto):
    broker = mosquitto()
    async with connected(broker.port, keepalive="1s") as one:
        await silence(one, 2.5)
        assert broker.log().count("PINGREQ") >= 2


@VERSIONS
async def test_a_giant_payload_is_one_reject_with_its_beginning(mosquitto, version):
    broker = mosquitto()
    sender = mosquitto.publisher(broker)
    async with connected(broker.port, version=version, max_payload="100 KiB") as one:
        await asyncio.to_thread(sender.send, "t/a", b"x" * 20_000_000)
        await asyncio.to_thread(sender.send, "t/a", "2")
        readings, rejects = await collect(one, lambda found, _: bool(found))
        assert [reading.value for reading in readings] == [2]
        assert [(reject.rule, len(reject.payload)) for reject in rejects] == [("too_large", 65536)]
        assert "20000000 bytes" in rejects[0].reason


async def test_a_full_buffer_stops_reading_and_nothing_of_qos_1_is_lost(mosquitto):
    broker = mosquitto(lines=["max_queued_messages 0", "max_inflight_messages 0"])
    sender = mosquitto.publisher(broker)
    async with connected(broker.port, buffer_messages=50, keepalive="1s") as one:
        sending = asyncio.create_task(
            asyncio.to_thread(sender.send_many, [("t/a", str(n) + " " * 10_000) for n in range(2000)])
        )
        await until(lambda: one.connection.paused)
        assert "slower than the broker" in one.health().degraded[0]
        await asyncio.sleep(STANDSTILL_S)
        held = len(one.inbox.messages)
        assert held < 200
        assert one.inbox.end is None
        assert await numbers(one, 2000) == list(range(2000))
        await sending
        assert one.health().counters["paused_total"] >= 1
