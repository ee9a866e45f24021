"""Topics on a cluster of somebody else: made where missing, never changed, and not used before they are right."""

from __future__ import annotations

import asyncio
import struct
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaConnectionError

from actors import broker as broker_actor
from actors import topics as topics_actor
from actors.context import Context, Status
from stream.broker.wire import API_VERSIONS, framed
from stream.topics import TOPICS, Plan, plan, settings, topic
from tests.kit.broker_actor import running
from tests.kit.ports import free_port
from tests.kit.waiting import until

GIB = 2**30


def planned(name: str, **other: str) -> Plan:
    """The plan for a cluster whose one topic differs in these settings (with _ for .)."""
    given = {one.name: settings(one, GIB, 12) for one in TOPICS}
    given[name] |= {key.replace("_", "."): value for key, value in other.items()}
    return plan({one.name: 12 for one in TOPICS}, given, GIB, 12, own=False)


@pytest.mark.parametrize(
    ("name", "setting", "words"),
    [
        ("telemetry.raw", {"cleanup_policy": "compact"}, "right would be delete: compaction keeps the newest reading of each"),
        ("state.validator", {"cleanup_policy": "delete"}, "right would be compact: the snapshots"),
        ("events.raw", {"message_timestamp_type": "LogAppendTime"}, "LogAppendTime, right would be CreateTime"),
        ("telemetry.clean", {"max_message_bytes": "300000"}, "max.message.bytes is 300000, right would be at least 1114112"),
    ],
)  # fmt: skip
def test_what_would_lose_readings_is_a_mistake(name: str, setting: dict[str, str], words: str) -> None:
    found = planned(name, **setting)
    assert len(found.mistakes) == 1
    assert found.mistakes[0].startswith(f"{name}: ")
    assert words in found.mistakes[0]
    assert (found.alter, found.warnings) == ({}, ())


def test_a_retention_that_ends_early_is_said_and_a_longer_one_is_welcome() -> None:
    short = planned("telemetry.raw", retention_ms="3600000")
    assert short.mistakes == ()
    assert short.warnings[0].startswith(
        "telemetry.raw: retention.ms is 3600000, right would be at least 86400000: what is"
    )
    assert "right would be -1 (no limit)" in planned("alarms.clean", retention_bytes="1000000").warnings[0]
    longer = planned("telemetry.raw", retention_ms="-1", retention_bytes="-1", segment_bytes="1073741824")
    assert longer == Plan((), {}, (), ())


async def test_wrong_topics_of_others_are_waited_for_and_never_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topics_actor, "AGAIN_S", 0.1)
    async with running(tmp_path) as broker:
        admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
        await admin.start()
        theirs = {
            **settings(topic("telemetry.raw"), 20 * GIB, 2),
            "cleanup.policy": "compact",
            "retention.ms": "3600000",
        }
        await admin.create_topics([NewTopic("telemetry.raw", 2, 1, topic_configs=theirs)])
        ready = asyncio.Event()
        config = {"bootstrap": broker.bootstrap, "stream": {"bootstrap": broker.bootstrap, "partitions": 2}}
        context = Context(id="stream/topics", config=config, on_ready=ready.set)
        working = asyncio.create_task(topics_actor.run(context))
        await until(lambda: context.reason)
        assert context.status is Status.UNHEALTHY
        assert "telemetry.raw: cleanup.policy is compact, right would be delete" in context.reason
        assert "goes on by itself" in str(context.next_step)
        assert set(await admin.list_topics()) == {"telemetry.raw"}, "nothing is made before it is right"

        theirs["cleanup.policy"] = "delete"
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, "telemetry.raw", theirs)])
        await asyncio.wait_for(working, 30)
        assert ready.is_set()
        assert context.status is Status.HEALTHY
        assert context.facts["altered"] == []
        assert len(context.facts["warnings"]) == 1
        assert await _setting(admin, "telemetry.raw", "retention.ms") == "3600000"
        assert await _setting(admin, "events.raw", "message.timestamp.type") == "CreateTime"
        await admin.close()


async def _setting(admin: AIOKafkaAdminClient, name: str, key: str) -> str:
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
    return str({entry[0]: entry[1] for entry in answers[0].resources[0][4]}[key])


async def test_a_cluster_that_is_away_is_waited_for_with_a_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics_actor, "AGAIN_S", 0.1)
    nowhere = f"127.0.0.1:{free_port()}"
    context = Context(id="stream/topics", config={"bootstrap": nowhere, "stream": {"bootstrap": nowhere}})
    working = asyncio.create_task(topics_actor.run(context))
    await until(lambda: context.reason)
    assert context.reason == f"Kafka at {nowhere} does not answer: nobody listens there"
    assert not working.done()
    context.stopping.set()
    await asyncio.wait_for(working, 30)


async def test_a_listener_that_wants_a_login_is_told_from_one_that_is_away() -> None:
    async def only_before_a_login(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.read(100)
        if asked[4:8] == API_VERSIONS[:4]:
            writer.write(framed(struct.pack(">ihi", 1, 0, 0)))
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(only_before_a_login, "127.0.0.1", 0)
    theirs = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        told = await topics_actor._told(KafkaConnectionError(), theirs)
    assert told.startswith(f"Kafka at {theirs} answers, but closes the connection")
    assert "it wants a login or TLS" in told


async def test_one_address_that_answers_is_enough(kafka: str) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    ready = asyncio.Event()
    config = {"stream": {"bootstrap": f"{nowhere},{kafka}"}}
    context = Context(id="stream/broker", config=config, on_ready=ready.set)
    working = asyncio.create_task(broker_actor.run(context))
    await asyncio.wait_for(ready.wait(), 30)
    assert context.status is Status.HEALTHY
    context.stopping.set()
    await asyncio.wait_for(working, 30)


async def test_a_cluster_away_says_which_address_and_what_to_do() -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    context = Context(id="stream/broker", config={"stream": {"bootstrap": nowhere}})
    working = asyncio.create_task(broker_actor.run(context))
    await until(lambda: context.reason)
    assert context.reason == f"Kafka at {nowhere} does not answer: nobody listens there"
    assert "without TLS and without a login" in str(context.next_step)
    context.stopping.set()
    await asyncio.wait_for(working, 30)


async def test_brokers_that_name_an_unreachable_address_are_told_apart(tmp_path: Path) -> None:
    """`advertised.listeners` is what clients must use; it is often good inside the cluster's own network only."""
    async with running(tmp_path) as broker:
        admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
        await admin.start()
        told = topics_actor._not_reached("kafka:9092", admin, topics_actor.NodeNotReadyError())
        await admin.close()
    assert told.startswith(f"Kafka at kafka:9092 answers and names its brokers {broker.bootstrap}, which cannot")
    assert "advertised.listeners" in told
