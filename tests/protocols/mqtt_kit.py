"""Small helpers for the tests with a real broker: make an adapter, collect what it reads until there is enough."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from protocols.contract import Batch, Reading, Reject
from protocols.mqtt.adapter import MqttAdapter
from protocols.mqtt.config import MqttConfig

DEADLINE_S = 30
RAW = {"topic": "t/+", "mapping": "raw", "asset": "{topic[1]}", "points": [{"parameter": "value", "type": "number"}]}

VERSIONS = pytest.mark.parametrize("version", ["3.1.1", "5"])


def adapter(port: int, *subscriptions: dict[str, Any], **settings: Any) -> MqttAdapter:
    base = {
        "id": "hall",
        "protocol": "mqtt",
        "host": "127.0.0.1",
        "port": port,
        "keepalive": "4s",
        "connect_timeout": "5s",
    }
    return MqttAdapter(MqttConfig.model_validate({**base, "subscriptions": list(subscriptions) or [RAW], **settings}))


@asynccontextmanager
async def connected(port: int, *subscriptions: dict[str, Any], **settings: Any) -> AsyncIterator[MqttAdapter]:
    one = adapter(port, *subscriptions, **settings)
    try:
        await one.connect()
        yield one
    finally:
        await one.close()


async def read(one: MqttAdapter) -> Batch:
    return await asyncio.wait_for(one.read(), DEADLINE_S)


async def collect(
    one: MqttAdapter, enough: Callable[[list[Reading], list[Reject]], bool]
) -> tuple[list[Reading], list[Reject]]:
    """Read and acknowledge until there is enough."""
    readings: list[Reading] = []
    rejects: list[Reject] = []
    async with asyncio.timeout(DEADLINE_S):
        while not enough(readings, rejects):
            batch = await one.read()
            readings += batch.readings
            rejects += batch.rejects
            batch.delivered()
    return readings, rejects


async def numbers(one: MqttAdapter, count: int) -> list[Any]:
    """The next so many values, acknowledged."""
    readings, _ = await collect(one, lambda found, _: len(found) >= count)
    return [reading.value for reading in readings]


async def silence(one: MqttAdapter, for_s: float = 0.3) -> None:
    """Nothing comes meanwhile."""
    task = asyncio.ensure_future(one.read())
    done, _ = await asyncio.wait({task}, timeout=for_s)
    task.cancel()
    assert not done, task.result()


@asynccontextmanager
async def scripted(*answers: bytes) -> AsyncIterator[int]:
    """A broker that answers the first packet with the first answer, and so on: for what mosquitto does not do."""
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            if not await reader.read(1000):
                break
            writer.write(answer)
        await reader.read(1000)
        writer.close()
        over.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await asyncio.wait_for(over.wait(), DEADLINE_S)
