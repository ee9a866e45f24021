"""Exactly once over everything that can happen between a producer and its broker."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from actors.topics import ensure
from stream import outbox as outbox_module
from stream.consumer import StreamConsumer
from stream.outbox import Outbox
from stream.producer import Parcel
from tests.kit.kafka_server import make
from tests.kit.waiting import until

NOW_MS = int(time.time() * 1000)
"""Real time: a broker forgets a producer whose newest record is older than `producer.id.expiration.ms`, 24.8 days at most, when it
loads its logs again, and with it the sequence numbers that recognise a batch sent twice."""


def parcel(topic: str, values: list[bytes], partition: int = 0) -> Parcel:
    return Parcel(topic, partition, [b"key"] * len(values), values, NOW_MS)


def numbered(first: int, count: int) -> list[bytes]:
    return [b"%08d" % n for n in range(first, first + count)]


async def stored(bootstrap: str, topic: str, partitions: int = 1) -> list[bytes]:
    """Every value of a topic, partition by partition in order."""
    reader = StreamConsumer(bootstrap, "stored")
    await reader.start()
    places = [(topic, p) for p in range(partitions)]
    reader.assign(dict.fromkeys(places, 0))
    values: dict[tuple[str, int], list[bytes]] = {place: [] for place in places}
    async with asyncio.timeout(30):
        while any((await reader.lag()).values()):
            for place, records in (await reader.poll(5000, wait_s=1)).items():
                values[place] += [record.value for record in records]
    await reader.stop()
    return [value for place in places for value in values[place]]


@pytest.fixture
async def outbox(kafka, unique, monkeypatch):
    monkeypatch.setattr(outbox_module, "SETTLE_S", 0.05)
    made = Outbox(kafka, unique("outbox"), first_pause_s=0.05)
    yield made
    await made.stop()


async def test_everything_arrives_once_in_order(outbox, kafka, new_topic):
    topic = await new_topic(partitions=2)
    values = [value + b"x" * 500 for value in numbered(0, 3000)]  # several batches
    await outbox.send([parcel(topic, values[:1500]), parcel(topic, [b"other"], 1), parcel(topic, values[1500:])])
    assert await stored(kafka, topic, 2) == [*values, b"other"]
    assert outbox.trouble is None


async def test_a_producer_out_of_order_is_replaced_and_nothing_doubles(outbox, kafka, new_topic):
    """What a broker answers that lost its tail, or forgot the producer."""
    topic = await new_topic(partitions=2)
    await outbox.send([parcel(topic, numbered(0, 10)), parcel(topic, numbered(100, 10), 1)])
    outbox._producer._client._txn_manager.increment_sequence_number(TopicPartition(topic, 0), 7)
    await outbox.send([parcel(topic, numbered(10, 10)), parcel(topic, numbered(110, 10), 1)])
    assert outbox.renewed == 1
    await outbox.send([parcel(topic, numbered(20, 10))])
    assert await stored(kafka, topic, 2) == numbered(0, 30) + numbered(100, 20)


async def test_a_batch_that_arrived_though_its_answer_was_lost_is_not_sent_again(outbox, kafka, new_topic, monkeypatch):
    topic = await new_topic()
    await outbox.send([parcel(topic, numbered(0, 5))])
    given = outbox._producer.hand_over

    async def answer_lost(pack, within_s=None):
        await (await given(pack, within_s))  # it is in the log now
        lost = asyncio.get_running_loop().create_future()
        lost.set_exception(KafkaError("the connection broke"))
        return lost

    monkeypatch.setattr(outbox._producer, "hand_over", answer_lost)
    await outbox.send([parcel(topic, numbered(5, 5))])
    assert outbox.renewed == 1
    await outbox.send([parcel(topic, numbered(10, 5))])
    assert await stored(kafka, topic) == numbered(0, 15)


async def test_a_batch_that_arrives_while_the_log_is_asked_is_not_sent_again(outbox, kafka, new_topic, monkeypatch):
    """The request of the old producer was still on its way when it was given up."""
    topic = await new_topic()
    await outbox.send([parcel(topic, numbered(0, 5))])
    given, late = Outbox(kafka, "late"), []
    ends = StreamConsumer.ends

    async def lost(pack, within_s=None):
        late.append(pack)
        future = asyncio.get_running_loop().create_future()
        future.set_exception(KafkaError("the connection broke"))
        return future

    async def ends_then_arrives(reader, places):
        found = await ends(reader, places)
        while late:
            await given.send(late.pop())
        return found

    monkeypatch.setattr(outbox._producer, "hand_over", lost)
    monkeypatch.setattr(StreamConsumer, "ends", ends_then_arrives)
    await outbox.send([parcel(topic, numbered(5, 5))])
    await given.stop()
    assert await stored(kafka, topic) == numbered(0, 10)


async def test_the_log_is_asked_also_by_a_producer_that_never_had_an_answer(outbox, kafka, new_topic, monkeypatch):
    """No offset is known: the oldest arrival time of the batch says where to look."""
    topic = await new_topic()
    other = Outbox(kafka, "other")
    await other.send([Parcel(topic, 0, [b"k"] * 500, numbered(1000, 500), NOW_MS - 60_000)])
    await other.stop()
    producer = await outbox._ready()
    given = producer.hand_over

    async def answer_lost(pack, within_s=None):
        await (await given(pack, within_s))
        lost = asyncio.get_running_loop().create_future()
        lost.set_exception(KafkaError("the connection broke"))
        return lost

    monkeypatch.setattr(producer, "hand_over", answer_lost)
    await outbox.send([parcel(topic, numbered(0, 5))])
    assert await stored(kafka, topic) == numbered(1000, 500) + numbered(0, 5)


async def test_silence_from_a_broker_that_answers_others_ends(outbox, kafka, new_topic, monkeypatch):
    """An acknowledgement that never comes (aiokafka#1101) must not stop an adapter for ever."""
    topic = await new_topic()
    monkeypatch.setattr(outbox_module, "SILENT_S", 0.1)
    monkeypatch.setattr(outbox_module, "TICK_S", 0.1)
    outbox._stuck_s = 0.5
    producer = await outbox._ready()

    async def deaf(pack, within_s=None):
        return asyncio.get_running_loop().create_future()

    monkeypatch.setattr(producer, "hand_over", deaf)
    sending = asyncio.create_task(outbox.send([parcel(topic, numbered(0, 5))]))
    async with asyncio.timeout(60):
        await until(lambda: outbox.trouble)
        assert "acknowledges nothing" in outbox.trouble
        await until(lambda: outbox._producer is not producer)
        outbox._stuck_s = 60  # the next one is not deaf, at most slow
        await sending
    assert await stored(kafka, topic) == numbered(0, 5)
    assert outbox.trouble is None


async def test_what_the_broker_never_takes_is_refused_and_the_rest_sent(outbox, kafka, new_topic):
    topic = await new_topic(settings={"max.message.bytes": "2000"})
    big = random.Random(3).randbytes(5000)
    refused = await outbox.send([parcel(topic, [b"a", b"b", big, b"c"])])
    assert [r.parcel.values for r in refused] == [[big]]
    assert "5000 bytes" in refused[0].reason
    assert await stored(kafka, topic) == [b"a", b"b", b"c"]


async def test_a_topic_that_is_made_later_is_waited_for(outbox, kafka, unique):
    topic = unique("late")
    sending = asyncio.create_task(outbox.send([parcel(topic, [b"x"])]))
    async with asyncio.timeout(60):
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
        await admin.start()
        await admin.create_topics([NewTopic(topic, 1, 1)])
        await sending
        assert await stored(kafka, topic) == [b"x"]
        await admin.delete_topics([topic])
        await admin.close()


async def test_a_worn_producer_is_replaced_in_order(outbox, kafka, new_topic):
    """aiokafka counts past 2**31 records of a partition into the negative; Kafka would refuse for ever."""
    topic = await new_topic()
    await outbox.send([parcel(topic, numbered(0, 5))])
    first = outbox._producer
    first._sent[topic, 0] = 2**30 + 1
    await outbox.send([parcel(topic, numbered(5, 5))])
    await outbox.send([parcel(topic, numbered(10, 5))])
    assert outbox._producer is not first
    assert outbox.renewed == 0
    assert await stored(kafka, topic) == numbered(0, 15)


async def test_a_broker_killed_while_sending_has_everything_once(tmp_path):
    """kill -9 of the JVM in the middle, and a restart over the same data on the same port."""
    broker = make(tmp_path, durability="synced")
    await broker.start()
    bootstrap = broker.place.bootstrap
    await ensure(bootstrap, 2**30, 12)
    outbox, sent, stop = Outbox(bootstrap, "adapter"), 0, asyncio.Event()

    async def send() -> None:
        nonlocal sent
        while not stop.is_set():
            parcels = [parcel("telemetry.raw", numbered(sent + 20 * p, 20), p) for p in range(12)]
            assert await outbox.send(parcels) == []
            sent += 240

    sending = asyncio.create_task(send())
    try:
        await until(lambda: sent > 5000)
        broker.child.kill()
        await broker.child.exited
        await until(lambda: outbox.trouble)
        assert "does not answer since" in outbox.trouble
        broker = make(tmp_path, broker.place.port, durability="synced")
        await broker.start()
        await until(lambda: outbox.trouble is None)
        stop.set()
        await asyncio.wait_for(sending, 30)
        found = Counter(await stored(bootstrap, "telemetry.raw", 12))
        assert len(found) == sent, "missing"
        assert max(found.values()) == 1, "doubled"
        assert outbox.renewed == 0
        await outbox.stop()
    finally:
        sending.cancel()
        await broker.kill()


async def test_a_broken_batch_is_passed_over_and_told_and_nothing_else_is_lost(tmp_path):
    """A flipped bit on the disk below the recovery point: Kafka never looks again, every reader stumbles over it."""
    broker = make(tmp_path)
    await broker.start()
    bootstrap = broker.place.bootstrap
    await ensure(bootstrap, 2**30, 12)
    outbox = Outbox(bootstrap, "adapter")
    for first in (0, 100, 200):
        await outbox.send(
            [parcel("telemetry.raw", numbered(first, 100)), parcel("telemetry.raw", numbered(first, 100), 1)]
        )
    await outbox.stop()
    assert await broker.stop()
    flip_in_second_batch(broker.place.data / "telemetry.raw-0" / f"{0:020}.log")
    broker = make(tmp_path, broker.place.port)
    await broker.start()
    skipped = []
    reader = StreamConsumer(bootstrap, "reader", on_skip=skipped.append)
    try:
        await reader.start()
        reader.assign({("telemetry.raw", 0): 0, ("telemetry.raw", 1): 0})
        got: dict[int, list[bytes]] = {0: [], 1: []}
        async with asyncio.timeout(40):
            while sum(map(len, got.values())) < 500:
                for (_, partition), records in (await reader.poll(5000, wait_s=1)).items():
                    got[partition] += [record.value for record in records]
        assert got == {0: numbered(0, 100) + numbered(200, 100), 1: numbered(0, 300)}
        assert [(s.partition, s.first, s.next) for s in skipped] == [(0, 100, 200)]
        assert "cannot be read" in skipped[0].reason
    finally:
        await reader.stop()
        await broker.kill()


def flip_in_second_batch(segment) -> None:
    data = bytearray(segment.read_bytes())
    second = 12 + int.from_bytes(data[8:12], "big")
    length = int.from_bytes(data[second + 8 : second + 12], "big")
    data[second + 12 + length // 2] ^= 0x10
    segment.write_bytes(data)
