"""Which messages come: wildcards, shared subscriptions, retained values, old subscriptions of the session."""

from __future__ import annotations

import asyncio

from tests.protocols.mqtt_kit import RAW, VERSIONS, collect, connected, numbers


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


@VERSIONS
async def test_retained_values_can_be_ignored(mosquitto, version):
    broker = mosquitto()
    sender = mosquitto.publisher(broker)
    await asyncio.to_thread(sender.send, "t/a", "1", retain=True)
    async with connected(broker.port, {**RAW, "retained": "ignore"}, version=version) as one:
        await asyncio.to_thread(sender.send, "t/a", "2")
        assert await numbers(one, 1) == [2]


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


@VERSIONS
async def test_a_shared_subscription_gives_each_message_to_one_of_the_group(mosquitto, version):
    broker = mosquitto()
    sender = mosquitto.publisher(broker)
    shared = {**RAW, "topic": "$share/gateways/t/+"}
    async with (
        connected(broker.port, shared, version=version, client_id="one") as one,
        connected(broker.port, shared, version=version, client_id="two") as two,
    ):
        await asyncio.to_thread(sender.send_many, [("t/a", str(n)) for n in range(40)])
        halves = [await numbers(member, 20) for member in (one, two)]
        assert sorted(halves[0] + halves[1]) == list(range(40))


async def test_a_retained_value_that_is_deleted_is_a_reject_of_its_own_rule(mosquitto):
    broker = mosquitto()
    sender = mosquitto.publisher(broker)
    async with connected(broker.port) as one:
        await asyncio.to_thread(sender.send, "t/a", b"", retain=True)
        _, rejects = await collect(one, lambda _, rejects: bool(rejects))
        assert [(reject.rule, reject.payload) for reject in rejects] == [("empty", b"")]


@VERSIONS
async def test_topics_the_broker_lets_us_not_read_are_missing_and_the_others_come(mosquitto, version, tmp_path):
    """Mosquitto's access file grants the subscription and then sends nothing: README.md."""
    (tmp_path / "access").write_text("user gateway\ntopic read t/open\nuser sender\ntopic write t/#\n")
    (tmp_path / "access").chmod(0o600)
    broker = mosquitto(users={"gateway": "g", "sender": "s"}, lines=[f"acl_file {tmp_path}/access"])
    sender = mosquitto.publisher(broker, user="sender", password="s")
    async with connected(broker.port, version=version, user="gateway", password="g") as one:
        await asyncio.to_thread(sender.send_many, [("t/secret", "1"), ("t/open", "2")])
        assert await numbers(one, 1) == [2]


async def test_a_session_the_broker_forgot_is_said(mosquitto):
    """It does not persist here: after its restart what came meanwhile would be lost in silence."""
    broker = mosquitto()
    async with connected(broker.port, version="5") as one:
        await one.close()
        await one.connect()
        assert one.health().degraded == []
        await one.close()
        await asyncio.to_thread(broker.stop)
        await asyncio.to_thread(broker.start)
        await one.connect()
        assert "forgotten the session" in one.health().degraded[0]
        assert one.health().counters["sessions_lost_total"] == 1
        await one.close()
        await one.connect()
        assert one.health().degraded == []


async def test_sparkplug_under_a_wildcard_is_a_reject_with_its_bytes(mosquitto):
    """An NDATA of one metric, as Eclipse Tahu packs it."""
    sparkplug = bytes.fromhex("08e8b0c3e6c03112180a0b54656d7065726174757265 10e8b0c3e6c031200a6d0000ac411801")
    broker = mosquitto()
    sender = mosquitto.publisher(broker)
    everything = {"topic": "#", "mapping": "json", "asset": "{topic}", "parameters": "all"}
    async with connected(broker.port, everything) as one:
        await asyncio.to_thread(sender.send, "spBv1.0/hall/NDATA/edge", sparkplug)
        await asyncio.to_thread(sender.send, "t/a", '{"v": 1}')
        readings, rejects = await collect(one, lambda found, _: bool(found))
        assert [reading.value for reading in readings] == [1]
        assert [(reject.rule, reject.payload) for reject in rejects] == [("utf8", sparkplug)]
