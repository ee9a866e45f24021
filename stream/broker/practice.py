"""A few seconds of a gateway's work against a throw-away broker, so that the AOT cache holds the classes that work needs."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

TOPIC = "practice"
WITHIN_S = 60


async def practise(bootstrap: str) -> None:
    """Create a topic, write transactions with offsets, read them committed. TimeoutError when the broker is too slow."""
    async with asyncio.timeout(WITHIN_S):
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        await admin.create_topics(
            [NewTopic(TOPIC, num_partitions=2, replication_factor=1, topic_configs={"retention.ms": "60000"})]
        )
        await admin.close()
        await _transactions(bootstrap)
        await _read(bootstrap)


async def _transactions(bootstrap: str) -> None:
    partition = TopicPartition(TOPIC, 0)
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap, transactional_id="practice", compression_type="zstd"
    ) as producer:
        for number in range(20):
            async with producer.transaction():
                await producer.send_and_wait(TOPIC, b"x" * 200, key=str(number).encode())
                await producer.send_offsets_to_transaction({partition: number + 1}, "practice")


async def _read(bootstrap: str) -> None:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, group_id="practice", enable_auto_commit=False, isolation_level="read_committed"
    )
    async with consumer:
        partitions = [TopicPartition(TOPIC, 0), TopicPartition(TOPIC, 1)]
        consumer.assign(partitions)
        await consumer.committed(partitions[0])
        await consumer.seek_to_beginning(*partitions)
        seen = 0
        while seen < 20:
            seen += sum(map(len, (await consumer.getmany(timeout_ms=500)).values()))
