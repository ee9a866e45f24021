"""A broker that refuses, throws out or does not answer is said in words a person can act on."""

from __future__ import annotations

import time

import pytest

from protocols.contract import NotConnected
from tests.protocols.mqtt_kit import DEADLINE_S, RAW, VERSIONS, adapter, connected, numbers, read, scripted, silence

CONNACK_5, CONNACK_4 = b"\x20\x03\x00\x00\x00", b"\x20\x02\x00\x00"


@VERSIONS
async def test_users(mosquitto, version):
    broker = mosquitto(users={"gateway": "right"})
    async with connected(broker.port, version=version, user="gateway", password="right") as one:
        await silence(one, 0.05)
    for settings in ({"user": "gateway", "password": "wrong"}, {}):
        one = adapter(broker.port, version=version, **settings)
        with pytest.raises(NotConnected, match="`user`"):
            await one.connect()
        await one.close()


@VERSIONS
async def test_another_client_with_our_id_is_suspected_and_avoided(mosquitto, version):
    """Mosquitto 2.0.11 gives no reason, in version 5 neither: three short connections in a row are enough."""
    broker = mosquitto()
    async with connected(broker.port, version=version, client_id="twin") as one:
        for _ in range(3):
            async with connected(broker.port, version=version, client_id="twin"):
                with pytest.raises(NotConnected, match="ended the connection"):
                    await read(one)
            await one.close()
            if not one.contest.rounds:
                await one.connect()
        with pytest.raises(NotConnected, match=r"client id 'twin'.*staying away for another [1-5] s"):
            await one.connect()


async def test_a_takeover_that_the_broker_names_is_said():
    async with (
        scripted(CONNACK_5, b"\x90\x04\x00\x01\x00\x01" + b"\xe0\x01\x8e") as port,
        connected(port, version="5", client_id="twin") as one,
    ):
        with pytest.raises(NotConnected, match="another client connected with the client id 'twin'"):
            await read(one)
        await one.close()
        with pytest.raises(NotConnected, match=r"took over.*staying away for another [1-5] s"):
            await one.connect()


@pytest.mark.parametrize(("version", "connack", "code"), [("5", CONNACK_5, b"\x87"), ("3.1.1", CONNACK_4, b"\x80")])
async def test_subscriptions_the_broker_refuses_are_named_and_the_others_work(version, connack, code):
    head = b"\x90\x06\x00\x01\x00" if version == "5" else b"\x90\x05\x00\x01"
    publish = b"\x30\x07\x00\x03t/a\x001" if version == "5" else b"\x30\x06\x00\x03t/a1"
    three = [RAW, {**RAW, "topic": "secret/+"}, {**RAW, "topic": "low/+"}]
    async with (
        scripted(connack, head + b"\x01" + code + b"\x00" + publish) as port,
        connected(port, *three, version=version) as one,
    ):
        assert await numbers(one, 1) == [1]
        refused, lowered = one.health().degraded
        assert "secret/+" in refused
        assert lowered == "low/+: the broker grants only QoS 0 of 1"


async def test_when_all_subscriptions_are_refused_it_is_not_connected():
    async with scripted(CONNACK_4, b"\x90\x03\x00\x01\x80") as port:
        one = adapter(port)
        with pytest.raises(NotConnected, match=r"t/\+: the broker refuses the subscription"):
            await one.connect()
        await one.close()


@pytest.mark.parametrize(
    ("version", "connack", "said"),
    [
        ("3.1.1", b"\x20\x02\x00\x01", "set `version` to '5'"),
        ("5", b"\x20\x02\x00\x01", "set `version` to '3.1.1'"),
        ("5", b"\x20\x03\x00\x84\x00", "set `version` to '3.1.1'"),
        ("3.1.1", b"\x20\x02\x00\x02", "client id 'twin'"),
        ("5", b"\x20\x03\x00\x89\x00", "busy"),
        ("5", b"\x20\x03\x00\x8a\x00", "banned"),
        ("5", b"\x20\x0d\x00\x9d\x0a\x1c\x00\x07other:1", r"has moved.*it names 'other:1'"),
        ("5", b"\x20\x0d\x00\x97\x0a\x1f\x00\x07no room", r"quota.*it says 'no room'"),
        ("5", b"HTTP/1.1 400 Bad Request", "no MQTT"),
        ("5", b"\x20\x03\x00\x55\x00", "no MQTT"),
    ],
)
async def test_refusals_say_what_to_do(version, connack, said):
    async with scripted(connack) as port:
        one = adapter(port, version=version, client_id="twin")
        with pytest.raises(NotConnected, match=said):
            await one.connect()
        await one.close()


async def test_nobody_there_unknown_name_and_a_mute_port():
    started = time.monotonic()
    with pytest.raises(NotConnected, match="nobody listens"):
        await adapter(1).connect()
    with pytest.raises(NotConnected, match="name is not known"):
        await adapter(1, host="no-such-host.invalid").connect()
    async with scripted(b"") as mute:
        with pytest.raises(NotConnected, match="does this port speak MQTT"):
            await adapter(mute, connect_timeout="300ms").connect()
    assert time.monotonic() - started < DEADLINE_S


@pytest.mark.parametrize(
    ("disconnect", "said"),
    [
        (b"\xe0\x01\x8b", "shutting down"),
        (b"\xe0\x01\x98", "somebody ended this connection"),
        (b"\xe0\x01\x97", "quota"),
        (b"\xe0\x0a\x9c\x08\x1c\x00\x05new:1", r"another server.*it names 'new:1'"),
        (b"\xe0\x01\xa0", "lets no connection last longer"),
        (b"\xe0\x00", "ended the connection"),
    ],
)
async def test_why_a_broker_of_version_5_ends_the_connection_is_said(disconnect, said):
    async with (
        scripted(CONNACK_5, b"\x90\x04\x00\x01\x00\x01" + disconnect) as port,
        connected(port, version="5") as one,
    ):
        with pytest.raises(NotConnected, match=said):
            await read(one)


@pytest.mark.parametrize("version", ["3.1.1", "5"])
async def test_a_packet_id_that_the_broker_thinks_in_use_is_changed(version):
    """mochi-mqtt numbers its messages and our SUBSCRIBE together: after an absence they collide."""
    five = version == "5"
    refused, granted = (b"\x90\x04\x00\x01\x00" if five else b"\x90\x03\x00\x01",) * 2
    async with (
        scripted(CONNACK_5 if five else CONNACK_4, refused + b"\x91", granted + b"\x01") as port,
        connected(port, version=version) as one,
    ):
        assert one.health().degraded == []
