"""The topics actor: makes what is missing, corrects what differs, makes it durable, and leaves (transient).

What there shall be stands in stream/topics.py; this is the talk with the broker. On a cluster of somebody else (`stream.bootstrap`) only
what is missing is made. What a person must put right there, or in the configuration, is said and waited for: the workers behind this one
are not started before it is right.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    NodeNotReadyError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    for_code,
)

from actors.context import Context, Status
from actors.io_actor import IoActor
from schemas.gateway import StreamConfig
from stream import external
from stream.broker.data import sync_directory
from stream.broker.wire import silence
from stream.ending import ended
from stream.topics import TOPICS, Plan, plan, settings, topic
from stream.words import said

WITHIN_S = 45
AGAIN_S = 5.0
ASK_WITHIN_S = 5.0
BROKERS_AT_MOST = 3
RIGHTS = "Create, Describe, DescribeConfigs, Read and Write on the topics for this gateway's address (User:ANONYMOUS)"
OWN_STEP = "put this right in the configuration and start the gateway again; the topics are as they were"
THEIR_STEP = "put this right there, or correct `stream` in the configuration (docs/configuration.md says what a cluster of others must be like); "
THEIR_STEP += "StreamForge looks again every few seconds and goes on by itself"

log = structlog.get_logger()


class TopicsError(Exception):
    """A topic could not be made or corrected; the message says which one and what the broker answered."""


class Unfit(TopicsError):
    """The topics that are there are not ours to use until a person has changed something."""


async def run(context: Context) -> None:
    """Bring the broker's topics in line with the table, then return; nothing is half done that the next run would not complete.

    TopicsError, KafkaError or TimeoutError of the gateway's own broker is a crash.
    """
    stream = StreamConfig.model_validate(context.config.get("stream", {}))
    own = stream.bootstrap is None
    waits_for: tuple[type[Exception], ...] = (Unfit,) if own else (TopicsError, KafkaError, OSError, TimeoutError)
    while not context.stopping.is_set():
        try:
            await _once(context, stream, own)
            return
        except waits_for as wrong:
            told = await _told(wrong, context.config["bootstrap"])
            if told != context.reason:
                log.warning("topics_wait_for_a_person", reason=told)
            context.health(Status.UNHEALTHY, told, OWN_STEP if own else THEIR_STEP)
        with suppress(TimeoutError):
            async with asyncio.timeout(AGAIN_S):
                await context.stopping.wait()


async def _told(wrong: Exception, bootstrap: str) -> str:
    """A cluster that closes the connection on the first real request answers the one question that needs no login."""
    if isinstance(wrong, KafkaConnectionError):
        return await silence(bootstrap, ASK_WITHIN_S) or (
            f"Kafka at {bootstrap} answers, but closes the connection before it says anything: it wants a login or TLS there; "
            "right would be a plain listener for this gateway"
        )
    return said(wrong) if isinstance(wrong, KafkaError) else str(wrong) or type(wrong).__name__


async def _once(context: Context, stream: StreamConfig, own: bool) -> None:
    partitions = int(context.config.get("partitions", stream.partitions))
    done, there = await ensure(context.config["bootstrap"], stream.disk_budget, partitions, own)
    if own:
        async with asyncio.timeout(WITHIN_S):
            await make_durable(Path(context.config["data_dir"]) / "stream" / "kafka", there)
    context.facts.update(
        topics=len(TOPICS), created=list(done.create), altered=sorted(done.alter), warnings=list(done.warnings)
    )
    context.count("topics_created_total", len(done.create))
    context.count("topics_altered_total", len(done.alter))
    if done.warnings:
        log.warning("topics_keep_less_than_they_should", topics=list(done.warnings))
    context.health(Status.HEALTHY, "; ".join(done.warnings) or None)
    context.ready()


async def ensure(bootstrap: str, disk_budget: int, partitions: int, own: bool = True) -> tuple[Plan, dict[str, int]]:
    """Do what the plan says on this broker; what was done, and how many partitions each topic has now, every one with a leader.

    Raises Unfit, with all mistakes at once, before anything was changed.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, client_id="streamforge-topics")
    try:
        async with asyncio.timeout(WITHIN_S):
            await admin.start()
            there = await _partitions(admin)
            known = await _settings(admin, [one.name for one in TOPICS if one.name in there])
            wanted = plan(there, known, disk_budget, partitions, own)
            if wanted.mistakes:
                raise Unfit("; ".join(wanted.mistakes))
            if wanted.create:
                await _create(admin, wanted.create, disk_budget, partitions, own)
            if wanted.alter:
                await _alter(admin, wanted.alter)
            return wanted, await _led(admin)
    except (NodeNotReadyError, TimeoutError) as wrong:
        raise TopicsError(_not_reached(bootstrap, admin, wrong)) from wrong
    finally:
        await ended(admin.close(), 2)


def _not_reached(bootstrap: str, admin: AIOKafkaAdminClient, wrong: Exception) -> str:
    """A cluster tells its clients where its brokers are; that address may be good inside its own network only."""
    named = ", ".join(sorted(f"{broker.host}:{broker.port}" for broker in admin._client.cluster.brokers()))
    if named and isinstance(wrong, NodeNotReadyError):
        return (
            f"Kafka at {bootstrap} answers and names its brokers {named}, which cannot be reached from here; "
            "right would be `advertised.listeners` there with a name and port that this machine reaches"
        )
    return f"Kafka at {bootstrap} did not make its topics ready within {WITHIN_S} s"


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
        _refuse_forbidden(topics)
        if all(t["error_code"] == 0 and all(p["leader"] >= 0 for p in t["partitions"]) for t in topics):
            return {t["topic"]: len(t["partitions"]) for t in topics}
        await asyncio.sleep(0.02)


def _refuse_forbidden(topics: list[dict[str, Any]]) -> None:
    """A right that is missing does not come by waiting for a leader."""
    forbidden = [t["topic"] for t in topics if t["error_code"] == TopicAuthorizationFailedError.errno]
    if forbidden:
        raise TopicsError(f"{', '.join(forbidden)}: the right to see this is missing; right would be {RIGHTS}")


async def _settings(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    """Only what was set for the topic itself: a broker's default may change under it."""
    if not names:
        return {}
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
    found = {}
    for code, message, _, name, entries in (resource for answer in answers for resource in answer.resources):
        if code:
            raise TopicsError(f"{name}: its settings cannot be read: {_refusal(code, message)}")
        found[name] = {entry[0]: entry[1] for entry in entries}
    return found


async def _create(
    admin: AIOKafkaAdminClient, names: Iterable[str], disk_budget: int, partitions: int, own: bool
) -> None:
    cluster = await admin.describe_cluster()
    replicas = min(len(cluster["brokers"]), BROKERS_AT_MOST)
    wanted = [
        NewTopic(
            name,
            num_partitions=partitions,
            replication_factor=replicas,
            topic_configs=settings(topic(name), disk_budget, partitions) | ({} if own else external.EXTRA),
        )
        for name in names
    ]
    answer = await admin.create_topics(wanted)
    for error in answer.topic_errors:
        name, code, message = error[0], error[1], error[2] if len(error) > 2 else None
        # Two at once are harmless: the next run compares the settings.
        if code not in (0, TopicAlreadyExistsError.errno):
            raise TopicsError(f"{name} could not be made: {_refusal(code, message)}")


async def _alter(admin: AIOKafkaAdminClient, wanted: Mapping[str, Mapping[str, Any]]) -> None:
    answers = await admin.alter_configs(
        [ConfigResource(ConfigResourceType.TOPIC, name, dict(values)) for name, values in wanted.items()]
    )
    for code, message, _, name in (resource for answer in answers for resource in answer.resources):
        if code:
            raise TopicsError(f"{name}: its settings could not be changed: {_refusal(code, message)}")


def _refusal(code: int, message: str | None) -> str:
    told = message or for_code(code).__name__
    forbidden = code in (TopicAuthorizationFailedError.errno, ClusterAuthorizationFailedError.errno)
    return f"{told}; right would be {RIGHTS}" if forbidden else told


class TopicsActor(IoActor):
    main = staticmethod(run)
