"""An adapter that reads a device of the kit as the gateway would, and keeps what it was given and told."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress

from protocols.contract import NotConnected
from protocols.load import make, validated
from schemas.records import Quality
from tests.kit.modbus_server import honest, liar

BOGUS = b"\xde\xad" * 3
ADDRESSES = (0, 1, 2, 40, 41)
"""Two reads: 0 to 2 and 40 to 41. Each register holds its address."""
PAUSE_S = 0.02
"""Between a loss and the next attempt, as whoever drives an adapter pauses."""
PATIENT = {"response_timeout": "3s"}
"""For tests whose device always answers, however busy the machine is."""


def config(port, **more):
    points = [{"parameter": str(n), "table": "holding", "address": n, "type": "uint16"} for n in ADDRESSES]
    base = {
        "id": "a",
        "protocol": "modbus_tcp",
        "host": "127.0.0.1",
        "port": port,
        "defaults": {"asset": "x"},
        "points": points,
    }
    return {**base, "every": "50ms", "response_timeout": "200ms", "dead_pause": "300ms", "retries": 0, **more}


class Caller:
    """Reads as actors/adapter.py does: connects again when told NotConnected. Keeps everything it was given."""

    def __init__(self, port, **more):
        self.adapter = make(validated(config(port, **more)))
        self.readings = []
        self.losses = []

    async def read(self):
        """One batch, over as many connections as it takes."""
        while True:
            try:
                batch = await self.adapter.read()
            except NotConnected as gone:
                self.losses.append(str(gone))
                await self.adapter.close()
                await asyncio.sleep(PAUSE_S)
                with suppress(NotConnected):
                    await self.adapter.connect()
            else:
                self.readings += batch.readings
                return batch

    async def until(self, done, seconds=30.0):
        async with asyncio.timeout(seconds):
            while not done():
                await self.read()

    async def until_good(self, seconds=30.0):
        """Every point GOOD again."""
        seen = len(self.readings)

        def all_good():
            last = {r.point.parameter: r.status for r in self.readings[seen:]}
            return len(last) == len(ADDRESSES) and set(last.values()) == {Quality.GOOD}

        await self.until(all_good, seconds)

    def wrong(self):
        return [r for r in self.readings if r.status is Quality.GOOD and r.value != int(r.point.parameter)]

    def reasons(self):
        return {r.reason for r in self.readings if r.status is Quality.BAD}

    def counter(self, name):
        return self.adapter.health().counters.get(name, 0)


@asynccontextmanager
async def caller(reply=honest, **more):
    """A caller and the device it reads."""
    async with liar(reply) as device:
        one = Caller(device.port, **more)
        await one.adapter.connect()
        try:
            yield one, device
        finally:
            await one.adapter.close()


def tells(**lie):
    """An answer with these fields changed."""

    async def reply(request, writer):
        changed = {name: value(request) if callable(value) else value for name, value in lie.items()}
        writer.write(request.answer(**changed))

    return reply


def sends(frame):
    async def reply(request, writer):
        writer.write(frame(request))

    return reply
