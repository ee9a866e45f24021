"""What a worker's coroutine may know and say: its id, its configuration, its health, its counters, and when to stop.

The actor around it (io_actor.py) supplies it; a test makes one by hand and needs no actor system. Everything here is called on
the worker's loop; the mailbox thread only reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
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


def _ignore_tree(_tree: dict[str, Any]) -> None:
    return None


async def _nobody(_name: str, target_id: str) -> dict[str, Any]:
    return {"ok": False, "error": f"{target_id}: this worker runs without a supervisor"}


@dataclass
class Context:
    """One worker's window to the world of actors."""

    id: str
    """The path in the tree, as `data_path/adapters/press_4`."""
    config: dict[str, Any]
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the worker shall finish what it holds and return from `run`."""
    on_ready: Callable[[], None] = _ignore
    on_health: Callable[[], None] = _ignore
    status: Status = Status.STARTING
    reason: str | None = None
    next_step: str | None = None
    """What a person should do about `reason`, where the worker knows; without it people see general advice."""
    counters: dict[str, float] = field(default_factory=dict)
    """Only ever grow; the name ends with `_total`. Labels stand in braces: `rejected_total{rule="range"}`."""
    gauges: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    """Small things worth showing: last_reading_at, breaker, partitions. JSON values only."""
    tree: dict[str, Any] | None = None
    """The newest report of the whole tree (supervisors/report.py), once `watch_tree` was called; about one a second."""
    on_tree: Callable[[dict[str, Any]], None] = _ignore_tree
    """Called with each of them, on this loop."""
    on_watch: Callable[[], None] = _ignore
    on_command: Callable[[str, str], Awaitable[dict[str, Any]]] = _nobody

    def ready(self) -> None:
        """Tell the supervisor that the start is done: the next child may start."""
        if self.status is Status.STARTING:
            self.status = Status.HEALTHY
        self.on_ready()

    def health(self, status: Status, reason: str | None = None, next_step: str | None = None) -> None:
        changed = status is not self.status
        self.status, self.reason, self.next_step = status, reason, next_step
        if changed:
            self.on_health()

    def count(self, name: str, n: float = 1) -> None:
        self.counters[name] = self.counters.get(name, 0) + n

    def gauge(self, name: str, value: float) -> None:
        self.gauges[name] = value

    def watch_tree(self) -> None:
        """Ask the root for reports of the whole tree, from now to this worker's end."""
        self.on_watch()

    def take_tree(self, tree: dict[str, Any]) -> None:
        self.tree = tree
        self.on_tree(tree)

    async def command(self, name: str, target_id: str, *, within_s: float = 30.0) -> dict[str, Any]:
        """Have the tree do something to a component, named by its path or, if that is unambiguous, its last part.

        `restart`: stop it in order, start it, forget its failures (also releases a parked one); answers when it has started.
        `kill`: SIGKILL. The answer has `ok`, with `error` in words if false, `id` and `pid`. Raises TimeoutError; the order stands.
        """
        async with asyncio.timeout(within_s):
            return await self.on_command(name, target_id)
