"""Counters a second, of each worker by its own age. Pure.

A report is as old as the way it came: a worker answers its supervisor once a second, and every branch above tells it on in its time.
So what counts is how old the worker was when it said a figure, not when the figure arrived; and at its birth every counter was nought.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Node = dict[str, Any]

WINDOW_S = 5.0
APART_S = 0.1
"""Two figures nearer than this are of one answer."""
SILENT_S = 3.0
"""Who has not answered for so long may have stopped counting: its rate falls with the time."""


@dataclass(frozen=True, slots=True)
class Said:
    """What one incarnation of a worker counted until it was `age_s` old."""

    age_s: float
    counters: dict[str, float]


@dataclass(slots=True)
class Worker:
    pid: int
    said: deque[Said]
    silent_s: float = 0.0


class Rates:
    """Over the last seconds of each worker that lives; a worker that was started again begins anew."""

    def __init__(self) -> None:
        self._workers: dict[str, Worker] = {}

    def take(self, workers: Iterable[Node]) -> None:
        """Remember what the workers of a new report say."""
        self._workers = {node["id"]: known for node in workers if (known := self._known(node)) is not None}

    def _known(self, node: Node) -> Worker | None:
        pid, uptime_s, silent_s = node.get("pid"), node.get("uptime_s"), node.get("heartbeat_age_s")
        if pid is None or uptime_s is None or silent_s is None:
            return None
        known = self._workers.get(node["id"])
        if known is None or known.pid != pid:
            known = Worker(pid, deque())
        known.silent_s = silent_s
        _hear(known.said, Said(uptime_s - silent_s, dict(node.get("counters", {}))))
        return known

    def of(self, path: str, name: str) -> float:
        """Counts a second of one component; nought while it is not known."""
        known = self._workers.get(path)
        if known is None or len(known.said) < 2:
            return 0.0
        first, last = known.said[0], known.said[-1]
        took_s = last.age_s - first.age_s + (known.silent_s if known.silent_s > SILENT_S else 0.0)
        return max(0.0, total(last.counters, name) - total(first.counters, name)) / took_s


def _hear(said: deque[Said], new: Said) -> None:
    """In order of age, over WINDOW_S and a little more. A clock that was set back ends the order, and begins another."""
    if said and new.age_s < said[-1].age_s - APART_S:
        said.clear()
    if not said and APART_S < new.age_s <= WINDOW_S:
        said.append(Said(0.0, {}))
    if not said or new.age_s > said[-1].age_s + APART_S:
        said.append(new)
    while len(said) > 2 and said[1].age_s <= new.age_s - WINDOW_S:
        said.popleft()


def total(counters: dict[str, float], name: str) -> float:
    """A counter over all its labels: `rejects_total` and `rejects_total{rule="range"}`."""
    return sum(value for key, value in counters.items() if key == name or key.startswith(name + "{"))
