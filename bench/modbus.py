"""CPU the Modbus adapter costs a value, against pymodbus' client asked once for each point, in the same run.

The device is bench/modbus_load.py in a process of its own, so only the reading side is counted. `python -m bench.modbus [--json]`.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

import uvloop
from pymodbus.client import AsyncModbusTcpClient

from protocols.load import make, validated
from protocols.modbus.addresses import Table
from protocols.modbus.wire import Tally, Wire
from tests.kit.waiting import wait_until

POINTS, EVERY_S, SECONDS = 2480, 0.1, 5.0
READS = 2000


async def _ours(port: int) -> int:
    """The adapter at its declared rate."""
    points = [{"parameter": f"p{n}", "table": "holding", "address": 2 * n, "type": "float32"} for n in range(POINTS)]
    config = {"id": "bench", "protocol": "modbus_tcp", "host": "127.0.0.1", "port": port, "every": f"{EVERY_S}s"}
    adapter = make(validated({**config, "defaults": {"asset": "bench"}, "points": points}))
    await adapter.connect()
    values, until = 0, time.monotonic() + SECONDS
    while time.monotonic() < until:
        values += len((await adapter.read()).readings)
    missed = adapter.health().counters["missed_polls_total"]
    await adapter.close()
    if missed:
        print(f"{missed:.0f} polls missed: this machine is busy", file=sys.stderr)
    return values


async def _our_wire(port: int) -> int:
    """Only requests and checked answers of 124 registers each."""
    connection = asyncio.get_running_loop().create_connection(lambda: Wire("bench", Tally()), "127.0.0.1", port)
    wire = (await connection)[1]
    for _ in range(READS):
        await wire.ask(1, Table.holding, 0, 124, 1.0)
    await wire.close()
    return READS


async def _pymodbus_wire(port: int) -> int:
    """The same through pymodbus' client."""
    client = await _client(port)
    for _ in range(READS):
        await client.read_holding_registers(0, count=124, device_id=1)
    client.close()
    return READS


async def _naive(port: int) -> int:
    """pymodbus, one call for each point, decoded by its own helper: numbers only."""
    client = await _client(port)
    for address in range(0, 2 * POINTS, 2):
        answer = await client.read_holding_registers(address, count=2, device_id=1)
        client.convert_from_registers(answer.registers, client.DATATYPE.FLOAT32)
    client.close()
    return POINTS


async def _client(port: int) -> AsyncModbusTcpClient:
    client = AsyncModbusTcpClient("127.0.0.1", port=port, retries=0, reconnect_delay=0)
    await client.connect()
    return client


def _listens(port: int) -> bool:
    with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


@contextmanager
def _device() -> Iterator[int]:
    """The port of a device in a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    device = subprocess.Popen([sys.executable, "-m", "bench.modbus_load", str(port)])
    try:
        wait_until(lambda: _listens(port), 20, lambda: f"the device to listen on port {port}")
        yield port
    finally:
        device.kill()
        device.wait()


def _cpu_us(work: Callable[[], Awaitable[int]]) -> float:
    """CPU microseconds a value, or a read: whatever `work` counts."""

    async def measured() -> float:
        await work()  # once to warm up
        before = time.process_time()
        values = await work()
        return (time.process_time() - before) / values * 1e6

    return uvloop.run(measured())


def main() -> None:
    with _device() as port:
        ours, naive = _cpu_us(lambda: _ours(port)), _cpu_us(lambda: _naive(port))
        wire, library = _cpu_us(lambda: _our_wire(port)), _cpu_us(lambda: _pymodbus_wire(port))
    rate = POINTS / EVERY_S
    if "--json" not in sys.argv:
        print(f"CPU a value, float32, {rate:.0f} values/s on one connection, read in the process that asks")
        print(f"  the adapter: readings with raw words     {ours:7.2f} us")
        print(f"  pymodbus, one call a value: bare numbers {naive:7.2f} us   {naive / ours:5.1f} x")
        print("CPU a read of 124 registers, without a meaning")
        print(f"  our wire                                 {wire:7.1f} us")
        print(f"  pymodbus                                 {library:7.1f} us   {library / wire:5.1f} x")
    figures = {"values_per_s": rate, "adapter_us": ours, "pymodbus_naive_us": naive, "ratio": naive / ours}
    figures |= {"wire_read_us": wire, "pymodbus_read_us": library}
    print(json.dumps({name: round(figure, 3) for name, figure in figures.items()}))


if __name__ == "__main__":
    main()
