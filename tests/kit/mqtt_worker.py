"""The MQTT adapter's worker as a program, to be killed: `python -m tests.kit.mqtt_worker CONFIG_JSON`; and what it brought into the stream."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from actors import guard
from actors.adapter import run
from actors.context import Context
from schemas.records import Value
from stream.codec import Codec, SchemaIds
from tests.kit.working import by_now

ROOT = Path(__file__).parents[2]


def worker_config(kafka: str, directory: Path, adapter: dict[str, Any]) -> dict[str, Any]:
    """What the tree gives an adapter's worker."""
    return {
        "gateway_id": "g1", "data_dir": str(directory), "bootstrap": kafka, "config_version": "v1", "partitions": 12,
        "durability": "lazy", "adapter": adapter,
    }  # fmt: skip


def start(config: dict[str, Any]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.kit.mqtt_worker", json.dumps(config)], cwd=ROOT, stdout=subprocess.DEVNULL
    )


async def raw_values(kafka: str, directory: Path, asset: str) -> list[tuple[Value, int]]:
    """Value and device time of every reading of this asset in telemetry.raw, by now; BAD ones, which have no value, left out."""
    codec = Codec(SchemaIds(directory / "schemas.json"))
    everything = await by_now(kafka, ["telemetry.raw"], list(range(12)))
    return [
        (value, int(records.device_time[row]))
        for found in everything
        for records in codec.decode(*found).records
        for row in range(len(records))
        if records.table[records.series[row]].asset == asset and (value := records.value(row)) is not None
    ]


if __name__ == "__main__":
    guard.die_with(os.getppid())
    given = json.loads(sys.argv[1])
    asyncio.run(run(Context(id=f"data_path/adapters/{given['adapter']['id']}", config=given)))
