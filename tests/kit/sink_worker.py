"""A sink's worker without actors: its context, records for it to deliver, and what became of them.

Run as a program (`python -m tests.kit.sink_worker CONFIG_JSON [decode|give]`) it is that worker in a process of its own, to be killed;
or to die by itself, as of a fault in a library, over a record that says b"deadly": while it is decoded or given to the destination.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from typing import Any, Self

import psycopg2

import sinks.postgres.config
from actors import guard
from actors.context import Context
from actors.sink import run
from schemas.records import Document, Series, Value
from sinks.postgres.session import Session
from stream.codec import Codec, SchemaIds, Template
from stream.producer import Parcel, StreamProducer
from tests.kit.postgres import query
from tests.kit.records import NOON
from tests.kit.working import by_now
from tests.kit.working import working as any_working


def worker_config(
    kafka: str, directory: Path, name: str, topics: list[str], dsn: str, partitions: int = 1, **sink: Any
) -> dict[str, Any]:
    """What the tree gives a sink's worker; the topics are made known as ones that have tables."""
    known = sinks.postgres.config.TOPICS
    sinks.postgres.config.TOPICS = (*known, *(t for t in topics if t not in known))
    breaker = {"failures": 3, "pause": "300ms"}
    settings = {
        "id": name,
        "type": "postgres",
        "topics": topics,
        "dsn": dsn,
        "breaker": breaker,
        "flush_every": "20ms",
        **sink,
    }
    return {
        "gateway_id": "g1", "data_dir": str(directory), "bootstrap": kafka, "config_version": "v1", "partitions": partitions,
        "durability": "lazy", "sink": settings,
    }  # fmt: skip


def working(config: dict[str, Any]) -> AbstractAsyncContextManager[Context]:
    return any_working(run, f"data_path/sinks/{config['sink']['id']}", config, stop_within_s=15)


def stored(dsn: str) -> tuple[int, int]:
    """Rows, and distinct values among them."""
    if query(dsn, "SELECT to_regclass('readings')") == [(None,)]:
        return 0, 0
    return query(dsn, "SELECT count(*), count(DISTINCT value) FROM readings")[0]  # type: ignore[return-value]


def stored_is(dsn: str, n: int) -> Callable[[], Any]:
    async def equal() -> bool:
        with suppress(psycopg2.OperationalError, psycopg2.InterfaceError):  # away at the moment
            return await asyncio.to_thread(stored, dsn) == (n, n)
        return False

    return equal


class Source:
    """Writes readings and documents into topics as adapters and stages do."""

    def __init__(self, kafka: str, directory: Path) -> None:
        ids = SchemaIds(directory / "schemas.json")
        self._reading_id, self._codec = ids.id_of("reading"), Codec(ids)
        self._producer = StreamProducer(kafka, "source")

    async def __aenter__(self) -> Self:
        await self._producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._producer.stop()

    async def readings(
        self,
        topic: str,
        series: Series,
        rows: Iterable[tuple[int, Value]],
        partition: int = 0,
        gateway_time: int | None = None,
    ) -> None:
        """(device time in us, value) each."""
        template = Template(series, self._reading_id)
        now = time.time_ns() // 1000 if gateway_time is None else gateway_time
        await self.wires(topic, [template.encode(value, now, at) for at, value in rows], partition)

    async def document(self, topic: str, document: Document, partition: int = 0) -> None:
        await self.wires(topic, [self._codec.encode_document(document)], partition)

    async def wires(self, topic: str, wires: list[bytes], partition: int = 0) -> None:
        await self._producer.send([Parcel(topic, partition, [b"key"] * len(wires), wires, time.time_ns() // 1_000_000)])


async def dead_letters(kafka: str, directory: Path, stage: str, partitions: int = 12) -> list[dict[str, Any]]:
    """The fields of every dead letter of this stage, by now."""
    codec = Codec(SchemaIds(directory / "schemas.json"))
    everything = await by_now(kafka, ["dlq.telemetry", "dlq.events"], list(range(partitions)))
    documents = [d.fields for found in everything for d in codec.decode(*found).documents]
    mine = [fields for fields in documents if fields["stage"] == stage]
    return sorted(mine, key=lambda f: (f["topic"], f["partition"], f["offset"]))


def rows(first: int, n: int) -> list[tuple[int, Value]]:
    """n readings whose device time and value follow from their number."""
    return [(NOON + i, float(i)) for i in range(first, first + n)]


async def start_worker(config: dict[str, Any], deadly: str = "") -> subprocess.Popen[bytes]:
    return await asyncio.to_thread(
        subprocess.Popen, [sys.executable, "-m", "tests.kit.sink_worker", json.dumps(config), deadly],
        cwd=Path(__file__).parents[2], env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip


def _die_over(what: str) -> None:
    """From now on a record that says b"deadly" ends this process as a fault in a library does: at once, without a word."""
    make, write = Codec.__init__, Session.write

    def deadly(wires: Iterable[bytes | None]) -> None:
        if any(b"deadly" in (wire or b"") for wire in wires):
            os.kill(os.getpid(), signal.SIGKILL)

    def making(self: Codec, *given: Any) -> None:
        make(self, *given)
        decode = self.decode

        def decoding(topic: str, partition: int, messages: Any) -> Any:
            deadly(m.value for m in messages)
            return decode(topic, partition, messages)

        self.decode = decoding  # type: ignore[method-assign]

    def writing(self: Session, batch: Any, offsets: Any) -> Any:
        deadly(wire for records in batch.readings for wire in records.wire)
        return write(self, batch, offsets)

    if what == "decode":
        Codec.__init__ = making  # type: ignore[method-assign]
    if what == "give":
        Session.write = writing  # type: ignore[method-assign]


async def _main(config: dict[str, Any]) -> None:
    worker_config("", Path(), "", config["sink"]["topics"], "")
    await run(Context(id=f"data_path/sinks/{config['sink']['id']}", config=config))


if __name__ == "__main__":
    guard.die_with(os.getppid())
    _die_over("".join(sys.argv[2:]))
    asyncio.run(_main(json.loads(sys.argv[1])))
