"""The producer and the consumer against a real broker: what is acknowledged is there, whole, once, and every wait ends."""

from __future__ import annotations

import asyncio
import random
import socket

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import TopicPartition

from stream.consumer import OutOfRange, StreamConsumer
from stream.partitions import Partitioner, murmur2
from stream.producer import BATCH_BYTES, RECORD_BYTES, Parcel, RecordTooLarge, StreamLost, StreamProducer, packs
from tests.kit.waiting import until

NOW_MS = 1_700_000_000_000


def parcel(topic: str, values: list[bytes], partition: int = 0) -> Parcel:
    return Parcel(topic, partition, [b"key"] * len(values), values, NOW_MS)


@pytest.fixture
async def producer(kafka, unique):
    made = StreamProducer(kafka, unique("producer"))
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def consumer(kafka, unique):
    made = StreamConsumer(kafka, unique("consumer"), unique("group"))
    await made.start()
    yield made
    await made.stop()


async def read(consumer: StreamConsumer, topic: str, count: int, start: int = 0, partition: int = 0) -> list[bytes]:
    consumer.assign({(topic, partition): start})
    values: list[bytes] = []
    async with asyncio.timeout(20):
        while len(values) < count:
            for records in (await consumer.poll(1000, wait_s=1)).values():
                values += [record.value for record in records]
    return values


@pytest.fixture
def deaf():
    """A port that takes connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def nobody():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


# Partitions


@pytest.mark.parametrize(
    ("key", "hashed"),
    [(b"21", -973932308), (b"foobar", -790332482), (b"a-little-bit-long-string", -985981536),
     (b"a-little-bit-longer-string", -1486304829), (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
     (b"abc", 479470107), (b"", 275646681)],
)  # fmt: skip
def test_murmur2_is_java_s(key, hashed):
    """Kafka's own test vectors (UtilsTest)."""
    assert murmur2(key) == hashed & 0xFFFFFFFF


async def test_partitions_are_those_of_other_clients(kafka, new_topic):
    topic = await new_topic(partitions=5)
    other = AIOKafkaProducer(bootstrap_servers=kafka)
    await other.start()
    ours = Partitioner(5)
    keys = [f"asset_{n}".encode() for n in range(40)]
    try:
        placed = [(await other.send_and_wait(topic, b"x", key=key)).partition for key in keys]
    finally:
        await other.stop()
    assert [ours(key) for key in keys] == placed


# Packing


def test_packs_keep_order_and_fit():
    big = [b"%06d" % n + b"x" * 1000 for n in range(2000)]
    made = packs([parcel("t", big), parcel("u", [b"a"]), parcel("t", [b"last"]), parcel("t", [])])
    assert all(sum(p.size for p in pack) <= BATCH_BYTES for pack in made)
    assert [v for pack in made for p in pack if p.topic == "t" for v in p.values] == [*big, b"last"]
    assert len({(p.topic, p.partition) for p in made[0]}) == 1


def test_a_record_that_never_fits_is_refused_before_anything_is_sent():
    with pytest.raises(RecordTooLarge, match=r"1000001 bytes for t; at most 1000000"):
        packs([parcel("t", [b"fine"]), parcel("t", [b"x" * (RECORD_BYTES + 1)])])


# Producing


async def test_what_is_acknowledged_is_there_in_order(producer, consumer, new_topic):
    topic = await new_topic()
    values = [b"%06d" % n + b"x" * 300 for n in range(5000)]  # more than one batch
    await producer.send([parcel(topic, values[:10]), parcel(topic, values[10:])])
    assert await read(consumer, topic, 5000) == values


async def test_keys_and_arrival_times_are_kept(producer, consumer, new_topic):
    topic = await new_topic()
    await producer.send([Parcel(topic, 0, [b"a", b"b"], [b"1", b"2"], [NOW_MS, NOW_MS + 5])])
    consumer.assign({(topic, 0): 0})
    records = (await consumer.poll(10, wait_s=10))[topic, 0]
    assert [(r.key, r.timestamp) for r in records] == [(b"a", NOW_MS), (b"b", NOW_MS + 5)]


async def test_the_largest_record_fits_and_a_larger_one_hurts_nobody(producer, consumer, new_topic):
    topic = await new_topic()
    largest = random.Random(1).randbytes(RECORD_BYTES)  # nothing that compression could shrink
    with pytest.raises(RecordTooLarge):
        await producer.send([parcel(topic, [b"before", b"x" * (RECORD_BYTES + 1)])])
    await producer.send([parcel(topic, [largest, b"after"])])
    assert await read(consumer, topic, 2) == [largest, b"after"]


async def test_a_topic_that_is_not_there_is_lost_in_time(kafka, unique):
    producer = StreamProducer(kafka, unique("p"), within_s=2)
    await producer.start()
    with pytest.raises(StreamLost):
        await producer.send([parcel(unique("missing"), [b"x"])])
    await producer.give_up()


@pytest.mark.parametrize("peer", ["deaf", "nobody"])
async def test_every_wait_ends(peer, request):
    """A broker that is away, and one that takes connections but never answers (a stopped process)."""
    address = request.getfixturevalue(peer)
    async with asyncio.timeout(30):
        with pytest.raises(StreamLost):
            await StreamProducer(address, "p").start(within_s=0.5)
        with pytest.raises(StreamLost):
            await StreamConsumer(address, "c").start(within_s=0.5)


async def test_stop_is_harmless_any_time(kafka):
    producer, consumer = StreamProducer(kafka, "p"), StreamConsumer(kafka, "c")
    await producer.stop()
    await consumer.stop()
    await producer.start()
    await producer.stop()
    await producer.stop()
    with pytest.raises(StreamLost, match="not started"):
        await producer.send([parcel("t", [b"x"])])


# Transactions


@pytest.fixture
async def transactional(kafka, unique):
    made = StreamProducer(kafka, unique("p"), unique("validator"))
    await made.start()
    yield made
    await made.stop()


async def test_a_transaction_is_records_and_offsets_or_neither(transactional, consumer, new_topic, unique, kafka):
    topic, place = await new_topic(), None
    place = (topic, 0)
    group = unique("stage")
    watcher = StreamConsumer(kafka, "watch", group)
    await watcher.start()
    await transactional.begin()
    await transactional.submit([parcel(topic, [b"aborted"])])
    await transactional.abort()
    await transactional.begin()
    await transactional.submit([parcel(topic, [b"kept"])])
    await transactional.commit({place: 42}, group)
    assert await read(consumer, topic, 1) == [b"kept"]

    async def committed() -> bool:
        """Each partition learns of the end by a marker of its own, the one that keeps the offsets too."""
        return await watcher.committed([place]) == {place: 42}

    await until(committed)
    await watcher.stop()


async def test_what_is_not_committed_is_not_read(transactional, consumer, new_topic):
    topic = await new_topic()
    await transactional.begin()
    await transactional.submit([parcel(topic, [b"open"])])
    await transactional.settle()
    consumer.assign({(topic, 0): 0})
    assert await consumer.poll(10, wait_s=0.5) == {}
    assert await consumer.lag() == {(topic, 0): 0}, "the last stable offset is the end for readers of committed records"
    await transactional.commit({}, "")
    assert (await consumer.poll(10, wait_s=10))[topic, 0][0].value == b"open"


async def test_a_transaction_of_which_a_batch_failed_is_never_committed(kafka, unique, consumer, new_topic):
    """aiokafka alone would commit the other batches."""
    small = await new_topic(settings={"max.message.bytes": "1000"})
    good = await new_topic()
    producer = StreamProducer(kafka, unique("p"), unique("t"))
    await producer.start()
    await producer.begin()
    await producer.submit([parcel(good, [b"half"]), parcel(small, [bytes(range(256)) * 40])])
    await producer.submit([parcel(small, [random.Random(2).randbytes(5000)])])
    with pytest.raises(StreamLost, match="larger than the topic takes"):
        await producer.commit({}, "")
    await producer.give_up()
    successor = StreamProducer(kafka, unique("p"), producer._options["transactional_id"])
    await successor.start()  # resolves what the first left open
    consumer.assign({(good, 0): 0})
    assert await consumer.poll(10, wait_s=1) == {}
    await successor.stop()


async def test_a_successor_fences_its_predecessor(kafka, unique, new_topic):
    topic, name = await new_topic(), unique("validator")
    first, second = StreamProducer(kafka, "a", name), StreamProducer(kafka, "b", name)
    await first.start()
    await first.begin()
    await first.submit([parcel(topic, [b"x"])])
    await second.start()
    with pytest.raises(StreamLost):
        await first.commit({}, "")
    await first.give_up()
    await second.stop()


# Consuming


async def test_offsets_are_kept_only_when_told(consumer, producer, new_topic):
    place = (await new_topic(), 0)
    await producer.send([parcel(place[0], [b"a", b"b", b"c"])])
    assert await read(consumer, place[0], 3) == [b"a", b"b", b"c"]
    assert await consumer.committed([place]) == {place: None}
    await consumer.commit({place: 2})
    assert await consumer.committed([place]) == {place: 2}
    assert await read(consumer, place[0], 1, start=2) == [b"c"]


async def test_lag_counts_what_was_not_polled(consumer, producer, new_topic):
    topic = await new_topic(partitions=2)
    await producer.send([parcel(topic, [b"a"] * 10), parcel(topic, [b"b"] * 3, partition=1)])
    consumer.assign({(topic, 0): 0, (topic, 1): 0})
    assert await consumer.lag() == {(topic, 0): 10, (topic, 1): 3}
    while sum((await consumer.lag()).values()):
        await consumer.poll(4, wait_s=1)
    assert consumer.positions() == {(topic, 0): 10, (topic, 1): 3}


async def test_offsets_are_found_by_arrival_time(consumer, producer, new_topic):
    topic = await new_topic()
    await producer.send([Parcel(topic, 0, [b"k"] * 3, [b"a", b"b", b"c"], [NOW_MS, NOW_MS + 10, NOW_MS + 20])])
    assert await consumer.offsets_at({(topic, 0): NOW_MS + 5}) == {(topic, 0): 1}
    assert await consumer.offsets_at({(topic, 0): NOW_MS + 50}) == {(topic, 0): None}


async def deleted_up_to(kafka: str, topic: str, offset: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(before_offset=offset)})
    finally:
        await admin.close()


async def test_deleted_records_are_passed_over_and_told(kafka, unique, producer, new_topic):
    topic, skipped = await new_topic(), []
    await producer.send([parcel(topic, [b"a", b"b", b"c"])])
    await deleted_up_to(kafka, topic, 2)
    consumer = StreamConsumer(kafka, unique("c"), on_skip=skipped.append)
    await consumer.start()
    assert await read(consumer, topic, 1) == [b"c"]
    assert [(s.first, s.next) for s in skipped] == [(0, 2)]
    await consumer.stop()


@pytest.mark.parametrize("reset", ["earliest", "none"])
async def test_a_position_beyond_the_end_is_the_caller_s_decision(kafka, unique, producer, new_topic, reset):
    topic = await new_topic()
    await producer.send([parcel(topic, [b"a"])])
    consumer = StreamConsumer(kafka, unique("c"), reset=reset)
    await consumer.start()
    consumer.assign({(topic, 0): 500})
    with pytest.raises(OutOfRange, match="at 500, the log holds 0 to 1"):
        async with asyncio.timeout(20):
            while True:
                await consumer.poll(10, wait_s=1)
    await consumer.stop()
