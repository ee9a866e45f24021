"""What a worker's coroutine may know and say: its id, its configuration, its health, its counters, and when to stop.

The actor around it (io_actor.py) supplies it; a test makes one by hand and needs no actor system. Everything here is called on
the worker's loop; the mailbox thread only reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    """SPEC section 11, as a component says it of itself."""

    STARTING = "STARTING"
    HEALTHY = "HEALTHY"
    DEGRADED = "DEGRADED"
    UNHEALTHY = "UNHEALTHY"
    FAILED = "FAILED"


def _ignore() -> None:
    return None


@dataclass
class Context:
    """One worker's window to the world of actors."""

    id: str
    """The path in the tree, as `data_path/adapters/press_4`."""
    config: dict[str, Any]
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the worker shall finish what it holds and return from `run`."""
    on_ready: Callable[[], None] = _ignore
    status: Status = Status.STARTING
    reason: str | None = None
    counters: dict[str, float] = field(default_factory=dict)
    """Only ever grow; the name ends with `_total`. Labels stand in braces: `rejected_total{rule="range"}`."""
    gauges: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    """Small things worth showing: last_reading_at, breaker, partitions. JSON values only."""

    def ready(self) -> None:
        """Tell the supervisor that the start is done: the next child may start."""
        if self.status is Status.STARTING:
            self.status = Status.HEALTHY
        self.on_ready()

    def health(self, status: Status, reason: str | None = None) -> None:
        self.status, self.reason = status, reason

    def count(self, name: str, n: float = 1) -> None:
        self.counters[name] = self.counters.get(name, 0) + n

    def gauge(self, name: str, value: float) -> None:
        self.gauges[name] = value
