"""Does an aiokafka consumer still read? It has two ways to stand still for ever without a word, and each is made an error here.

Its background tasks (one fetches, one asks for the leaders) end at any exception that is not Kafka's own, and aiokafka never looks at them
again. The two that are known to be raised are put right where they arise (broken_connections.py); this is for the others. And whatever else may go wrong in it shows as records that are there and are not given. Not responsible for what is done about it:
StreamLost ends the consumer, and whoever holds it begins anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer

from stream.producer import Partition, StreamLost
from stream.words import said

LOOK_EVERY_S = 10.0
"""Seconds of waiting for records, not of the clock: a slow reader, or one that reads nothing for a while, is no stalled one."""


def refuse_dead_tasks(client: AIOKafkaConsumer) -> None:
    """Raises StreamLost when a background task of a started consumer has ended."""
    tasks: dict[str, asyncio.Task[Any] | None] = {
        "fetching records": client._fetcher._fetch_task,
        "looking for the leaders": client._client._sync_task,
    }
    for what, task in tasks.items():
        if task is not None and task.done():
            raise StreamLost(f"the local stream is not read any more, {what} has ended: {_why(task)}")


def _why(task: asyncio.Task[Any]) -> str:
    error = None if task.cancelled() else task.exception()
    if error is None:
        return "it was cancelled"
    return said(error.__cause__ or error)


class Flow:
    """Of one assignment. Pure: `waited` says when to look, `stuck` judges what was seen."""

    def __init__(self) -> None:
        self._waited_s = 0.0
        self._behind: dict[Partition, int] = {}

    def waited(self, seconds: float) -> bool:
        """A poll took so long; is it time to compare positions with ends?"""
        self._waited_s += seconds
        return self._waited_s >= LOOK_EVERY_S

    def stuck(
        self, positions: Mapping[Partition, int], ends: Mapping[Partition, int]
    ) -> dict[Partition, tuple[int, int]]:
        """Position and end of each partition that was behind its end at the last look already, and has not moved since."""
        behind = {place: at for place, at in positions.items() if at < ends[place]}
        found = {place: (at, ends[place]) for place, at in behind.items() if self._behind.get(place) == at}
        self._waited_s, self._behind = 0.0, behind
        return found
