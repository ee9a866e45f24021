"""The table of topics, and the topics actor against a real broker: makes, keeps, corrects, says."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from actors import topics as topics_actor
from actors.context import Context, Status
from stream.topics import BATCH_HEAD, MIB, SNAPSHOT_MAX, TOPICS, Plan, Priority, partition_bytes, plan, settings, topic
from tests.kit.broker_actor import running
from tests.kit.waiting import until

GIB = 2**30


def there(partitions: int = 12, budget: int = 20 * GIB) -> dict[str, dict[str, str]]:
    return {one.name: settings(one, budget, partitions) for one in TOPICS}


def test_the_table_has_every_topic_of_the_specification() -> None:
    names = [one.name for one in TOPICS]
    assert len(names) == len(set(names)) == 19
    assert {"telemetry.raw", "telemetry.1hour", "dlq.buffer_overflow", "audit_trail", "state.aggregator"} <= set(names)
    assert settings(topic("telemetry.raw"), 20 * GIB, 12)["retention.ms"] == "86400000"
    assert settings(topic("alarms.clean"), 20 * GIB, 12)["retention.ms"] == str(7 * 365 * 86_400_000)
    with pytest.raises(KeyError, match="there is no topic 'telemetry'"):
        topic("telemetry")


def test_shares_leave_room_for_what_is_never_evicted() -> None:
    assert sum(one.share for one in TOPICS) == pytest.approx(0.85)
    for one in TOPICS:
        assert (settings(one, GIB, 12)["retention.bytes"] == "-1") == (one.priority is Priority.CRITICAL)


@pytest.mark.parametrize("budget", [GIB // 4, GIB, 20 * GIB, 500 * GIB])
@pytest.mark.parametrize("partitions", [1, 12, 128])
def test_segments_are_small_enough_to_be_freed_and_large_enough_for_a_record(budget: int, partitions: int) -> None:
    for one in TOPICS:
        values = settings(one, budget, partitions)
        most, segment = int(values["retention.bytes"]), int(values["segment.bytes"])
        assert MIB <= segment <= 32 * MIB
        assert segment >= one.record_max
        assert most == -1 or most >= 2 * segment or segment == MIB
        if not one.compacted:
            assert int(values["segment.ms"]) <= one.retention_ms / 8 or int(values["segment.ms"]) == 3_600_000


def test_logs_have_their_own_limit_whatever_the_budget() -> None:
    assert partition_bytes(topic("logs.adapters"), 500 * GIB, 10) == 10 * MIB


def test_a_snapshot_of_eight_mebibytes_fits_a_state_topic() -> None:
    values = settings(topic("state.validator"), GIB, 12)
    assert int(values["max.message.bytes"]) == SNAPSHOT_MAX + BATCH_HEAD
    assert int(values["segment.bytes"]) > int(values["max.message.bytes"])
    assert values["cleanup.policy"] == "compact"


def test_a_broker_without_topics_gets_all_and_one_with_all_gets_nothing() -> None:
    assert len(plan({}, {}, 20 * GIB, 12).create) == len(TOPICS)
    complete = plan({one.name: 12 for one in TOPICS}, there(), 20 * GIB, 12)
    assert complete == Plan((), {}, (), ())


def test_a_different_number_of_partitions_is_a_mistake_that_names_both_cures() -> None:
    found = plan({one.name: 6 for one in TOPICS}, there(6), 20 * GIB, 12)
    assert (found.create, found.alter) == ((), {})
    assert "".join(found.mistakes) == (
        "telemetry.raw and 18 more topics have 6 partitions, the configuration says 12; the number is fixed when a topic is made: "
        "right would be `stream.partitions: 6`, or topics of 12 partitions"
    )
    one = plan({one.name: 12 for one in TOPICS} | {"events.raw": 13}, there(), 20 * GIB, 12)
    assert [words[:28] for words in one.mistakes] == ["events.raw has 13 partitions"]


def test_a_wrong_policy_and_a_new_budget_are_corrected() -> None:
    settings_there = there()
    settings_there["state.validator"]["cleanup.policy"] = "delete"
    found = plan({one.name: 12 for one in TOPICS}, settings_there, 20 * GIB, 12)
    assert list(found.alter) == ["state.validator"]
    assert found.alter["state.validator"]["cleanup.policy"] == "compact"
    budget = plan({one.name: 12 for one in TOPICS}, there(), 10 * GIB, 12)
    assert "telemetry.raw" in budget.alter
    assert "alarms.clean" not in budget.alter


async def ensured(config: dict[str, Any]) -> Context:
    context = Context(id="stream/topics", config=config)
    await topics_actor.run(context)
    return context


async def test_topics_are_made_checked_and_corrected_on_a_real_broker(tmp_path: Path) -> None:
    async with running(tmp_path) as broker:
        config = {
            "bootstrap": broker.bootstrap,
            "data_dir": str(tmp_path),
            "partitions": 2,
            "stream": {"disk_budget": GIB},
        }
        first = await ensured(config)
        assert first.status is Status.HEALTHY
        assert len(first.facts["created"]) == len(TOPICS)
        assert (tmp_path / "stream" / "kafka" / "telemetry.raw-1").is_dir()

        again = await ensured(config)
        assert (again.facts["created"], again.facts["altered"], again.facts["warnings"]) == ([], [], [])

        admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
        await admin.start()
        wrong = {"cleanup.policy": "delete", "retention.ms": "1000"}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, "state.validator", wrong)])
        await admin.delete_topics(["logs.sinks"])

        async def seen_by_the_broker() -> bool:
            """The controller has answered; the broker learns it a moment later."""
            return "logs.sinks" not in await admin.list_topics() and await policy(admin) == "delete"

        await until(seen_by_the_broker)
        wrong_number = Context(id="stream/topics", config={**config, "partitions": 3})
        waiting = asyncio.create_task(topics_actor.run(wrong_number))
        await until(lambda: wrong_number.reason)
        assert wrong_number.status is Status.UNHEALTHY
        assert "telemetry.raw and 17 more topics have 2 partitions" in str(wrong_number.reason)
        assert "start the gateway again" in str(wrong_number.next_step)
        wrong_number.stopping.set()
        await asyncio.wait_for(waiting, 30)

        other = await ensured(config)
        assert other.facts["altered"] == ["state.validator"]
        assert other.facts["created"] == ["logs.sinks"]

        async def corrected() -> bool:
            return await policy(admin) == "compact"

        await until(corrected)
        assert (await of_validator(admin))["max.message.bytes"] == str(SNAPSHOT_MAX + BATCH_HEAD)
        await admin.close()


async def policy(admin: AIOKafkaAdminClient) -> str:
    return (await of_validator(admin))["cleanup.policy"]


async def of_validator(admin: AIOKafkaAdminClient) -> dict[str, str]:
    """The settings of the topic of the validator's state, as the broker has them now."""
    described = (await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, "state.validator")]))[0]
    return {entry[0]: entry[1] for entry in described.resources[0][4]}


async def test_without_a_broker_the_actor_crashes_in_time() -> None:
    with pytest.raises(Exception, match=r"Unable to bootstrap .*127\.0\.0\.1"):
        await ensured({"bootstrap": "127.0.0.1:9", "stream": {}})
