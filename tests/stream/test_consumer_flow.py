"""A consumer goes on within a bound, or says that it does not: aiokafka alone can wait for ever."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading

import pytest
import uvloop
from aiokafka import TopicPartition
from aiokafka.conn import create_conn
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

from stream import flow
from stream.consumer import StreamConsumer
from stream.flow import Flow
from stream.producer import Parcel, StreamLost, StreamProducer

HERE, THERE = ("telemetry.raw", 0), ("telemetry.raw", 1)
LOOK_EVERY_S = 0.7
"""More than a good broker needs to give what is there, on a busy machine too."""
LOOKS, MANY = 22, 300
"""Polls: enough for three looks at the flow, and for whatever is expected."""


@pytest.fixture
async def producer(kafka, unique):
    made = StreamProducer(kafka, unique("producer"), unique("t"))
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def consumer(kafka, unique, monkeypatch):
    monkeypatch.setattr(flow, "LOOK_EVERY_S", LOOK_EVERY_S)
    made = StreamConsumer(kafka, unique("consumer"))
    await made.start()
    yield made
    await made.stop()


async def written(producer: StreamProducer, topic: str, commit: bool = True) -> None:
    await producer.begin()
    await producer.submit([Parcel(topic, 0, [b"k"] * 3, [b"a", b"b", b"c"], 1_700_000_000_000)])
    await producer.settle()
    await (producer.commit({}, "") if commit else producer.abort())


async def polled(consumer: StreamConsumer, polls: int, enough: int = 10**9) -> list[bytes]:
    """What so many polls of a tenth of a second bring, or the first that bring enough."""
    values: list[bytes] = []
    while polls and len(values) < enough:
        for records in (await consumer.poll(1000, wait_s=0.1)).values():
            values += [record.value for record in records]
        polls -= 1
    return values


def test_time_counts_only_while_records_are_waited_for():
    seen = Flow()
    assert not seen.waited(flow.LOOK_EVERY_S / 2)
    assert seen.waited(flow.LOOK_EVERY_S / 2)
    assert seen.stuck({HERE: 5}, {HERE: 5}) == {}
    assert not seen.waited(flow.LOOK_EVERY_S / 2), "a look begins anew"


def test_stuck_is_who_was_behind_at_two_looks_and_did_not_move():
    seen = Flow()
    assert seen.stuck({HERE: 5, THERE: 1}, {HERE: 9, THERE: 9}) == {}, "the first look proves nothing"
    assert seen.stuck({HERE: 5, THERE: 2}, {HERE: 9, THERE: 9}) == {HERE: (5, 9)}, "the other one moved"
    assert seen.stuck({HERE: 9, THERE: 2}, {HERE: 9, THERE: 9}) == {THERE: (2, 9)}
    assert seen.stuck({HERE: 9, THERE: 9}, {HERE: 9, THERE: 9}) == {}


@pytest.mark.parametrize("task", ["fetching records", "looking for the leaders"])
async def test_a_background_task_that_ended_is_said_at_the_next_poll(consumer, producer, new_topic, task):
    """Whatever ended it: any error that is not Kafka's own does."""
    topic = await new_topic()
    await written(producer, topic)
    consumer.assign({(topic, 0): 0})
    assert await polled(consumer, MANY, enough=3) == [b"a", b"b", b"c"]
    inner = consumer._client._client

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("unable to perform operation; the handler is closed")

    for connection in inner._conns.values():
        connection.send = broken  # past stream/broken_connections.py
    if task == "looking for the leaders":
        inner.force_metadata_update()
        await asyncio.wait({inner._sync_task}, timeout=30)
    else:
        await asyncio.wait({consumer._client._fetcher._fetch_task}, timeout=30)
    with pytest.raises(StreamLost, match=f"{task} has ended: RuntimeError unable to perform"):
        await polled(consumer, MANY)
    await consumer.stop()
    assert not any(connection.connected() for connection in inner._conns.values()), "left open"


async def test_records_that_are_there_and_are_not_given_are_an_error(consumer, producer, new_topic):
    topic = await new_topic()
    consumer.assign({(topic, 0): 0})
    consumer._client.pause(TopicPartition(topic, 0))
    await written(producer, topic)
    with pytest.raises(StreamLost, match=rf"was not given: {topic}/0 at 0 of 4"):
        await polled(consumer, MANY)


async def test_nothing_to_read_is_no_standstill(consumer, producer, new_topic):
    """At the end, behind an aborted transaction, and before one that is open: for many looks."""
    topic = await new_topic()
    consumer.assign({(topic, 0): 0})
    assert await polled(consumer, LOOKS) == []
    await written(producer, topic, commit=False)
    assert await polled(consumer, LOOKS) == []
    await producer.begin()
    await producer.submit([Parcel(topic, 0, [b"k"], [b"open"], 1_700_000_000_000)])
    await producer.settle()
    assert await polled(consumer, LOOKS) == []
    await producer.commit({}, "")
    assert await polled(consumer, MANY, enough=1) == [b"open"]


def resetting(kafka: str) -> socket.socket:
    """A broker that answers the first request of a connection (its versions) and is killed under the second, as TCP shows it."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        client, _ = listening.accept()
        host, port = kafka.split(":")
        with client, socket.create_connection((host, int(port))) as broker:
            broker.sendall(client.recv(4096))
            client.sendall(broker.recv(65536))
            client.recv(1)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    threading.Thread(target=serve, daemon=True).start()
    return listening


async def asked_until_it_breaks(kafka: str) -> list[BaseException]:
    """What the requests that got no answer ended with."""
    with resetting(kafka) as listening:
        connection = await create_conn(*listening.getsockname(), request_timeout_ms=10_000)
        under_way = []
        try:
            while connection.connected():
                under_way.append(asyncio.ensure_future(connection.send(MetadataRequest([]))))
                await asyncio.sleep(0)
        except KafkaConnectionError as lost:
            refused = [lost]
        else:
            refused = []
        ended = await asyncio.gather(*under_way, return_exceptions=True)
        await connection.close()
    return refused + [end for end in ended if isinstance(end, BaseException)]


@pytest.mark.parametrize("run", [uvloop.run, asyncio.run], ids=["uvloop", "asyncio"])
def test_a_connection_that_is_reset_under_a_request_is_lost_and_nothing_else(kafka, run):
    """uvloop, which the gateway's workers use, raises RuntimeError then; the background tasks of aiokafka end by it."""
    for _ in range(5):
        ends = run(asked_until_it_breaks(kafka))
        assert {type(end) for end in ends} == {KafkaConnectionError}


async def test_a_request_that_expires_with_another_is_a_lost_connection(consumer):
    """aiokafka closes the connection of the first, and for the second looks for one that is not there any more."""
    inner = consumer._client._client
    await consumer._client.topics()

    def expires(*_: object, **__: object) -> None:
        inner._conns.clear()
        raise TimeoutError

    async def expired() -> None:
        expires()

    for connection in list(inner._conns.values()):
        connection.send = lambda *_, **__: expired()
        with pytest.raises(KafkaConnectionError, match="was closed meanwhile"):
            await inner.send(1, MetadataRequest([]))
        await connection.close()
