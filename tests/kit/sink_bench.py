"""What a test of a working sink begins with: a topic of its own, the configuration of a sink that reads it, and a hand that writes into it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.kit.kafka import MakeTopic
from tests.kit.sink_worker import Source, worker_config


@dataclass(frozen=True)
class SinkBench:
    kafka: str
    directory: Path
    name: str
    """The sink's id, like no other test's."""
    new_topic: MakeTopic

    async def on_a_topic(self, dsn: str, partitions: int = 1, **settings: Any) -> tuple[str, dict[str, Any]]:
        """A new topic, and the configuration of a worker that takes it into this database."""
        topic = await self.new_topic(partitions=partitions)
        return topic, self.config([topic], dsn, partitions, **settings)

    def config(self, topics: list[str], dsn: str, partitions: int = 1, **settings: Any) -> dict[str, Any]:
        return worker_config(self.kafka, self.directory, self.name, topics, dsn, partitions, **settings)

    def source(self) -> Source:
        return Source(self.kafka, self.directory)


@pytest.fixture
def bench(kafka: str, new_topic: MakeTopic, unique: Callable[[str], str], tmp_path: Path) -> SinkBench:
    return SinkBench(kafka, tmp_path, unique("s"), new_topic)
