"""Small workers for tests of supervision; what one does is its `config["does"]`. Each writes what happens to it into a journal."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import resource
import signal
import socket
import time
from pathlib import Path
from typing import Any

from actors.context import Context, Status
from actors.io_actor import IoActor
from schemas.faults import CannotWork


def journal(context: Context, word: str) -> None:
    """One line: monotonic seconds, component, pid, word; appended in one write so that processes do not mix."""
    line = f"{time.monotonic():.6f} {context.id} {os.getpid()} {word}\n"
    file = os.open(Path(context.config["journal"]), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line.encode())
    os.close(file)


async def run(context: Context) -> None:
    does = context.config.get("does", "wait")
    journal(context, "run")
    context.count("runs_total")
    context.facts["does"] = does
    if "key" in context.config:
        context.facts["key_length"] = len(context.config["key"])
    if does == "segfault":
        ctypes.string_at(0)
    if does == "raise":
        raise RuntimeError("the press is on fire")
    if does == "cannot":
        raise CannotWork("the press has no key", "turn the key")
    if does == "exit":
        os._exit(3)
    if does == "abort":
        os.abort()
    if does == "illegal":
        os.kill(os.getpid(), signal.SIGILL)
    if does == "no_files":
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        kept = [socket.socket() for _ in range(100)]
        context.facts["open"] = len(kept)
    if does == "litter":
        await asyncio.create_subprocess_exec("sleep", "600")
    if does == "never_ready":
        await context.stopping.wait()
        return
    context.ready()
    journal(context, "ready")
    if does == "finish":
        return
    if does == "wedge":
        time.sleep(600)  # noqa: ASYNC251 - a loop that is stuck is what is wanted
    if does == "degraded":
        context.health(Status.DEGRADED, "one bad node", "oil the node")
    await context.stopping.wait()
    journal(context, "stopping")
    if does == "stubborn":
        while True:
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                journal(context, "cancelled")
    await asyncio.sleep(context.config.get("stop_takes", 0))
    journal(context, "stopped")


class Press(IoActor):
    main = staticmethod(run)


class Broken(IoActor):
    """Its process has no actor: making it fails."""

    main = staticmethod(run)

    def __init__(self) -> None:
        raise RuntimeError("no room in the press shop")


class Stuck(IoActor):
    """Making it never ends."""

    main = staticmethod(run)

    def __init__(self) -> None:
        time.sleep(600)


async def serve(context: Context) -> None:
    """A console for tests on the Unix socket `config["socket"]`: one JSON line in, one out. `{"tree": true}` or an order."""

    waiting: list[asyncio.Future[dict[str, Any]]] = []

    def arrived(tree: dict[str, Any]) -> None:
        while waiting:
            one = waiting.pop()
            if not one.done():
                one.set_result(tree)

    async def next_tree() -> dict[str, Any]:
        waiting.append(asyncio.get_running_loop().create_future())
        return await waiting[-1]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            wish = json.loads(line)
            if "verb" in wish:
                result = await context.command(wish["verb"], wish["target"])
            else:
                result = await next_tree() if wish["next"] or context.tree is None else context.tree
            writer.write(json.dumps(result).encode() + b"\n")
            await writer.drain()

    server = await asyncio.start_unix_server(answer, context.config["socket"], limit=2**22)
    context.on_tree = arrived
    context.watch_tree()
    context.ready()
    await context.stopping.wait()
    server.close()


class Console(IoActor):
    main = staticmethod(serve)
