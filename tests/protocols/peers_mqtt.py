"""The conformance suite's MQTT peer: mosquitto and a publisher; where mosquitto is missing, amqtt."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from amqtt.broker import Broker

from tests.kit.adapter_conformance import Peer
from tests.kit.mosquitto import BINARY, DEADLINE_S, Mosquitto, publishing
from tests.kit.ports import free_port, listens
from tests.kit.waiting import until

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def peer(tmp_path: Path) -> AsyncIterator[Peer]:
    port, stop, start = _mosquitto(tmp_path) if BINARY else _amqtt()
    await start()
    try:
        async with publishing(port, "plant/press_4/sensors/temperature"):
            yield Peer(_config(port), stop, start, _hopeless(port))
    finally:
        await stop()


def _config(port: int, **more: Any) -> dict[str, Any]:
    point = {"parameter": "{topic[3]}", "type": "number", "unit": "celsius"}
    subscription = {"topic": "plant/+/sensors/+", "mapping": "raw", "asset": "{topic[1]}", "points": [point]}
    # amqtt speaks 3.1.1 only.
    version = "5" if BINARY else "3.1.1"
    base = {
        "id": "hall",
        "protocol": "mqtt",
        "host": "127.0.0.1",
        "port": port,
        "version": version,
        "keepalive": "4s",
        "connect_timeout": "2s",
    }
    return {**base, "subscriptions": [subscription], **more}


def _hopeless(port: int) -> list[dict[str, Any]]:
    subscription = _config(port)["subscriptions"][0]
    return [
        _config(port, subscriptions=[{**subscription, "topic": "plant/#/sensors"}]),
        _config(
            port,
            subscriptions=[
                subscription,
                {**subscription, "topic": "plant/#", "asset": "x", "points": subscription["points"]},
            ],
        ),
        _config(port, tls={"ca": "no such file.pem"}),
    ]


Turn = Callable[[], Awaitable[None]]


def _mosquitto(tmp_path: Path) -> tuple[int, Turn, Turn]:
    broker = Mosquitto(tmp_path / "mosquitto")

    async def stop() -> None:
        await asyncio.to_thread(broker.stop, kill=True)

    async def start() -> None:
        await asyncio.to_thread(broker.start)

    return broker.port, stop, start


def _amqtt() -> tuple[int, Turn, Turn]:
    """In a process of its own, which can be killed: its own shutdown waits for clients."""
    port, running = free_port(), list[asyncio.subprocess.Process]()

    async def start() -> None:
        command = (sys.executable, "-m", "tests.protocols.peers_mqtt", str(port))
        running.append(await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL, cwd=ROOT))
        await until(lambda: asyncio.to_thread(listens, port), DEADLINE_S)

    async def stop() -> None:
        while running:
            process = running.pop()
            process.kill()
            await process.wait()

    return port, stop, start


async def _serve(port: int) -> None:
    config = {
        "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    }
    await Broker(config).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
