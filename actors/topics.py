"""The topics actor: makes what is missing, corrects what differs, makes it durable, and leaves (transient).

What there shall be stands in stream/topics.py; this is the talk with the broker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError, for_code

from actors.context import Context, Status
from actors.io_actor import IoActor
from schemas.gateway import StreamConfig
from stream.broker.data import sync_directory
from stream.topics import TOPICS, Plan, plan, settings, topic

WITHIN_S = 45
BROKERS_AT_MOST = 3


class TopicsError(Exception):
    """A topic could not be made or corrected; the message says which one and what the broker answered."""


async def run(context: Context) -> None:
    """Bring the broker's topics in line with the table, then return. TopicsError, KafkaError or TimeoutError: nothing is half done that
    the next run would not complete."""
    stream = StreamConfig.model_validate(context.config.get("stream", {}))
    partitions = int(context.config.get("partitions", stream.partitions))
    async with asyncio.timeout(WITHIN_S):
        done, there = await ensure(context.config["bootstrap"], stream.disk_budget, partitions)
        if stream.bootstrap is None:
            await make_durable(Path(context.config["data_dir"]) / "stream" / "kafka", there)
    context.facts.update(
        topics=len(TOPICS), created=list(done.create), altered=sorted(done.alter), warnings=list(done.warnings)
    )
    context.count("topics_created_total", len(done.create))
    context.count("topics_altered_total", len(done.alter))
    context.health(Status.HEALTHY, "; ".join(done.warnings) or None)
    context.ready()


async def ensure(bootstrap: str, disk_budget: int, partitions: int) -> tuple[Plan, dict[str, int]]:
    """Do what the plan says on this broker; what was done, and how many partitions each topic has now, every one with a leader."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, client_id="streamforge-topics")
    await admin.start()
    try:
        there = await _partitions(admin)
        wanted = plan(
            there, await _settings(admin, [name.name for name in TOPICS if name.name in there]), disk_budget, partitions
        )
        if wanted.create:
            await _create(admin, wanted.create, disk_budget, partitions)
        if wanted.alter:
            await _alter(admin, wanted.alter)
        return wanted, await _led(admin)
    finally:
        await admin.close()


async def make_durable(data: Path, partitions: Mapping[str, int]) -> None:
    """Wait for the topics' directories, which Kafka makes after it has answered, and sync them and their names to the disk.

    Kafka does not sync a new directory into its parent: on some file systems a power cut would take it with its first readings.
    """
    wanted = [data / f"{name}-{number}" for name, count in partitions.items() for number in range(count)]
    while missing := [path for path in wanted if not path.exists()]:
        wanted = missing
        await asyncio.sleep(0.02)
    await asyncio.to_thread(_sync_all, data)


def _sync_all(data: Path) -> None:
    for directory in data.iterdir():
        if directory.is_dir():
            sync_directory(directory)
    sync_directory(data)


async def _partitions(admin: AIOKafkaAdminClient) -> dict[str, int]:
    return {t["topic"]: len(t["partitions"]) for t in await admin.describe_topics()}


async def _led(admin: AIOKafkaAdminClient) -> dict[str, int]:
    """Wait until every partition has a leader: only then can it be written to."""
    names = [one.name for one in TOPICS]
    while True:
        topics = await admin.describe_topics(names)
        if all(t["error_code"] == 0 and all(p["leader"] >= 0 for p in t["partitions"]) for t in topics):
            return {t["topic"]: len(t["partitions"]) for t in topics}
        await asyncio.sleep(0.02)


async def _settings(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    """Only what was set for the topic itself: a broker's default may change under it."""
    if not names:
        return {}
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
    found = {}
    for code, message, _, name, entries in (resource for answer in answers for resource in answer.resources):
        if code:
            raise TopicsError(f"{name}: its settings cannot be read: {message or for_code(code).__name__}")
        found[name] = {entry[0]: entry[1] for entry in entries}
    return found


async def _create(admin: AIOKafkaAdminClient, names: Iterable[str], disk_budget: int, partitions: int) -> None:
    cluster = await admin.describe_cluster()
    replicas = min(len(cluster["brokers"]), BROKERS_AT_MOST)
    wanted = [
        NewTopic(
            name,
            num_partitions=partitions,
            replication_factor=replicas,
            topic_configs=settings(topic(name), disk_budget, partitions),
        )
        for name in names
    ]
    answer = await admin.create_topics(wanted)
    for error in answer.topic_errors:
        name, code, message = error[0], error[1], error[2] if len(error) > 2 else None
        # Two at once are harmless: the next run compares the settings.
        if code not in (0, TopicAlreadyExistsError.errno):
            raise TopicsError(f"{name} could not be made: {message or for_code(code).__name__}")


async def _alter(admin: AIOKafkaAdminClient, wanted: Mapping[str, Mapping[str, Any]]) -> None:
    answers = await admin.alter_configs(
        [ConfigResource(ConfigResourceType.TOPIC, name, dict(values)) for name, values in wanted.items()]
    )
    for code, message, _, name in (resource for answer in answers for resource in answer.resources):
        if code:
            raise TopicsError(f"{name}: its settings could not be changed: {message or for_code(code).__name__}")


class TopicsActor(IoActor):
    main = staticmethod(run)
