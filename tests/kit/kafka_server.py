"""A real Kafka broker with the gateway's topics for one test run. Knows nothing of pytest.

Run as a program (`python -m tests.kit.kafka_server DIRECTORY OWNER_PID`) it serves until the owner process is gone, then kills the broker and
removes the directory: no test run, however it ends, leaves a broker behind (and if this process is killed, its broker dies with it).
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path

from actors.topics import ensure
from stream.broker import aot as broker_aot
from stream.broker import java as broker_java
from stream.broker.ports import free_pair
from stream.broker.run import Broker
from stream.broker.settings import Place
from stream.parts import parts_directory, ready_jars

PARTITIONS = 12
BUDGET = 2**30


def make(root: Path, port: int | None = None, durability: str = "lazy", **more: object) -> Broker:
    """A broker over `root`, not started. Lazy: tests of many need not wait for one disk."""
    java, jars = broker_java.find(None), ready_jars()
    cache = broker_aot.usable(java, jars, parts_directory())
    return Broker(Place(root, port or free_pair()), java, jars, cache, durability=durability, **more)  # type: ignore[arg-type]


async def serve(root: Path, owner: int) -> None:
    loop, gone = asyncio.get_running_loop(), asyncio.Event()
    try:
        loop.add_reader(os.pidfd_open(owner), gone.set)
    except ProcessLookupError:
        return
    broker = make(root)
    await broker.start()
    try:
        await ensure(broker.place.bootstrap, BUDGET, PARTITIONS)
        print(broker.place.bootstrap, flush=True)
        assert broker.child
        waiting = asyncio.create_task(gone.wait())
        await asyncio.wait({waiting, broker.child.exited}, return_when=asyncio.FIRST_COMPLETED)
        if broker.child.exited.done():
            print(broker.death(), file=sys.stderr, flush=True)
    finally:
        await broker.kill()


if __name__ == "__main__":
    try:
        asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
    finally:
        shutil.rmtree(sys.argv[1], ignore_errors=True)
