"""`./run bench mqtt`: messages of QoS 1 waiting in a real mosquitto, drained by the adapter and, for comparison, by paho's own loop.

Prints messages a second and CPU a message (user and system of this process). Every message is mapped and acknowledged after its batch;
paho's own loop only receives and acknowledges. Needs Debian's mosquitto.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvloop
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from protocols.mqtt.adapter import MqttAdapter
from protocols.mqtt.config import MqttConfig
from tests.kit.mosquitto import BINARY, MISSING, Factory, Mosquitto

MESSAGES = 50_000
TIME = "2026-01-29T10:00:00.123Z"
RAW = {"topic": "t/+", "mapping": "raw", "asset": "{topic[1]}", "points": [{"parameter": "value", "type": "number"}]}
JSON = {
    "topic": "t/+",
    "mapping": "json",
    "asset": "{topic[1]}",
    "time": {"path": "$.ts"},
    "points": [{"path": f"$.{name}", "parameter": name} for name in ("a", "b", "c")],
}


def payload(n: int, kind: str) -> str:
    return str(n) if kind == "raw" else json.dumps({"ts": TIME, "a": n / 2, "b": n, "c": True})


@contextmanager
def measured(name: str) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{name:28} {MESSAGES / wall:9,.0f} messages/s   {cpu / MESSAGES * 1e6:5.1f} us CPU a message", flush=True)


async def adapter_drains(broker: Mosquitto, factory: Factory, kind: str) -> None:
    subscription = RAW if kind == "raw" else JSON
    config = {"id": "bench", "host": "127.0.0.1", "port": broker.port, "version": "5", "subscriptions": [subscription]}
    one = MqttAdapter(MqttConfig.model_validate(config))
    await one.connect()
    await one.close()
    await fill(broker, factory, kind)
    left = MESSAGES * len(JSON["points"] if kind == "json" else RAW["points"])
    with measured(f"adapter, {kind}"):
        await one.connect()
        while left > 0:
            batch = await one.read()
            left -= len(batch.readings)
            batch.delivered()
    await one.close()


async def paho_drains(broker: Mosquitto, factory: Factory) -> None:
    got = 0

    def on_message(client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        nonlocal got
        got += 1
        client.ack(message.mid, message.qos)

    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        "bench-paho",
        clean_session=False,
        protocol=MQTTProtocolVersion.MQTTv311,
        manual_ack=True,
    )
    client.on_message = on_message
    client.connect("127.0.0.1", broker.port)
    client.subscribe("t/+", 1)
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        client.loop(0.05)
    client.disconnect()
    await fill(broker, factory, "raw")
    with measured("paho's loop, nothing mapped"):
        client.reconnect()
        while got < MESSAGES:
            client.loop(1)
    client.disconnect()


async def fill(broker: Mosquitto, factory: Factory, kind: str) -> None:
    sender = factory.publisher(broker)
    await asyncio.to_thread(sender.send_many, [(f"t/m{n % 100}", payload(n, kind)) for n in range(MESSAGES)])
    sender.client.loop_stop()


async def run() -> None:
    with tempfile.TemporaryDirectory() as directory:
        factory = Factory(Path(directory))
        try:
            for kind in ("raw", "json", "paho"):
                broker = factory(lines=["max_queued_messages 0", "max_inflight_messages 0", "log_type none"])
                await (paho_drains(broker, factory) if kind == "paho" else adapter_drains(broker, factory, kind))
        finally:
            factory.stop()


def main() -> None:
    if not BINARY:
        raise SystemExit(MISSING)
    uvloop.run(run())


if __name__ == "__main__":
    main()
