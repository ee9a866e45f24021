"""A Modbus TCP server that costs next to nothing: every holding register read is answered from a table of moving words.

It exists so that a benchmark measures the gateway and not its simulator. `python -m bench.modbus_load PORT` serves until killed.
Reads of function 3 and 4 only; every unit answers.
"""

from __future__ import annotations

import asyncio
import math
import struct
import sys
import time
from typing import cast

WORDS = 65536
FRAME = struct.Struct(">HHHBBHH")
HEAD = struct.Struct(">HHHBBB")
PERIOD_S = 30


def table(phase: float) -> bytes:
    """All registers as float32 pairs on a slow wave; each pair a little behind the one before."""
    values = [50 + 40 * math.sin(phase + i / 97) for i in range(WORDS // 2)]
    return struct.pack(f">{len(values)}f", *values)


TABLES = [table(2 * math.pi * i / 64) for i in range(64)]


class Device(asyncio.Protocol):
    """Answers each complete request in the order they came."""

    def __init__(self) -> None:
        self._held = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        held = self._held + data
        at, answers = 0, []
        words = TABLES[int(time.time() * 64 / PERIOD_S) % 64]
        while len(held) - at >= FRAME.size:
            tid, _, _, unit, function, address, count = FRAME.unpack_from(held, at)
            body = words[2 * address : 2 * (address + count)]
            answers.append(HEAD.pack(tid, 0, 3 + len(body), unit, function, len(body)) + body)
            at += FRAME.size
        self._held = held[at:]
        self._transport.write(b"".join(answers))


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Device, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
