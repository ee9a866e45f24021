"""The naive gateway: pymodbus → JSON → Kafka → range check → Kafka → PostgreSQL. Three processes, no transactions, acks=1, no fsync.

`python -m bench.naive.end_to_end read|check|store ARGS`. Each prints how many records it has passed so far, once a second.
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys
import time

import psycopg2
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from psycopg2.extras import execute_values
from pymodbus.client import AsyncModbusTcpClient

POINTS_EACH_READ = 62
EVERY_S = 0.1
RAW, CLEAN = "naive.raw", "naive.clean"


class Told:
    """Prints the count once a second."""

    def __init__(self) -> None:
        self.count, self._next = 0, time.monotonic() + 1

    def add(self, n: int) -> None:
        self.count += n
        if time.monotonic() >= self._next:
            self._next += 1
            print(self.count, flush=True)


async def read(bootstrap: str, port: int, points: int) -> None:
    client = AsyncModbusTcpClient("127.0.0.1", port=port)
    await client.connect()
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, value_serializer=lambda v: json.dumps(v).encode(), linger_ms=20
    )
    await producer.start()
    told, due = Told(), time.monotonic()
    while True:
        for unit in range(1, points // POINTS_EACH_READ + 1):
            answer = await client.read_holding_registers(0, count=2 * POINTS_EACH_READ, device_id=unit)
            now = time.time()
            values = struct.unpack(f">{POINTS_EACH_READ}f", struct.pack(f">{2 * POINTS_EACH_READ}H", *answer.registers))
            for i, value in enumerate(values):
                record = {"asset_id": f"unit_{unit}", "parameter": f"p{i}", "value": value, "time": now}
                await producer.send(RAW, record, key=record["asset_id"].encode())
        told.add(points // POINTS_EACH_READ * POINTS_EACH_READ)
        due += EVERY_S
        await asyncio.sleep(max(0.0, due - time.monotonic()))


async def check(bootstrap: str) -> None:
    consumer = AIOKafkaConsumer(RAW, bootstrap_servers=bootstrap, group_id="naive-check", auto_offset_reset="earliest")
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, value_serializer=lambda v: json.dumps(v).encode(), linger_ms=20
    )
    await consumer.start()
    await producer.start()
    told = Told()
    async for message in consumer:
        record = json.loads(message.value)
        record["quality"] = "GOOD" if -1000 < record["value"] < 1000 else "BAD"
        await producer.send(CLEAN, record, key=message.key)
        told.add(1)


async def store(bootstrap: str, dsn: str) -> None:
    consumer = AIOKafkaConsumer(
        CLEAN, bootstrap_servers=bootstrap, group_id="naive-store", auto_offset_reset="earliest"
    )
    await consumer.start()
    connection = psycopg2.connect(dsn)
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE IF NOT EXISTS naive (asset text, parameter text, time timestamptz, value float8, quality text)"
        )
    told, rows, flushed = Told(), [], time.monotonic()
    async for message in consumer:
        r = json.loads(message.value)
        rows.append((r["asset_id"], r["parameter"], r["time"], r["value"], r["quality"]))
        if len(rows) >= 1000 or time.monotonic() - flushed > 0.5:
            with connection, connection.cursor() as cursor:
                execute_values(
                    cursor, "INSERT INTO naive VALUES %s", rows, "(%s, %s, to_timestamp(%s), %s, %s)", page_size=1000
                )
            told.add(len(rows))
            rows, flushed = [], time.monotonic()


if __name__ == "__main__":
    part, *rest = sys.argv[1:]
    jobs = {
        "read": lambda: read(rest[0], int(rest[1]), int(rest[2])),
        "check": lambda: check(rest[0]),
        "store": lambda: store(rest[0], rest[1]),
    }
    asyncio.run(jobs[part]())
