"""A Modbus adapter that a test reads by hand, and the server it reads from."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

from protocols.load import make, validated
from tests.kit.modbus_server import plain_server, port_of


def config(port, *points, **more):
    named = [{"parameter": f"p{n}", **point} for n, point in enumerate(points)]
    base = {"id": "a", "protocol": "modbus_tcp", "host": "127.0.0.1", "port": port, "defaults": {"asset": "x"}}
    return {**base, "every": "100ms", "response_timeout": "500ms", **more, "points": named}


@asynccontextmanager
async def reading(port, *points, **more):
    adapter = make(validated(config(port, *points, **more)))
    await adapter.connect()
    try:
        yield adapter
    finally:
        await adapter.close()


@asynccontextmanager
async def device(units=(1,)):
    """A pymodbus server: register n of unit u holds 100 u + n, bit n is set where n divides by 3."""
    server = await plain_server(0, units)
    try:
        yield port_of(server)
    finally:
        await server.shutdown()


def register(address, kind="uint16", **more):
    return {"table": "holding", "address": address, "type": kind, **more}


def by_name(*batches):
    return {r.point.parameter: r for batch in batches for r in batch.readings}


async def until(adapter, done, seconds=30.0):
    """All batches until `done(readings so far)`."""
    found = []
    async with asyncio.timeout(seconds):
        while not done(found):
            found += (await adapter.read()).readings
    return found
