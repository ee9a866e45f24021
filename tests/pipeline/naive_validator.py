"""The validator's rules reading by reading, as slowly and plainly as they can be written: what the real one is held to."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from pipeline.memory import TIMES_KEPT
from pipeline.rules import TYPES, Limits
from schemas.records import Quality
from tests.kit.readings import Row


@dataclass
class Point:
    value: float | None = None
    time: int = 0
    times: list[int] = field(default_factory=list)
    newest: int | None = None
    anchor: float | None = None
    since: int = 0


class NaiveValidator:
    """`judge(row)` gives (quality, names of the rules broken in order, gap or None)."""

    def __init__(self, limits) -> None:
        self.limits = limits
        self.points: dict[tuple[str, str], Point] = {}

    def judge(self, row: Row):
        limits: Limits = self.limits(row.series)
        point = self.points.setdefault((row.asset, row.parameter), Point())
        broken: list[tuple[str, int]] = []
        if row.quality == Quality.BAD:
            return Quality.BAD, ["source"], None
        self._alone(row, limits, broken)
        gap = None
        if not any(q == Quality.BAD for _, q in broken):
            gap = self._compared(row, limits, point, broken)
        broken = [(rule, q) for rule, q in broken if q > Quality.GOOD]
        return max([row.quality, *[Quality(q) for _, q in broken]]), [rule for rule, _ in broken], gap

    def _alone(self, row: Row, limits: Limits, broken) -> None:
        value = row.value
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is None:
            broken.append(("type", Quality.BAD))
        elif number and not math.isfinite(value):
            broken.append(("type", limits.type_quality))
        else:
            fits = {
                "any": True,
                "number": number,
                "integer": number and float(value).is_integer(),
                "boolean": isinstance(value, bool),
                "string": isinstance(value, str),
            }[TYPES[limits.type]]
            if not fits:
                broken.append(("type", limits.type_quality))
        if number and math.isfinite(value) and not limits.low <= value <= limits.high:
            broken.append(("range", limits.range_quality))
        if row.device_time is None:
            broken.append(("time", limits.missing_quality))
            return
        age = (row.got - row.device_time) / 1e6
        if abs(age) > limits.skew_s:
            broken.append(("time", limits.skew_quality))
        if age > limits.stale_s:
            broken.append(("stale", limits.stale_quality))

    def _compared(self, row: Row, limits: Limits, point: Point, broken):
        value = row.value
        time = row.got if row.device_time is None else row.device_time
        again = row.device_time is not None and limits.duplicate_quality > 0 and row.device_time in point.times
        if again:
            broken.append(("duplicate", limits.duplicate_quality))
            if limits.duplicate_quality == Quality.BAD:
                return None
        number = isinstance(value, int | float) and math.isfinite(value)
        if number and not isinstance(value, bool) and point.value is not None:
            seconds = abs(time - point.time) / 1e6
            if seconds > 0 and abs(value - point.value) > limits.rate * seconds:
                broken.append(("rate_of_change", limits.rate_quality))
                if limits.rate_quality == Quality.BAD:
                    return None
        if row.device_time is not None and limits.duplicate_quality > 0 and not again:
            point.times = [*point.times, row.device_time][-TIMES_KEPT:]
        if number:
            point.value, point.time = float(value), time
        return self._silence(
            row, limits, point, min(time, row.got if row.arrived is None else row.arrived), number, broken
        )

    def _silence(self, row, limits, point, time, number, broken):
        gap = None
        if math.isfinite(limits.gap_s) and (point.newest is None or time > point.newest):
            if point.newest is not None and time - point.newest > 2 * limits.gap_s * 1e6:
                gap = (point.newest, time)
            point.newest = time
        if number and math.isfinite(limits.flat_s) and limits.flat_quality > 0:
            if point.anchor is None or abs(row.value - point.anchor) > limits.flat_tolerance:
                point.anchor, point.since = float(row.value), time
            elif time - point.since > limits.flat_s * 1e6:
                broken.append(("flat_line", limits.flat_quality))
        return gap
