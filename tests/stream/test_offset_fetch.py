"""A broker that still loads a group says so; nobody may take that for a group that never committed anything."""

import pytest
from aiokafka.protocol.commit import OffsetFetchRequest, OffsetFetchResponse_v3

from stream.consumer import StreamConsumer
from stream.producer import StreamLost

LOADING, NOT_COORDINATOR, NOT_ALLOWED = 14, 16, 30


@pytest.fixture
async def group(kafka, unique, new_topic):
    place = (await new_topic(), 0)
    consumer = StreamConsumer(kafka, "asks", unique("group"))
    await consumer.start()
    consumer.assign({place: 0})
    await consumer.commit({place: 7})
    yield consumer, place
    await consumer.stop()


def answers_first(consumer, monkeypatch, *codes):
    """The broker's first answers to the question for offsets: no partition, one error for all."""
    client, left = consumer._client._client, list(codes)
    real = client.send

    async def send(node, request, **how):
        if isinstance(request, OffsetFetchRequest) and left:
            return OffsetFetchResponse_v3(0, [], left.pop(0))
        return await real(node, request, **how)

    monkeypatch.setattr(client, "send", send)
    return left


@pytest.mark.parametrize("code", [LOADING, NOT_COORDINATOR])
async def test_while_the_group_is_loaded_its_offsets_are_asked_for_again(group, monkeypatch, code):
    consumer, place = group
    left = answers_first(consumer, monkeypatch, code, code)
    assert await consumer.committed([place]) == {place: 7}
    assert left == []


async def test_a_refusal_for_good_is_no_empty_group(group, monkeypatch):
    consumer, place = group
    answers_first(consumer, monkeypatch, NOT_ALLOWED)
    with pytest.raises(StreamLost, match="the right to do this is missing"):
        await consumer.committed([place])


async def test_a_group_that_never_committed_has_no_offsets(group, new_topic):
    consumer, _ = group
    place = (await new_topic(), 0)
    assert await consumer.committed([place]) == {place: None}
