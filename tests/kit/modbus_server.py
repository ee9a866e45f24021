"""Modbus servers for the tests: pymodbus' own, as an honest device, and one that lies as it is told.

The liar answers each request through a function `(request) -> list of things to do`, so that a test says on one line how the
device misbehaves. What it holds: holding register n has the value n.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

REGISTERS = 300


def device(unit):
    """Registers 0 to 299 hold 100 * unit + their address, coils and discrete inputs are set where the address divides by 3."""
    words = [SimData(0, values=[(100 * unit + n) & 0xFFFF for n in range(REGISTERS)], datatype=DataType.REGISTERS)]
    bits = [SimData(0, values=[n % 3 == 0 for n in range(304)], datatype=DataType.BITS)]
    return SimDevice(id=unit, simdata=(bits, bits, words, words))


async def plain_server(port, units=(1,)):
    """A listening pymodbus server. The caller awaits `shutdown()`."""
    server = ModbusTcpServer([device(unit) for unit in units], address=("127.0.0.1", port))
    await server.serve_forever(background=True)
    return server


def port_of(server):
    return server.transport.sockets[0].getsockname()[1]


@dataclass(frozen=True)
class Request:
    """What was asked, and the honest answer."""

    tid: int
    unit: int
    function: int
    start: int
    count: int
    number: int
    """How many requests came before this one, over all connections."""

    def data(self):
        if self.function in {1, 2}:
            bits = sum((address % 3 == 0) << i for i, address in enumerate(range(self.start, self.start + self.count)))
            return bits.to_bytes((self.count + 7) // 8, "little")
        return struct.pack(f">{self.count}H", *((n & 0xFFFF) for n in range(self.start, self.start + self.count)))

    def answer(self, tid=None, unit=None, function=None, data=None, byte_count=None, length=None, protocol=0):
        """The honest answer with some fields changed; `length` is the one in the header."""
        data = self.data() if data is None else data
        pdu = (
            bytes(
                [self.function if function is None else function, len(data) % 256 if byte_count is None else byte_count]
            )
            + data
        )
        return self.frame(pdu, tid, unit, length, protocol)

    def refusal(self, code):
        return self.frame(bytes([self.function | 0x80, code]))

    def frame(self, pdu, tid=None, unit=None, length=None, protocol=0):
        header = (
            self.tid if tid is None else tid, protocol, len(pdu) + 1 if length is None else length, self.unit if unit is None else unit,
        )  # fmt: skip
        return struct.pack(">HHHB", *header) + pdu


Reply = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


async def honest(request, writer):
    writer.write(request.answer())


class Liar:
    """A device whose answers are `reply`'s business; it may be changed while it runs."""

    def __init__(self, reply: Reply = honest) -> None:
        self.reply = reply
        self.requests: list[Request] = []
        self.connections = 0
        self.port = 0
        self.most = 100
        """Connections it has room for; more are taken and ended, as small devices do."""
        self.shuns = False
        self.turned_away = 0
        self.listens: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def _serve(self, reader, writer):
        if len(self._writers) >= self.most or self.shuns:
            self.turned_away += not self.shuns
            self.connections += 1
            writer.close()
            return
        self.connections += 1
        self._writers.add(writer)
        try:
            while True:
                tid, _, _, unit, function, start, count = struct.unpack(">HHHBBHH", await reader.readexactly(12))
                request = Request(tid, unit, function, start, count, len(self.requests))
                self.requests.append(request)
                task = asyncio.ensure_future(self.reply(request, writer))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def leave(self):
        """The plug is pulled: nobody listens, and every connection ends."""
        self.listens.close()
        for writer in self._writers:
            writer.transport.abort()

    async def deaf(self, seconds):
        """Nobody listens for a while: a device with one socket, which is not free again yet."""
        self.listens.close()
        await asyncio.sleep(seconds)
        await self.listen()

    async def shunning(self, seconds):
        """Each connection is taken and ended for a while: a device whose one place is not free again yet."""
        self.shuns = True
        await asyncio.sleep(seconds)
        self.shuns = False

    async def listen(self):
        self.listens = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self.listens.sockets[0].getsockname()[1]

    async def stop(self):
        self.listens.close()
        for task in self._tasks:
            task.cancel()


@asynccontextmanager
async def liar(reply=honest):
    """A listening Liar on a free port."""
    one = Liar(reply)
    await one.listen()
    try:
        yield one
    finally:
        await one.stop()
