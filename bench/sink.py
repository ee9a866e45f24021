"""Readings a second into PostgreSQL: the sink's way (straight COPY, and staging over known keys) against `execute_values`, in the same run.

`python -m bench.sink [--json] [--readings N] [--batch N]`. The rivals write what the sink writes (same table shape, upsert, one transaction a batch);
theirs starts from Python rows that are ready, ours from the arrays the decoder makes. CPU is split into this process and the server's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import psycopg2
from psycopg2.extras import execute_values

from schemas.records import Kind, Quality, Records, Series
from sinks.contract import Batch, Origin
from sinks.postgres.config import PostgresConfig
from sinks.postgres.sink import PostgresSink
from tests.kit.postgres_server import Server
from tests.kit.records import NOON, series
from tests.kit.waiting import wait_until

POINTS = 1000
NAIVE_SHARE = 0.2
"""The rival is so slow that a part of the readings tells enough."""


def records(first: int, n: int, table: list[Series]) -> Records:
    """n readings of POINTS points in turn, each point every 100 ms by device time, as the decoder makes them."""
    number = np.arange(first, first + n, dtype=np.int64)
    times = NOON + number // POINTS * 100_000
    return Records(
        "telemetry.clean", 0, table, number, arrived=times, series=(number % POINTS).astype(np.int32), device_time=times,
        gateway_time=times + 1000, kind=np.full(n, Kind.DOUBLE, np.uint8), number=np.sin(number), quality=np.full(n, Quality.GOOD, np.uint8),
        wire=[b"x" * 60] * n,
    )  # fmt: skip


async def ours(dsn: str, batches: list[Records], twice: bool) -> None:
    config = PostgresConfig.model_validate(
        {"id": "bench", "type": "postgres", "dsn": dsn, "topics": ["telemetry.clean"]}
    )
    sink = PostgresSink(config, Origin("g", "s"))
    await sink.connect()
    for _ in range(1 + twice):
        for one in batches:
            await sink.write(Batch([one]), {("telemetry.clean", 0): int(one.offsets[-1]) + 1})
    await sink.close()


def naive(dsn: str, rows: list[list[tuple[Any, ...]]]) -> None:
    with psycopg2.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE naive (asset text, parameter text, device_time timestamptz, gateway_time timestamptz, value float8,"
            " quality smallint, PRIMARY KEY (asset, parameter, device_time))"
        )
        connection.commit()
        for batch in rows:
            execute_values(
                cursor, "INSERT INTO naive VALUES %s ON CONFLICT (asset, parameter, device_time) DO UPDATE SET value = excluded.value",
                batch, template="(%s, %s, to_timestamp(%s), to_timestamp(%s), %s, %s)", page_size=1000,
            )  # fmt: skip
            connection.commit()
    connection.close()


def as_rows(batches: list[Records]) -> list[list[tuple[Any, ...]]]:
    return [
        [
            (r.table[s].asset, r.table[s].parameter, t / 1e6, g / 1e6, v, q)
            for s, t, g, v, q in zip(
                r.series.tolist(),
                r.device_time.tolist(),
                r.gateway_time.tolist(),
                r.number.tolist(),
                r.quality.tolist(),
                strict=True,
            )
        ]
        for r in batches
    ]


def _server_cpu(pid: int) -> float:
    """CPU seconds of every server process, living ones and those that ended."""
    parent = psutil.Process(pid)
    own = parent.cpu_times()
    living = sum(sum(c.cpu_times()[:2]) for c in parent.children())
    return float(own.user + own.system + own.children_user + own.children_system + living)


def _until_alone(server: Server) -> None:
    """The server counts a backend's CPU as its own once that has ended."""
    with psycopg2.connect(server.dsn) as connection, connection.cursor() as cursor:

        def alone() -> bool:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
            return cursor.fetchone() == (1,)

        wait_until(alone, tell=lambda: "the rival's connection to be closed")
        own = connection.info.backend_pid
    connection.close()
    wait_until(lambda: not psutil.pid_exists(own), tell=lambda: f"backend {own} to end")


def measured(server: Server, n: int, work: Callable[[], None]) -> dict[str, float]:
    """Rows a second, and microseconds of CPU a row here and in the server."""
    assert server.pid
    cpu, there, began = time.process_time(), _server_cpu(server.pid), time.perf_counter()
    work()
    seconds = time.perf_counter() - began
    _until_alone(server)
    return {
        "rows_per_s": round(n / seconds),
        "python_us": round((time.process_time() - cpu) / n * 1e6, 2),
        "server_us": round((_server_cpu(server.pid) - there) / n * 1e6, 2),
    }


def fresh(server: Server, name: str) -> str:
    connection = psycopg2.connect(server.dsn)
    connection.autocommit = True
    connection.cursor().execute(f"CREATE DATABASE {name}")
    connection.close()
    return server.dsn.rsplit("/", 1)[0] + "/" + name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--readings", type=int, default=600_000)
    parser.add_argument("--batch", type=int, default=10_000)
    args = parser.parse_args()
    table = [series(f"asset_{i // 10}", f"parameter_{i % 10}") for i in range(POINTS)]
    batches = [records(first, args.batch, table) for first in range(0, args.readings, args.batch)]
    few = batches[: max(1, int(len(batches) * NAIVE_SHARE))]
    rows = as_rows(few)
    with tempfile.TemporaryDirectory(prefix="sf-bench-") as directory:
        Path(directory).chmod(0o755)
        server = Server(Path(directory) / "data")
        server.start()
        try:
            straight, again, rival = (fresh(server, name) for name in ("straight", "again", "rival"))
            n = sum(map(len, batches))
            result: dict[str, Any] = {
                "straight": measured(server, n, lambda: asyncio.run(ours(straight, batches, twice=False))),
                "known_keys": measured(server, 2 * n, lambda: asyncio.run(ours(again, batches, twice=True))),
                "execute_values": measured(server, sum(map(len, few)), lambda: naive(rival, rows)),
            }
        finally:
            server.stop()
    result["ratio"] = round(result["straight"]["rows_per_s"] / result["execute_values"]["rows_per_s"], 1)
    print(
        f"{'':16}{'rows/s':>10}{'us here':>10}{'us server':>11}   ({args.readings} readings, batches of {args.batch})"
    )
    for name in ("straight", "known_keys", "execute_values"):
        one = result[name]
        print(f"{name:16}{one['rows_per_s']:>10}{one['python_us']:>10}{one['server_us']:>11}")
    print(f"the sink's way is {result['ratio']} times as fast as execute_values")
    if args.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
