"""A stream that keeps a worker waiting is seen long before the deadline, and no longer once it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actors import stream_silence
from actors.context import Status
from stream.consumer import StreamConsumer
from tests.kit import sink_worker
from tests.kit.kafka import MakeTopic
from tests.kit.sink_worker import worker_config
from tests.kit.stage_worker import PARTITIONS, stage_config, working
from tests.kit.waiting import until

Unique = Callable[[str], str]


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Asked how much waits, the stream answers only while this is set."""
    answers, lag = asyncio.Event(), StreamConsumer.lag

    async def slow(consumer: StreamConsumer) -> Any:
        await answers.wait()
        return await lag(consumer)

    monkeypatch.setattr(stream_silence, "SILENT_S", 0.5)
    monkeypatch.setattr(StreamConsumer, "lag", slow)
    answers.set()
    return answers


async def test_a_stage_whose_stream_does_not_answer_is_degraded(
    stage_kafka: str, tmp_path: Path, hanging: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.processor.LAG_EVERY_S", 0.1)
    nobody = stage_config(stage_kafka, tmp_path, "validator", PARTITIONS, PARTITIONS + 1)
    async with working(nobody) as context:
        await until(lambda: context.status is Status.HEALTHY)
        hanging.clear()
        await until(lambda: context.status is Status.DEGRADED)
        assert "the local stream has not answered since" in (context.reason or "")
        assert "streamforge status" in (context.next_step or "")
        hanging.set()
        await until(lambda: context.status is Status.HEALTHY)


async def test_a_sink_whose_stream_does_not_answer_is_degraded(
    kafka: str, database: str, new_topic: MakeTopic, unique: Unique, tmp_path: Path, hanging: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr("actors.sink_feed.LOOK_EVERY_S", 0.1)
    monkeypatch.setattr("actors.sink.IDLE_S", 0.1)
    config = worker_config(kafka, tmp_path, unique("s"), [await new_topic()], database)
    async with sink_worker.working(config) as context:
        await until(lambda: context.counters.get("connects_total") == 1 and context.status is Status.HEALTHY)
        hanging.clear()
        await until(lambda: "the local stream has not answered since" in (context.reason or ""))
        assert context.status is Status.DEGRADED
        hanging.set()
        await until(lambda: context.status is Status.HEALTHY)
