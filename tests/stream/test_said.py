"""Kafka's errors in the product's words: which broker or topic, what was wrong, what would be right; never aiokafka's own."""

from __future__ import annotations

import asyncio
import contextlib

import aiokafka.errors as kafka
import pytest
from aiokafka import TopicPartition

from stream.broker.ports import free_pair
from stream.cluster import cluster_id
from stream.consumer import StreamConsumer
from stream.producer import StreamLost, StreamProducer
from stream.words import said


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            kafka.KafkaConnectionError(
                "Unable to bootstrap from [('127.0.0.1', 9092, <AddressFamily.AF_UNSPEC: 0>), ('::1', 9094, 0)]"
            ),
            "no Kafka broker answers at 127.0.0.1:9092, ::1:9094; right would be",
        ),
        (
            kafka.KafkaConnectionError("Connection at b.example:9092 closed"),
            "the broker at b.example:9092 closed the connection",
        ),
        (
            kafka.KafkaConnectionError("Connection at 127.0.0.1:9092 broken: [Errno 104] reset"),
            "the connection to the broker at 127.0.0.1:9092 broke: [Errno 104] reset",
        ),
        (
            kafka.KafkaConnectionError("No connection to broker at 127.0.0.1:9092"),
            "there is no connection to the broker at 127.0.0.1:9092",
        ),
        (
            kafka.NodeNotReadyError("Attempt to send a request to node which is not ready (node id 1)."),
            "broker 1 cannot be reached at the address that it names; right would be",
        ),
        (kafka.RequestTimedOutError(), "the broker did not answer a request in time"),
        (
            kafka.NotLeaderForPartitionError(TopicPartition("telemetry.raw", 11)),
            "a partition has no leader just now; the brokers choose one by themselves, right would be that all of them run: telemetry.raw/11",
        ),
        (kafka.ProducerFenced(), "a newer producer with the same name has taken over"),
        (
            kafka.TopicAuthorizationFailedError("telemetry.raw"),
            "the right to do this is missing; docs/configuration.md names",
        ),
        (
            kafka.OutOfOrderSequenceNumber(),
            "Kafka refused it with error 45 (The broker received an out of order sequence number)",
        ),
        (OSError("reset"), "OSError reset"),
    ],
)
def test_every_error_is_said_in_our_words(error: Exception, words: str) -> None:
    assert said(error).startswith(words)
    assert "Error " not in said(error).replace("OSError", "")


def test_an_error_that_hides_another_says_both() -> None:
    hidden = kafka.KafkaError("Unexpected error during batch delivery")
    hidden.__cause__ = OSError("no room")
    assert said(hidden) == "Unexpected error during batch delivery (OSError no room)"


def test_what_has_no_words_yet_keeps_its_kind() -> None:
    assert said(kafka.UnknownMemberIdError("group x")).endswith(": group x")
    assert said(kafka.IllegalStateError()) == "IllegalStateError"


@pytest.mark.parametrize("client", [StreamProducer, StreamConsumer])
async def test_a_broker_that_is_away_is_named_with_its_address(client: type) -> None:
    address = f"127.0.0.1:{free_pair()}"
    one = client(address, "x")
    with pytest.raises(StreamLost, match=f"could not start: no Kafka broker answers at {address}; right would be"):
        await one.start(10)
    await one.stop()
    with pytest.raises(StreamLost, match=f"could not name its id: no Kafka broker answers at {address}"):
        await cluster_id(address, "x")


async def test_a_broker_that_hangs_up_is_named_with_its_address() -> None:
    def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with contextlib.AsyncExitStack() as end:
        end.callback(server.close)
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(StreamLost, match=f"could not start: no Kafka broker answers at {address}"):
            await StreamProducer(address, "x").start(10)
