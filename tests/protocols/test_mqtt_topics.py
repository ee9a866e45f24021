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
