"""What does not want to end is ended in a bounded time."""

from __future__ import annotations

import asyncio
import gc
import time

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from stream import ending
from stream import producer as producer_module
from stream.consumer import StreamConsumer
from stream.ending import ended
from stream.outbox import Outbox
from stream.producer import Parcel, StreamProducer


async def swallows(times: int) -> None:
    for _ in range(times + 1):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            continue


async def fails() -> None:
    raise RuntimeError("broken")


async def test_whether_it_ended_by_itself_is_told():
    assert await ended(asyncio.sleep(0), 5)
    assert not await ended(fails(), 5)
    assert not await ended(asyncio.sleep(60), 0.01)


@pytest.mark.parametrize("times", [1, 5, 1000])
async def test_a_swallowed_cancellation_does_not_hold_us(monkeypatch, times):
    monkeypatch.setattr(ending, "CANCEL_EVERY_S", 0.01)
    work = asyncio.create_task(swallows(times))
    async with asyncio.timeout(30):
        assert not await ended(work, 0.01)
    assert work.done() == (times < 1000), "left behind only when nothing helps"
    for _ in range(times):
        work.cancel()
        await asyncio.sleep(0)
    await asyncio.wait({work})


async def test_our_own_cancellation_is_not_swallowed(monkeypatch):
    monkeypatch.setattr(ending, "CANCEL_EVERY_S", 0.01)
    work = asyncio.create_task(swallows(1))
    ours = asyncio.create_task(ended(work, 60))
    await asyncio.sleep(0)
    ours.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(30):
            await ours
    assert work.done()


@pytest.mark.parametrize("kind", [StreamProducer, StreamConsumer])
async def test_a_client_that_swallows_the_deadline_is_left_in_time(kafka, unique, monkeypatch, kind):
    monkeypatch.setattr(ending, "CANCEL_EVERY_S", 0.01)
    client = kind(kafka, unique("client"))
    await client.start()
    inner = client._client
    real, held = inner.stop, []

    async def stop() -> None:
        held.append(asyncio.current_task())
        await swallows(3)

    inner.stop = stop
    began = time.monotonic()
    await client.stop(within_s=0.2)
    assert time.monotonic() - began < 30, "swallowed 60 s each"
    assert held[0].done()
    await real()


async def test_a_worn_producer_is_replaced_before_its_numbers_run_over(kafka, unique, new_topic, monkeypatch):
    """aiokafka counts on from 2**31 - 1 into the negative, where Kafka expects 0."""
    assert producer_module.SEQUENCES_MAX + producer_module.BATCH_BYTES < 2**31 - 1, "a whole batch more still fits"
    monkeypatch.setattr(producer_module, "SEQUENCES_MAX", 10)
    topic = await new_topic(partitions=2)
    outbox = Outbox(kafka, unique("outbox"))
    used = set()
    for n in range(20):
        for partition in (0, 1):
            await outbox.send([Parcel(topic, partition, [b"k"], [b"%d" % n], 1_700_000_000_000)])
        used.add(outbox._producer)
    await outbox.stop()
    assert len(used - {None}) == 2
    assert outbox.renewed == 0, "in order: nothing had to be asked"
    reader = StreamConsumer(kafka, "reader")
    await reader.start()
    assert await reader.ends([(topic, 0), (topic, 1)]) == {(topic, 0): 20, (topic, 1): 20}
    await reader.stop()


async def test_a_producer_that_is_given_up_leaves_no_complaint(kafka, unique, new_topic):
    """Not a batch that waits for its next attempt, and not a transaction that its sender's end has failed."""
    complaints: list[dict] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
    topic = await new_topic()
    producer = StreamProducer(kafka, unique("p"), unique("t"))
    await producer.start()
    await producer.begin()
    await producer.submit([Parcel(topic, 0, [b"k"], [b"x"], 1_700_000_000_000)])
    await producer.settle()
    accumulator = producer._client._message_accumulator
    waited_for = await producer.hand_over([Parcel(topic, 0, [b"k"], [b"y"], 1_700_000_000_000)])
    place = TopicPartition(topic, 0)
    accumulator.reenqueue(accumulator._pop_batch(place))
    producer._client._txn_manager.fatal_error(KafkaError("the coordinator is gone"))
    await producer.give_up()
    await asyncio.wait({waited_for}, timeout=30)
    assert waited_for.done()
    del accumulator, producer, waited_for
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []
