"""Asking a broker whether it is there: every way of not being one is said in words, within the time."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from stream.broker.ports import free_pair
from stream.broker.requests import TAGS, DescribeTransactions
from stream.broker.wire import Wire, answers, split

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def peer(handle: Handler) -> AsyncIterator[int]:
    serving: set[asyncio.Task[None]] = set()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.ensure_future(handle(reader, writer)))

    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        async with asyncio.timeout(30):
            await asyncio.gather(*serving, return_exceptions=True)  # the other side may be gone already


def says(answer: bytes) -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    return handle


async def is_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    ("handle", "words"),
    [
        (says(b""), "closed without an answer"),
        (says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "this is no Kafka"),
        (says(struct.pack(">iih", 6, 9, 0)), "not Kafka's"),
        (says(struct.pack(">ii", 4, 1)), "not Kafka's"),
    ],
)
async def test_what_is_no_broker_is_told_from_one(handle: Handler, words: str) -> None:
    async with peer(handle) as port:
        assert words in str(await answers("127.0.0.1", port, 30))


async def test_a_peer_that_is_silent_is_waited_for_so_long() -> None:
    async with peer(is_silent) as port:
        assert await answers("127.0.0.1", port, 0.2) == "no answer within 0.2 s"


async def test_nobody_there() -> None:
    assert await answers("127.0.0.1", free_pair(), 30) == "nobody listens there"


async def test_a_broker_answers(kafka: str) -> None:
    assert await answers(*split(kafka)[0], 30) is None


async def test_an_answer_to_another_question_is_not_taken() -> None:
    async with peer(says(struct.pack(">ii", 4, 77))) as port, Wire("127.0.0.1", port, 30) as wire:
        with pytest.raises(ConnectionError, match="answer 77 came to question 1"):
            await wire.ask(DescribeTransactions(["x"], TAGS))


async def test_an_answer_that_was_cut_short_is_no_crash_of_ours() -> None:
    async with peer(says(struct.pack(">iiB", 5, 1, 0))) as port, Wire("127.0.0.1", port, 30) as wire:
        with pytest.raises(ConnectionError, match="the answer to DescribeTransactions cannot be read"):
            await wire.ask(DescribeTransactions(["x"], TAGS))


@pytest.mark.parametrize(("given", "parts"), [("k:9092", [("k", 9092)]), ("[::1]:9, b:8", [("::1", 9), ("b", 8)])])
def test_bootstrap_is_split(given: str, parts: list[tuple[str, int]]) -> None:
    assert split(given) == parts


@pytest.mark.parametrize("given", ["kafka", ":9092", "k:", ""])
def test_a_wrong_bootstrap_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="not host:port"):
        split(given)
