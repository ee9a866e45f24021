"""Each common failure of a source tells the next step that fits it, from real failures where a small peer can make them."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager, suppress

import pytest
from asyncua import ua
from asyncua.ua.uaerrors import UaStatusCodeError

from protocols.advice import step
from protocols.contract import BadAnswer, NotConnected
from protocols.load import make, validated
from protocols.modbus.messages import exception_words
from protocols.modbus.steps import STEPS as MODBUS
from protocols.mqtt import words
from protocols.mqtt.steps import STEPS as MQTT
from protocols.opcua.config import OpcUaConfig
from protocols.opcua.messages import failure
from protocols.opcua.steps import STEPS as OPCUA

NAMES = {"host": "h", "port": 1, "user": "u", "client_id": "'c'", "endpoint": "opc.tcp://h:1", "security": "Basic256Sha256 sign", "certificate": "/c/own/certificate.der", "name": "CN=StreamForge@h"}  # fmt: skip


@pytest.mark.parametrize("steps", [MODBUS, MQTT, OPCUA])
def test_every_step_can_be_written_and_ends_without_a_full_stop(steps):
    for said, text in steps:
        told = text.format_map(NAMES)
        assert not told.endswith("."), said
        assert step(steps, said, NAMES), said


def modbus(**more):
    points = [{"asset": "a", "parameter": "p", "address": 40001, "type": "uint16"}]
    return {"id": "m", "protocol": "modbus_tcp", "host": "127.0.0.1", "unit": 1, "every": "50ms", "points": points, "response_timeout": "100ms", **more}  # fmt: skip


def mqtt(**more):
    points = [{"parameter": "p", "type": "number"}]
    topics = [{"topic": "a/b", "mapping": "raw", "asset": "x", "points": points}]
    return {"id": "q", "protocol": "mqtt", "host": "127.0.0.1", "subscriptions": topics, **more}


def opcua(**more):
    return {"id": "o", "protocol": "opcua", "points": [{"asset": "a", "parameter": "p", "node": "ns=2;s=T"}], **more}


async def told(config) -> str | None:
    """The step of the first failure."""
    adapter = make(validated(config))
    try:
        async with asyncio.timeout(20):
            with pytest.raises(NotConnected) as gone:
                await adapter.connect()
                while True:
                    try:
                        await adapter.read()
                    except BadAnswer:
                        continue
            return gone.value.next_step
    finally:
        await adapter.close()


@pytest.fixture
def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    return port


@asynccontextmanager
async def peer(talk):
    """Talks until the other side ends the connection; none is left open."""
    talks = []

    async def served(reader, writer):
        talks.append(ended := asyncio.get_running_loop().create_future())
        await talk(reader, writer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        ended.set_result(None)

    server = await asyncio.start_server(served, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        async with asyncio.timeout(10):
            await asyncio.gather(*talks)


async def test_a_refused_connection(closed_port):
    assert "its Modbus server is enabled" in await told(modbus(port=closed_port))
    assert f"`listener {closed_port}`" in await told(mqtt(port=closed_port))
    assert "which endpoint it names" in await told(opcua(endpoint=f"opc.tcp://127.0.0.1:{closed_port}"))


async def test_a_name_nobody_knows():
    for config in (modbus(host="no.invalid"), mqtt(host="no.invalid"), opcua(endpoint="opc.tcp://no.invalid:4840")):
        assert "`getent hosts no.invalid`" in await told(config)


async def test_a_device_that_never_answers():
    async def mute(reader, writer):
        await reader.read(-1)

    async with peer(mute) as port:
        assert "another `unit`" in await told(modbus(port=port, dead_after=2))


async def test_a_broker_that_does_not_let_in():
    async def refuse(reader, writer):
        await reader.read(1000)
        writer.write(b"\x20\x02\x00\x05")
        await reader.read(-1)

    async with peer(refuse) as port:
        assert "let user (none) in" in await told(mqtt(port=port))


@pytest.mark.parametrize(
    ("said", "part"),
    [
        (f"x/y: {exception_words(2)}", "off (40101 counts from 1, table: holding, address: 100 from 0)"),
        (f"x/y: {exception_words(1)}", "often mixed up"),
        (f"x/y: {exception_words(11)}", "see at the serial gateway"),
        ("h:502 did not take the connection in time: is", "ping h"),
        ("unit 3 did not answer the last 4 requests and is tried rarely", "see whether that unit is on"),
        (
            "x/y: asked for 4 bytes, the answer says 2 and holds 2; the device does not keep to the protocol",
            "beyond its end",
        ),
    ],
)
def test_modbus(said, part):
    assert part in step(MODBUS, said, NAMES)


@pytest.mark.parametrize(
    ("reason", "part"),
    [
        (words.refused("Bad user name or password", "c", "5"), "the broker's list of users"),
        (words.refused("Not authorized", "c", "5"), "its access rules"),
        (words.refused("Client identifier not valid", "c", "5"), "some take only names"),
        (words.lost("Session taken over", "c"), "find the other client that is called 'c'"),
        (words.unreachable(TimeoutError()), "ping h"),
        (f"its certificate {words._CERTIFICATE[20]}", "openssl s_client -connect h:1"),
        (f"its certificate {words._CERTIFICATE[9]}", "set the clock of this gateway"),
        (f"its certificate {words._CERTIFICATE[62]}", "stands in the broker's certificate"),
    ],
)
def test_mqtt(reason, part):
    assert part in step(MQTT, f"MQTT broker h:1: the broker {reason}", NAMES)


@pytest.mark.parametrize(
    ("trouble", "part"),
    [
        ({"lost_session": True}, "`persistence true`"),
        ({"stranger": "t/old"}, "set `session: clean`"),
    ],
)
def test_mqtt_with_a_connection_that_stands(trouble, part):
    adapter = make(validated(mqtt()))
    vars(adapter).update(trouble)
    assert part in adapter.health().next_step


def test_mqtt_with_names_that_never_repeat():
    adapter = make(validated(mqtt(max_points=1)))
    adapter.mapper.known[("a", "b")] = None
    assert "never repeats" in adapter.health().next_step


LOGIN = OpcUaConfig.model_validate(opcua(endpoint="opc.tcp://h:4840", user="u", password="p"))
NOBODY = OpcUaConfig.model_validate(opcua(endpoint="opc.tcp://h:4840"))


@pytest.mark.parametrize(
    ("config", "name", "at", "part"),
    [
        (LOGIN, "BadUserAccessDenied", "logging in", "the server's users"),
        (LOGIN, "BadIdentityTokenRejected", "logging in", "the server's users"),
        (NOBODY, "BadIdentityTokenRejected", "logging in", "have a user made there"),
        (NOBODY, "BadIdentityTokenInvalid", "logging in", "have a user made there"),
        (
            LOGIN,
            "BadCertificateUntrusted",
            "opening the secure channel",
            "move this gateway's certificate (CN=StreamForge@h)",
        ),
        (LOGIN, "BadSecurityChecksFailed", "opening the secure channel", "copy /c/own/certificate.der there"),
        (LOGIN, "BadCertificateTimeInvalid", "opening the secure channel", "timedatectl"),
        (LOGIN, "BadSecurityPolicyRejected", "opening the secure channel", "have Basic256Sha256 sign enabled there"),
        (LOGIN, "BadTooManySessions", "creating a session", "end other clients"),
        (LOGIN, "BadTcpEndpointUrlInvalid", "saying hello", "with its path"),
    ],
)
def test_opcua(config, name, at, part):
    wrong = UaStatusCodeError(getattr(ua.StatusCodes, name))
    assert part in step(OPCUA, failure(wrong, at, config, "/c/own/certificate.der"), NAMES)


def test_a_server_that_hangs_up_without_a_reason_most_often_does_not_trust_us():
    said = failure(ConnectionError("gone"), "opening the secure channel", LOGIN, "/c/own/certificate.der")
    assert "trusted client certificates" in step(OPCUA, said, NAMES)


def test_a_certificate_that_lies_in_trusted_already_is_not_to_be_moved_there():
    misfit = "BadCertificateHostNameInvalid: it is for vm, the endpoint says 127.0.0.1"
    assert "move that certificate" in step(
        OPCUA, f"opc.tcp://h:1: the server's certificate is refused: {misfit}", NAMES
    )
    assert "values come" in step(OPCUA, f"the server's certificate: {misfit}", NAMES)
