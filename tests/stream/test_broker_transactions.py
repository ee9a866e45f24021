"""Transactions left open on a real broker: made as a late write makes them, found, ended, and readers go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.protocol.produce import ProduceRequest_v3
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from stream.broker.transactions import (
    Fence,
    Known,
    Marker,
    Open,
    Watch,
    _end,
    known_transactions,
    open_transactions,
    settle,
)
from stream.broker.wire import Wire, split
from tests.kit.kafka import MakeTopic, one_topic
from tests.kit.kafka_server import make
from tests.kit.waiting import until


@dataclass
class Bench:
    bootstrap: str

    @property
    def port(self) -> int:
        return split(self.bootstrap)[0][1]

    def wire(self) -> Wire:
        return Wire("127.0.0.1", self.port, 30)

    def watch(self, grace_s: float = 0) -> Watch:
        return Watch("127.0.0.1", self.port, grace_s)

    async def late_write(self, topic: str, producer_id: int, epoch: int, sequence: int, value: bytes = b"late") -> None:
        """A write of a transaction that its coordinator does not have (any more): partition verification is off, so it is taken."""
        batch = DefaultRecordBatchBuilder(2, 0, 1, producer_id, epoch, sequence, 10_000)
        batch.append(0, 1, b"k", value, [])
        async with self.wire() as wire:
            answer = await wire.ask(ProduceRequest_v3("x", -1, 5000, [(topic, [(0, bytes(batch.build()))])]))
        assert answer["topics"][0]["partitions"][0]["error_code"] == 0

    async def until_none_open(self, topic: str) -> None:
        """Markers are written after the commit was answered."""
        async with self.wire() as wire:

            async def none_open() -> bool:
                return all(one.topic != topic for one in await open_transactions(wire))

            await until(none_open)

    async def values(self, topic: str, end: int) -> list[bytes]:
        """Committed values up to offset `end` (exclusive), control records skipped; TimeoutError when a transaction holds them back."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap, isolation_level="read_committed", enable_auto_commit=False
        )
        partition, found = TopicPartition(topic, 0), list[bytes]()
        async with consumer, asyncio.timeout(30):
            consumer.assign([partition])
            await consumer.seek_to_beginning(partition)
            while await consumer.position(partition) < end:
                found += [r.value for rs in (await consumer.getmany(timeout_ms=50)).values() for r in rs]
        return found


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[Bench]:
    """A broker of this test's own: with a grace of 0 the watch would end what other tests are about."""
    broker = make(tmp_path)
    await broker.start()
    yield Bench(broker.place.bootstrap)
    await broker.kill()


@pytest.fixture
def shared(kafka: str) -> Bench:
    return Bench(kafka)


async def test_what_nobody_owns_is_ended_and_what_somebody_owns_is_left_alone(own: Bench) -> None:
    await one_topic(own.bootstrap, "t")
    async with AIOKafkaProducer(bootstrap_servers=own.bootstrap, transactional_id="w-0") as producer:
        # In order: open, owned, within its time.
        await producer.begin_transaction()
        await producer.send_and_wait("t", b"mine", partition=0)
        watch = own.watch()
        assert await watch.look() == []
        assert watch.open_now == 1
        await producer.commit_transaction()
        await own.until_none_open("t")
        assert await watch.look() == []
        assert watch.open_now == 0

        # A producer no coordinator knows, as after a power cut that took the coordinator's log.
        await own.late_write("t", 4711, 0, 0)
        async with own.wire() as wire:
            assert await open_transactions(wire) == [Open("t", 0, 4711, 0, -1, 2)]
        ended = await watch.look()
        assert [(type(one), one.commit) for one in ended if isinstance(one, Marker)] == [(Marker, False)]
        assert "no coordinator knows producer 4711" in ended[0].why
        await producer.begin_transaction()
        await producer.send_and_wait("t", b"after", partition=0)
        await producer.commit_transaction()
        await own.until_none_open("t")
        assert await own.values("t", 6) == [b"mine", b"after"]

        # A commit whose marker did not reach the partition: same producer, same epoch, decided.
        async with own.wire() as wire:

            async def complete() -> list[Known]:
                """The coordinator writes so a moment after the last marker."""
                return [one for one in (await known_transactions(wire) or {}).values() if one.state == "CompleteCommit"]

            (owner,) = await until(complete)
        await own.late_write("t", owner.producer_id, owner.producer_epoch, 2, b"decided")
        (commit,) = await watch.look()
        assert isinstance(commit, Marker)
        assert commit.commit
        assert await own.values("t", 8) == [b"mine", b"after", b"decided"]


async def test_an_overdue_transaction_is_fenced(
    shared: Bench, new_topic: MakeTopic, unique: Callable[[str], str]
) -> None:
    topic, name = await new_topic(), unique("w")
    producer = AIOKafkaProducer(bootstrap_servers=shared.bootstrap, transactional_id=name)
    await producer.start()
    await producer.begin_transaction()
    await producer.send_and_wait(topic, b"overdue", partition=0)
    async with shared.wire() as wire:
        assert await _end(wire, [Fence(name, 60_000, "overdue")])
    await shared.until_none_open(topic)
    assert await shared.values(topic, 2) == []
    with pytest.raises(Exception, match=r"ProducerFenced|fenced|epoch"):
        await producer.commit_transaction()
    await producer.stop()


async def test_one_that_is_young_is_only_remembered(shared: Bench, new_topic: MakeTopic) -> None:
    topic = await new_topic()
    watch = shared.watch(grace_s=60)
    await shared.late_write(topic, 4712, 0, 0)
    assert await watch.look() == []
    assert watch.open_now >= 1
    assert watch.oldest() is not None


async def test_what_cannot_be_settled_is_said(own: Bench) -> None:
    """One nobody owns: the stop that follows is a kill, and the watch after the next start ends it."""
    await one_topic(own.bootstrap, "t")
    assert await settle("127.0.0.1", own.port, 30) == []
    await own.late_write("t", 4711, 0, 0)
    (left,) = await settle("127.0.0.1", own.port, 1, 0.1)
    assert (left.topic, left.producer_id) == ("t", 4711)
