"""The MQTT adapter with a real mosquitto: nothing is acknowledged before it is stored, nothing is lost, refusals have words."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager

import pytest

from protocols.contract import BadConfig, NotConnected
from schemas.records import Quality
from tests.kit.certificates import Authority
from tests.protocols.mqtt_kit import DEADLINE_S, RAW, adapter, collect, connected, numbers, read, silence

VERSIONS = pytest.mark.parametrize("version", ["3.1.1", "5"])


async def until(true):
    async with asyncio.timeout(DEADLINE_S):
        while not true():  # noqa: ASYNC110 - the broker and the library have no event to wait for
            await asyncio.sleep(0.01)


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
                await asyncio.wait_for(one.read(), 5)
        finally:
            broker.process.send_signal(18)


async def test_pings_keep_an_idle_connection(mosquitto):
    broker = mosquitto()
    async with connected(broker.port, keepalive="1s") as one:
        await silence(one, 2.5)
        assert broker.log().count("PINGREQ") >= 4


@VERSIONS
async def test_wildcards_and_levels(mosquitto, version):
    broker = mosquitto()
    sender = mosquitto.publisher(broker)
    subscriptions = [
        {
            "topic": "plant/+/sensors/+",
            "mapping": "raw",
            "asset": "{topic[1]}",
            "points": [{"parameter": "{topic[3]}", "type": "number"}],
        },
        {"topic": "line/#", "mapping": "json", "asset": "{topic[-1]}", "parameters": "all"},
    ]
    async with connected(broker.port, *subscriptions, version=version) as one:
        await asyncio.to_thread(
            sender.send_many,
            [
                ("plant/a/sensors/temp", "1"),
                ("plant/a/other/temp", "2"),
                ("line/x/y", '{"v": 3}'),
                ("line", '{"v": 4}'),
            ],
        )
        readings, _ = await collect(one, lambda found, _: len(found) >= 3)
        assert [(reading.point.asset, reading.point.parameter, reading.value) for reading in readings] == [
            ("a", "temp", 1),
            ("y", "v", 3),
            ("line", "v", 4),
        ]
        assert one.points() == [reading.point for reading in readings]


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
        await asyncio.to_thread(sender.send, "t/a", "1")
        batch = await read(one)
        assert batch.readings[0].status == Quality.GOOD
        assert batch.readings[0].device_time == batch.gateway_time


@VERSIONS
async def test_retained_values_can_be_ignored(mosquitto, version):
    broker = mosquitto()
    sender = mosquitto.publisher(broker)
    await asyncio.to_thread(sender.send, "t/a", "1", retain=True)
    async with connected(broker.port, {**RAW, "retained": "ignore"}, version=version) as one:
        await asyncio.to_thread(sender.send, "t/a", "2")
        assert await numbers(one, 1) == [2]


async def test_a_full_buffer_stops_reading_and_nothing_of_qos_1_is_lost(mosquitto):
    broker = mosquitto(lines=["max_queued_messages 0", "max_inflight_messages 0"])
    sender = mosquitto.publisher(broker)
    async with connected(broker.port, buffer_messages=50, keepalive="1s") as one:
        sending = asyncio.create_task(
            asyncio.to_thread(sender.send_many, [("t/a", str(n) + " " * 10_000) for n in range(2000)])
        )
        await until(lambda: one.connection.paused)
        assert "slower than the broker" in one.health().degraded[0]
        # Longer than the keepalive: the broker must not throw us out, nor we it.
        await asyncio.sleep(1.7)
        held = len(one.inbox.messages)
        assert held < 200
        assert one.inbox.end is None
        assert await numbers(one, 2000) == list(range(2000))
        await sending
        assert one.health().counters["paused_total"] >= 1


# Who may come in


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
        with pytest.raises(NotConnected, match=r"client id 'twin'.*staying away for another [45] s"):
            await one.connect()


CONNACK_5, CONNACK_4 = b"\x20\x03\x00\x00\x00", b"\x20\x02\x00\x00"


@asynccontextmanager
async def scripted(*answers):
    """A broker that answers the first packet with the first answer, and so on: for what mosquitto does not do."""

    over = asyncio.Event()

    async def serve(reader, writer):
        for answer in answers:
            if not await reader.read(1000):
                break
            writer.write(answer)
        await reader.read(1000)
        writer.close()
        over.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.wait_for(over.wait(), DEADLINE_S)


async def test_a_takeover_that_the_broker_names_is_said():
    async with (
        scripted(CONNACK_5, b"\x90\x04\x00\x01\x00\x01" + b"\xe0\x01\x8e") as port,
        connected(port, version="5", client_id="twin") as one,
    ):
        with pytest.raises(NotConnected, match="another client connected with the client id 'twin'"):
            await read(one)
        await one.close()
        with pytest.raises(NotConnected, match=r"took over.*staying away for another [45] s"):
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
        assert lowered == "the broker grants low/+ only QoS 0 of 1"


async def test_when_all_subscriptions_are_refused_it_is_not_connected():
    async with scripted(CONNACK_4, b"\x90\x03\x00\x01\x80") as port:
        one = adapter(port)
        with pytest.raises(NotConnected, match=r"refuses the subscription t/\+"):
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


@VERSIONS
async def test_an_old_subscription_in_the_session_is_noticed(mosquitto, version):
    broker = mosquitto()
    sender = mosquitto.publisher(broker)
    async with connected(broker.port, {**RAW, "topic": "old/+"}, version=version):
        pass
    async with connected(broker.port, version=version) as one:
        await asyncio.to_thread(sender.send_many, [("old/a", "1"), ("t/a", "2")])
        assert await numbers(one, 1) == [2]
        assert "old/a fits no subscription" in one.health().degraded[0]
        assert one.health().counters["unmatched_total"] == 1


# TLS


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "authority")


def secured(mosquitto, authority, pair, **more):
    return mosquitto(tls={"cafile": authority.cert, "certfile": pair.cert, "keyfile": pair.key, **more})


@VERSIONS
async def test_tls(mosquitto, authority, version):
    broker = secured(mosquitto, authority, authority.sign("broker"))
    async with connected(broker.port, version=version, tls={"ca": str(authority.cert)}) as one:
        await silence(one, 0.05)
        assert one.health().degraded == []
    async with connected(broker.port, version=version, tls={"verify": False}) as one:
        assert "verify" in one.health().degraded[0]


@pytest.mark.parametrize(
    ("sign", "said"),
    [
        ({"days": -1}, "has expired"),
        ({"host": "other.example"}, "for another (name|address)"),
        ({}, "authority that is not trusted"),
    ],
    ids=["expired", "name", "authority"],
)
async def test_a_certificate_that_is_wrong_is_said(mosquitto, authority, tmp_path, sign, said):
    broker = secured(mosquitto, authority, authority.sign("broker", **sign))
    trusted = authority if sign else Authority(tmp_path / "other", "other authority")
    one = adapter(broker.port, tls={"ca": str(trusted.cert)})
    with pytest.raises(NotConnected, match=said):
        await one.connect()
    await one.close()


async def test_a_broker_that_wants_a_certificate(mosquitto, authority):
    broker = secured(mosquitto, authority, authority.sign("broker"))
    await asyncio.to_thread(broker.stop)
    broker.lines.append("require_certificate true")
    await asyncio.to_thread(broker.start)
    ours = authority.sign("gateway")
    async with connected(
        broker.port, tls={"ca": str(authority.cert), "cert": str(ours.cert), "key": str(ours.key)}
    ) as one:
        await silence(one, 0.05)
    one = adapter(broker.port, tls={"ca": str(authority.cert)})
    with pytest.raises(NotConnected, match=r"certificate|TLS"):
        await one.connect()
    await one.close()


async def test_tls_where_there_is_none_and_none_where_there_is(mosquitto, authority):
    plain, encrypted = mosquitto(), secured(mosquitto, authority, authority.sign("broker"))
    for one, said in ((adapter(plain.port, tls={}), "TLS"), (adapter(encrypted.port), "does this port want TLS")):
        with pytest.raises(NotConnected, match=said):
            await one.connect()
        await one.close()


@pytest.mark.parametrize("fault", ["missing", "not pem", "other key"])
async def test_certificate_files_that_can_never_work(authority, tmp_path, fault):
    ours, other = authority.sign("gateway"), authority.sign("other")
    (tmp_path / "text.pem").write_text("hello")
    tls = {
        "missing": {"ca": "nowhere.pem"},
        "not pem": {"ca": str(tmp_path / "text.pem")},
        "other key": {"cert": str(ours.cert), "key": str(other.key)},
    }[fault]
    with pytest.raises(BadConfig, match=r"tls\.(ca|cert)"):
        await adapter(1, tls=tls).connect()


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
