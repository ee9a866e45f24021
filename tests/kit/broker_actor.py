"""Runs the broker actor's coroutine without an actor system: in this process (`running`), or as a program, to be killed.

`python -m tests.kit.broker_actor DATA_DIR PORT` prints `ready PID_OF_THE_JVM` and runs until it is killed or gets a line on stdin.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors import broker
from actors.context import Context
from stream.broker.ports import free_pair

WITHIN_S = 90
ROOT = Path(__file__).parents[2]


@dataclass
class Running:
    """A broker actor's coroutine at work."""

    context: Context
    task: asyncio.Task[None]

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.context.facts['port']}"

    @property
    def jvm(self) -> int:
        return int(self.context.facts["pid"])

    async def ended(self, within_s: float = WITHIN_S) -> BaseException | None:
        """Wait for the end; the crash, or None when it returned."""
        await asyncio.wait_for(asyncio.wait({self.task}), within_s)
        return self.task.exception()

    async def stop(self) -> None:
        self.context.stopping.set()
        crash = await self.ended()
        if crash:
            raise crash


def config(directory: Path, port: int | None = None, **stream: Any) -> dict[str, Any]:
    """What the supervisor gives the broker."""
    port = port or free_pair()
    return {
        "gateway_id": "test",
        "data_dir": str(directory),
        "bootstrap": f"127.0.0.1:{port}",
        "stream": {"port": port, "durability": "lazy", **stream},
    }


def launch(given: dict[str, Any]) -> tuple[Running, asyncio.Event]:
    """Start the coroutine; the event is set by `context.ready()`."""
    ready = asyncio.Event()
    context = Context(id="stream/broker", config=given, on_ready=ready.set)
    return Running(context, asyncio.create_task(broker.run(context))), ready


@asynccontextmanager
async def running(directory: Path, port: int | None = None, **stream: Any) -> AsyncIterator[Running]:
    """A broker actor that is ready; at the end it is stopped if the test did not."""
    actor, ready = launch(config(directory, port, **stream))
    try:
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait({waiting, actor.task}, timeout=WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
        if actor.task.done():
            actor.task.result()
        assert waiting.done(), "the broker was not ready in time"
        yield actor
    finally:
        actor.context.stopping.set()
        with contextlib.suppress(Exception):
            await actor.ended()


async def _main(directory: Path, port: int) -> None:
    async with running(directory, port) as actor:
        print("ready", actor.jvm, json.dumps(actor.context.facts), flush=True)
        line = asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        await asyncio.wait({actor.task, line}, return_when=asyncio.FIRST_COMPLETED)
    actor.task.result()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), int(sys.argv[2])))
