"""One point on its way: where its node is now, what it said last, and whether what arrives now is news. Pure, with state.

That events are sent on change only is the business of actors/adapter.py, for all protocols alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from protocols.contract import Cause, Point, Reading
from protocols.opcua import quality, values
from protocols.opcua.binary import DataValue
from protocols.opcua.config import OpcUaPoint
from schemas.records import Quality, Value


@dataclass(slots=True)
class Item:
    handle: int
    """Names it in notifications; its place in the configuration."""
    config: OpcUaPoint
    point: Point
    counters: Counter[str]
    node_id: Any = None
    """A `ua.NodeId`; None until the address is resolved, and again when the node is gone."""
    monitored_id: int | None = None
    """The server's name for the monitored item."""
    problem: str | None = None
    """Why it brings nothing, for people."""
    cause: str | None = None
    """The same without what is this point's alone: its address, and what is there instead."""
    deadband_here: bool = False
    """The server cannot apply the deadband, or it is a poll."""
    hole: str | None = None
    """Why values may be missing before the next one: that one says it."""
    _last: Reading | None = field(default=None)
    _before: Reading | None = field(default=None)
    """The last that was not BAD, while BAD is what was told since."""

    def forget(self) -> None:
        """Start anew, after the connection was lost: node ids are good for one session only."""
        self._end_of_good()
        self.node_id = self.monitored_id = self.problem = self.cause = self._last = None
        self.deadband_here = self.config.mode == "poll"

    def take(self, value: DataValue) -> Reading | None:
        """The reading this value makes, if it is news."""
        if value.status:
            self._notice(value.status)
        made = values.reading(self.point, value, self.config.element)
        if made is None:
            self.counters["null_values"] += 1
            return None
        if self._is_old_news(made):
            self.counters["same_again"] += 1
            return None
        if made.status is not Quality.BAD:
            self.problem = self.cause = None
        else:
            self._end_of_good()
            if made.value is None:
                self.problem = self.cause = made.reason
        self._last = made
        return self._after_hole(self._still(made, value) if self._before else made)

    def _still(self, made: Reading, value: DataValue) -> Reading:
        """A sample that was told before the BAD, and still holds, says so at the time at which the server says it: at its own old
        time it would be a duplicate, and the point BAD for as long as it does not change."""
        before = self._before
        if made.status is not Quality.BAD:
            self._before = None
        if (
            before is None
            or made.device_time is None
            or before.device_time != made.device_time
            or before.value != made.value
        ):
            return made
        self.counters["still_holds"] += 1
        now = values.micros(value.server_time)
        told = _saying(made, f"holds since {values.instant(made.device_time)}")
        return replace(told, device_time=now if now and now > made.device_time else None)

    def _after_hole(self, made: Reading) -> Reading:
        """Not part of `_last`: what is the same sample as the last one followed no hole."""
        if self.hole is None or made.status is Quality.BAD:
            return made
        hole, self.hole = self.hole, None
        return _saying(made, f"values before this one may be lost: {hole}")

    def fail(self, cause: str, more: str = "") -> Reading | None:
        """The node cannot be had: one BAD reading, unless the last one was BAD already, then silence. `more` is of this point alone."""
        self.node_id, self.monitored_id, self.cause = None, None, cause
        self.problem = reason = f"{self.config.address}: {cause}{more}"
        if self._last is not None and self._last.status is Quality.BAD:
            return None
        self._end_of_good()
        self._last = Reading(self.point, None, status=Quality.BAD, reason=reason)
        return self._last

    def _end_of_good(self) -> None:
        if self._last is not None and self._last.status is not Quality.BAD:
            self._before = self._last

    def _notice(self, status: int) -> None:
        if quality.overflowed(status):
            self.counters["overflows"] += 1
        if quality.severity(status) is Quality.BAD:
            self.counters["bad_values"] += 1

    def _is_old_news(self, new: Reading) -> bool:
        """A BAD that lasts, the same sample read again, a change within the deadband."""
        last = self._last
        if last is None or last.status is not new.status or last.reason != new.reason:
            return False
        if new.status is Quality.BAD:
            return True
        same = last.value == new.value and last.device_time == new.device_time
        if same and (self.config.mode == "poll" or new.device_time is not None):
            return True
        return self.deadband_here and _within(self.config.deadband, last.value, new.value)


def _saying(made: Reading, words: str) -> Reading:
    return replace(made, reason=f"{words}; {made.reason}" if made.reason else words)


def _within(deadband: float | None, old: Value, new: Value) -> bool:
    if deadband is None or isinstance(old, str | bool | None) or isinstance(new, str | bool | None):
        return False
    return abs(new - old) <= deadband


def items_of(points: list[OpcUaPoint], counters: Counter[str]) -> list[Item]:
    """One for each point, in their order."""
    return [
        Item(
            n, p, Point(p.asset or "", p.parameter, p.unit, p.classification), counters, deadband_here=p.mode == "poll"
        )
        for n, p in enumerate(points)
    ]


def causes(items: Iterable[Item]) -> Iterator[Cause]:
    """Why points bring nothing: one for each status code and the like, however many points it befalls."""
    alike: dict[str, list[Item]] = {}
    for item in items:
        if item.cause is not None:
            alike.setdefault(item.cause, []).append(item)
    for cause, befallen in alike.items():
        names = tuple(f"{item.point.asset}/{item.point.parameter}" for item in befallen)
        first = befallen[0].problem or cause
        own = "" if first == cause else first.replace(f": {cause}", "", 1)
        yield Cause(first, names) if len(names) == 1 else Cause(cause, names, own)
