"""What the end-to-end benchmarks stand on: a cheap Modbus simulator, PostgreSQL and a gateway file for a wanted rate."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Self

from actors import guard
from streamforge.demo.historian import Historian
from streamforge.system import free_ports

POINTS_EACH_UNIT = 62
CYCLES_A_SECOND = 10
ADAPTERS = 4


class Plant:
    """Simulator and database; one of each for a whole benchmark."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.modbus = free_ports(1)[0]
        self.historian = Historian(directory / "postgres")
        self._simulator: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command, parent = [sys.executable, "-m", "bench.modbus_load", str(self.modbus)], os.getpid()
        self._simulator = subprocess.Popen(command, preexec_fn=lambda: guard.die_with(parent))
        self.historian.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._simulator:
            self._simulator.kill()
            self._simulator.wait()
        self.historian.stop()

    @property
    def simulator_pid(self) -> int:
        assert self._simulator
        return self._simulator.pid


def units(rate: int) -> int:
    """Devices of 62 floats, read ten times a second, for a rate a second."""
    return max(ADAPTERS, round(rate / CYCLES_A_SECOND / POINTS_EACH_UNIT))


def offered(rate: int) -> int:
    """The rate that comes out of whole devices."""
    return units(rate) * POINTS_EACH_UNIT * CYCLES_A_SECOND


def gateway_file(plant: Plant, rate: int, durability: str, kafka: int, page: int) -> str:
    """A gateway with four adapters that together read `rate` values a second, three rules on each, all aggregates, one sink."""
    lines = [
        f"gateway: {{id: bench, site: {durability}}}",
        f"stream: {{durability: {durability}, disk_budget: 8 GiB, port: {kafka}}}",
        f"api: {{port: {page}}}",
        "adapters:",
    ]
    for adapter in range(ADAPTERS):
        lines += [
            f"  - id: plc_{adapter}",
            "    protocol: modbus_tcp",
            "    host: 127.0.0.1",
            f"    port: {plant.modbus}",
            "    every: 100ms",
            "    points:",
        ]
        for unit in range(adapter + 1, units(rate) + 1, ADAPTERS):
            lines += [
                f"      - {{asset: unit_{unit}, unit_id: {unit % 247 + 1}, parameter: p{i}, address: {40001 + 2 * i}, type: float32}}"
                for i in range(POINTS_EACH_UNIT)
            ]
    topics = "telemetry.clean, telemetry.1s, telemetry.10s, telemetry.1min, telemetry.1hour"
    lines += [
        "rules:",
        "  - {range: {min: -1000, max: 1000}, rate_of_change: {max_per_second: 100000}, gap: {expected: 1s}}",
        "sinks:",
        f'  - {{id: historian, type: postgres, dsn: "{plant.historian.address}", password: "${{secret:historian}}", topics: [{topics}]}}',
    ]
    return "\n".join(lines) + "\n"
