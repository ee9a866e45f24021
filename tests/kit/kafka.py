"""Fixtures around one real Kafka broker for the whole test run, shared by all xdist workers.

- `kafka`: its bootstrap, `"127.0.0.1:port"`. The gateway's topics (stream/topics.py) are there, 12 partitions each. Durability is lazy.
- `unique`: a name nobody else has, for consumer groups, transactional ids and assets: `unique("validator")` is `"validator-3f2a9c0d11"`.
- `new_topic`: makes a topic with a name of its own and deletes it afterwards:
  `topic = await new_topic(partitions=3, settings={"cleanup.policy": "compact"}, prefix="raw")`.

Tests run at the same time on this broker: one that counts what is in a topic needs a topic of its own, one that stops or kills a broker needs a
broker of its own (`tests.kit.kafka_server.make(tmp_path)`, then `await broker.start()`).
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import for_code

from tests.kit import guarded
from tests.kit.waiting import until


class MakeTopic(Protocol):
    def __call__(
        self, partitions: int = 1, settings: dict[str, str] | None = None, prefix: str = "t"
    ) -> Awaitable[str]: ...


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One broker for the run; it ends with the process that runs the tests (the controller, under xdist)."""
    return shared_broker(tmp_path_factory, "kafka")


def shared_broker(tmp_path_factory: pytest.TempPathFactory, name: str) -> str:
    """The run's one broker of this name, started by whoever asks first."""
    return guarded.shared(tmp_path_factory, name, "tests.kit.kafka_server")


@pytest.fixture
def unique() -> Callable[[str], str]:
    return lambda prefix="t": f"{prefix}-{uuid.uuid4().hex[:10]}"


@pytest.fixture
async def new_topic(kafka: str) -> AsyncIterator[MakeTopic]:
    """Makes topics of the test's own, ready to write to."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    made: list[str] = []

    async def make(partitions: int = 1, settings: dict[str, str] | None = None, prefix: str = "t") -> str:
        name = f"{prefix}-{uuid.uuid4().hex[:10]}"
        await _create(admin, name, partitions, settings or {})
        made.append(name)
        return name

    async with asyncio.timeout(20):
        await admin.start()
    yield make
    async with asyncio.timeout(20):
        if made:
            await admin.delete_topics(made)
        await admin.close()


async def one_topic(bootstrap: str, name: str, partitions: int = 1) -> None:
    """Make a topic on any broker; for brokers of a test's own."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    async with asyncio.timeout(20):
        await admin.start()
        try:
            await _create(admin, name, partitions, {})
        finally:
            await admin.close()


async def _create(admin: AIOKafkaAdminClient, name: str, partitions: int, settings: dict[str, str]) -> None:
    answer = await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=settings)])
    for error in answer.topic_errors:
        if error[1]:
            raise for_code(error[1])(error[2])

    async def led() -> bool:  # Kafka tells nobody when it leads a new partition
        return _led((await admin.describe_topics([name]))[0], partitions)

    await until(led)


def _led(described: dict, partitions: int) -> bool:
    there = described["partitions"]
    return len(there) == partitions and all(p["leader"] >= 0 for p in there)
