"""A processing stage's worker without actors, and what it wrote.

Run as a program (`python -m tests.kit.stage_worker CONFIG_JSON`) it is that worker in a process of its own, to be killed.

Tests share one broker (tests/kit/stage_broker.py) and the gateway's topics: each takes workers (and so partitions) that no other test has, and assets of its own.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from itertools import count
from pathlib import Path
from typing import Any

import uvloop

from actors import guard
from actors.context import Context
from actors.processor import run
from schemas.records import Document, Records
from stream.codec import Codec, SchemaIds
from stream.partitions import Partitioner
from tests.kit.working import by_now
from tests.kit.working import working as any_working

PARTITIONS = 12


def stage_config(
    kafka: str, directory: Path, stage: str, worker: int, workers: int = PARTITIONS, **more: Any
) -> dict[str, Any]:
    """What the tree gives a stage's worker. Alone in its partition with the default `workers`."""
    processing = {"transaction_every": "20ms", "snapshot_every": "500ms", **more.pop("processing", {})}
    return {
        "gateway_id": "g1", "data_dir": str(directory), "bootstrap": kafka, "config_version": "v1", "partitions": PARTITIONS,
        "durability": "lazy", "stage": stage, "worker": worker, "workers": workers, "rules": [],
        "aggregates": ["1s", "10s", "1min", "1hour"], "processing": processing, **more,
    }  # fmt: skip


def working(config: dict[str, Any]) -> AbstractAsyncContextManager[Context]:
    return any_working(run, f"data_path/processing/{config['stage']}-{config['worker']}", config, stop_within_s=20)


def assets(prefix: str, partition: int) -> Iterator[str]:
    """Names that belong into this partition."""
    partition_of = Partitioner(PARTITIONS)
    return (name for name in (f"{prefix}-{n}" for n in count()) if partition_of(name.encode()) == partition)


async def written(
    kafka: str, directory: Path, topics: list[str], partitions: list[int], prefix: str
) -> tuple[list[Records], list[Document]]:
    """Every committed record of assets that begin with `prefix`, in order within each partition, by now."""
    codec = Codec(SchemaIds(directory / "schemas.json"))
    records: list[Records] = []
    documents: list[Document] = []
    for topic, partition, messages in await by_now(kafka, topics, partitions):
        decoded = codec.decode(topic, partition, [m for m in messages if m.key.decode().startswith(prefix)])
        records += decoded.records
        documents += decoded.documents
    return records, documents


def readings(records: list[Records]) -> list[tuple[str, str, int, Any, int]]:
    """(asset, parameter, device time, value, quality) of each."""
    return [
        (r.table[s].asset, r.table[s].parameter, time, value, quality)
        for r in records
        for s, time, value, quality in zip(
            r.series.tolist(), r.device_time.tolist(), r.number.tolist(), r.quality.tolist(), strict=True
        )
    ]


if __name__ == "__main__":
    guard.die_with(os.getppid())
    given = json.loads(sys.argv[1])
    uvloop.run(run(Context(id=f"data_path/processing/{given['stage']}-{given['worker']}", config=given)))
