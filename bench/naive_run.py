"""One step of the naive gateway (bench/naive/end_to_end.py) over the same simulator, broker build and database as ours."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from actors import broker, guard
from actors.context import Context
from bench import plant
from bench.naive.end_to_end import CLEAN, RAW
from bench.usage import UsageMeter, family
from schemas.gateway import StreamConfig
from stream.broker.ports import free_pair

PARTITIONS = 12
KEPT = 0.99
START_WITHIN_S = 60.0
WARM_UP_S = 8.0


@contextmanager
def kafka(directory: Path, port: int) -> Iterator[str]:
    """Our broker as a naive person would run it: nothing synced."""
    config = {"stream": StreamConfig(durability="lazy", port=port).model_dump(mode="json"), "data_dir": str(directory)}
    common = {
        "gateway_id": "naive",
        "bootstrap": f"127.0.0.1:{port}",
        "config_version": "0",
        "partitions": PARTITIONS,
        "durability": "lazy",
    }
    ready, context = threading.Event(), Context(id="naive/broker", config={**common, **config})
    context.on_ready = ready.set
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=lambda: loop.run_until_complete(broker.run(context)), daemon=True)
    thread.start()
    if not ready.wait(START_WITHIN_S):
        sys.exit("the naive way's broker did not start")
    try:
        yield f"127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(context.stopping.set)
        thread.join(30)


async def make_topics(bootstrap: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in (RAW, CLEAN)])
    await admin.close()


class Part:
    """One of the naive way's processes and the newest count it told."""

    def __init__(self, *words: str) -> None:
        parent = os.getpid()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.naive.end_to_end", *words], stdout=subprocess.PIPE, text=True,
            preexec_fn=lambda: guard.die_with(parent),
        )  # fmt: skip
        self.count = 0
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.count = int(line)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def naive_step(here: plant.Plant, rate: int, seconds: float) -> dict[str, Any]:
    """One rate for one window."""
    port = free_pair()
    wanted = plant.offered(rate)
    with kafka(here.directory / f"naive-{rate}-{port}", port) as bootstrap:
        asyncio.run(make_topics(bootstrap))
        points = str(plant.units(rate) * plant.POINTS_EACH_UNIT)
        parts = {
            "read": Part("read", bootstrap, str(here.modbus), points),
            "check": Part("check", bootstrap),
            "store": Part("store", bootstrap, here.historian.dsn),
        }
        try:
            time.sleep(WARM_UP_S)
            groups = {name: [part.process.pid] for name, part in parts.items()}
            jvm = [p for p in family(os.getpid()) if _is_java(p)]
            meter = UsageMeter(
                {**groups, "jvm": jvm, "postgres": here.historian.pids(), "simulator": [here.simulator_pid]}
            )
            began, before = time.monotonic(), {name: part.count for name, part in parts.items()}
            time.sleep(seconds)
            took, after = time.monotonic() - began, {name: part.count for name, part in parts.items()}
            usage = meter.stop()
        finally:
            for part in parts.values():
                part.stop()
    read, stored = ((after[name] - before[name]) / took for name in ("read", "store"))
    waiting = after["read"] - after["store"]
    return {
        "durability": "naive", "offered": wanted, "read": round(read), "stored": round(stored), "lag": waiting, "p50_ms": None, "p99_ms": None,
        "box_percent": usage.box_percent, "cores": usage.cores, "kept": read >= KEPT * wanted and stored >= 0.97 * read and waiting <= 4 * wanted,
        "python_pss_mb": round(sum(usage.pss_mb[name] for name in parts)), "broker_pss_mb": round(usage.pss_mb["jvm"]),
    }  # fmt: skip


def _is_java(pid: int) -> bool:
    try:
        return psutil.Process(pid).name() == "java"
    except psutil.NoSuchProcess:
        return False
