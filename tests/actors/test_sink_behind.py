"""A sink that works off what waited says so, with the time it will take, and is well when it is through."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actors import sink_pace
from actors.context import Status
from sinks.postgres.session import Session
from tests.kit.kafka import MakeTopic
from tests.kit.records import series
from tests.kit.sink_worker import Source, rows, stored_is, worker_config, working
from tests.kit.waiting import until

Unique = Callable[[str], str]


async def test_a_sink_that_is_behind_says_how_far_and_how_long(
    kafka: str, database: str, new_topic: MakeTopic, unique: Unique, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Session.write

    def slowly(session: Session, *given: Any) -> Any:
        time.sleep(0.02)  # in the session's own thread: a destination of some fifty batches a second
        return write(session, *given)

    monkeypatch.setattr(Session, "write", slowly)
    for name, value in (("BEHIND_S", 0.1), ("BATCHES", 0), ("ENOUGH_S", 0.4)):
        monkeypatch.setattr(sink_pace, name, value)
    monkeypatch.setattr("actors.sink_feed.LOOK_EVERY_S", 0.2)
    topic = await new_topic()
    config = worker_config(kafka, tmp_path, unique("s"), [topic], database, batch_records=1, flush_every="1ms")
    async with Source(kafka, tmp_path) as source, working(config) as context:
        await source.readings(topic, series(), rows(0, 150))
        await until(lambda: "at the present rate" in (context.reason or "") and context.gauges["catch_up_s"] > 0)
        assert context.status is Status.DEGRADED
        assert "records behind, about" in (context.reason or "")
        await until(stored_is(database, 150))
        await until(lambda: context.status is Status.HEALTHY)
        await until(lambda: context.gauges["catch_up_s"] == 0)
