"""From mosquitto through the adapter's worker into Kafka: killed with SIGKILL again and again, nothing is lost, repetitions can be recognised."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tests.kit.mqtt_worker import raw_values, start, worker_config
from tests.kit.waiting import until

KILLS = 3
FIRST_MS = 1_769_680_800_000
DEADLINE_S = 60


@pytest.mark.parametrize(("qos", "version"), [(1, "5"), (2, "3.1.1")])
async def test_killed_at_any_time_nothing_is_lost(kafka, mosquitto, tmp_path, unique, qos, version):
    broker = mosquitto(lines=["max_inflight_messages 0", "max_queued_messages 0"])
    asset = unique("mqtt")
    subscription = {
        "topic": "t", "qos": qos, "mapping": "json", "asset": asset, "time": {"path": "$.t", "format": "ms"},
        "points": [{"path": "$.n", "parameter": "n", "type": "integer"}],
    }  # fmt: skip
    adapter = {
        "id": asset,
        "protocol": "mqtt",
        "host": "127.0.0.1",
        "port": broker.port,
        "version": version,
        "subscriptions": [subscription],
    }
    config = worker_config(kafka, tmp_path, adapter)
    worker, enough = start(config), threading.Event()
    try:
        await logged(broker, f"Sending SUBACK to streamforge-{asset}")
        sending = asyncio.create_task(asyncio.to_thread(publish, mosquitto.publisher(broker), qos, enough))
        for _ in range(KILLS):
            await logged(broker, f"Sending PUBLISH to streamforge-{asset} (d0", 50)
            worker.kill()
            worker.wait(30)
            worker = start(config)
        await logged(broker, f"Sending PUBLISH to streamforge-{asset} (d0", 50)
        enough.set()
        expected = {(n, (FIRST_MS + n) * 1000) for n in range(await sending)}

        async def all_there():
            found = set(await raw_values(kafka, tmp_path, asset))
            assert found <= expected
            return found == expected

        await until(all_there, DEADLINE_S)
    finally:
        enough.set()
        worker.kill()
        worker.wait(30)
    assert f"Sending PUBLISH to streamforge-{asset} (d1" in broker.log(), "no kill left anything unacknowledged"


async def logged(broker, line, more=1):
    """So many more of these lines than now."""
    before = broker.log().count(line) if more > 1 else 0
    await until(lambda: broker.log().count(line) >= before + more, DEADLINE_S)


def publish(sender, qos, enough):
    """Twenty messages at a time, one number each, until it is enough; how many there were."""
    n = 0
    while not enough.wait(0.02):
        sender.send_many([("t", f'{{"n": {n + i}, "t": {FIRST_MS + n + i}}}') for i in range(20)], qos)
        n += 20
    return n
