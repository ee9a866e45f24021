"""The Modbus peer of the conformance suite: pymodbus' own server, with one point nobody has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.kit.adapter_conformance import Peer
from tests.kit.modbus_server import plain_server
from tests.kit.ports import free_port


def config(port, **more):
    return {
        "id": "press_4",
        "protocol": "modbus_tcp",
        "host": "127.0.0.1",
        "port": port,
        "every": "100ms",
        "response_timeout": "500ms",
        "connect_timeout": "2s",
        "defaults": {"asset": "press_4"},
        "points": [
            {"parameter": "oil_temperature", "address": 40101, "type": "float32", "unit": "celsius"},
            {"parameter": "strokes", "address": 40103, "type": "uint32"},
            {"parameter": "door_open", "address": 10017, "type": "bool", "classification": "EVENT"},
            {"parameter": "nobody_has_it", "address": 40900, "type": "int16"},
        ],
    } | more


@asynccontextmanager
async def peer(tmp_path) -> AsyncIterator[Peer]:
    port = free_port()
    servers = []

    async def start():
        servers.append(await plain_server(port))

    async def stop():
        while servers:
            await servers.pop().shutdown()

    await start()
    no_type = [{"parameter": "p", "asset": "a", "address": 40001}]
    both_ways = [{"parameter": "p", "asset": "a", "address": 40101, "table": "holding", "type": "int16"}]
    try:
        yield Peer(config(port), stop, start, [config(port, points=points) for points in (no_type, both_ways)])
    finally:
        await stop()
