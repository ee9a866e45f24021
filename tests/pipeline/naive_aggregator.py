"""Windows as plainly as they can be written: every reading in every window that takes it, figures at the end."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from pipeline.aggregator import AHEAD, BEHIND, BEHIND_MOST, SETTLE
from pipeline.clocks import WAIT
from pipeline.intervals import HOUR, INTERVALS, MINUTE, SECOND
from schemas.records import Quality
from tests.kit.readings import Row


@dataclass
class Point:
    """What is known of a point by its own readings."""

    folded: int
    dropped: int
    clock: int = 0
    heard: int = 0


class NaiveAggregator:
    """`windows` maps (interval, parameter, start) to its readings in the order of the log, which it sees from its beginning."""

    def __init__(self, lateness_s: float, readings_max: int) -> None:
        self.lateness = int(lateness_s * SECOND)
        self.readings_max = readings_max
        self.windows: dict[tuple[str, str, int], list[tuple[int, float | None, Quality]]] = {}
        self.counters: dict[str, int] = {}
        self.clock: int | None = None
        self._begin((0, 0))

    def _begin(self, base: tuple[int, int]) -> None:
        self.base = base
        self.points: dict[str, Point] = {}
        self.kept: list[tuple[str, int, bool]] = []
        """Point, time, and whether its hour takes it."""
        self.hours: set[tuple[str, int]] = set()
        self.behind = self.late = self.horizon = 0

    def take(self, row: Row) -> None:
        arrived = row.got if row.arrived is None else row.arrived
        time = row.got if row.device_time is None else row.device_time
        if time > arrived + AHEAD:
            self._count("ahead_total")
            time = min(row.got, arrived)
        time = max(time, 0)
        seen = min(time, arrived)
        if self._is_reset(row.parameter, seen, arrived):
            self._count("clock_resets_total")
            oldest = seen // SECOND * SECOND - self.lateness
            self._begin((oldest // MINUTE * MINUTE, oldest // HOUR * HOUR))
            self.clock = None
        closed = None if self.clock is None else self.clock // SECOND * SECOND
        self.clock = max(seen, self.clock or 0)
        second = self.clock // SECOND * SECOND
        if closed is None:
            closed, self.horizon = second, self._minute(second - self.lateness - SETTLE)
        point = self.points.setdefault(row.parameter, Point(*self.base))
        point.clock, point.heard = max(point.clock, seen), second
        self.late += time < second
        self._windows(row, time, point, second)
        self._fold(second, second > closed, self.late >= max(1, self.readings_max // 4))

    def _is_reset(self, name: str, seen: int, arrived: int) -> bool:
        own = max(seen, self.points[name].clock) if name in self.points else seen
        if arrived >= max(seen, self.clock or 0) - BEHIND:
            self.behind = 0
        elif arrived < own - BEHIND:
            self.behind += 1
        return self.behind >= BEHIND_MOST

    @staticmethod
    def _minute(time: int) -> int:
        return time // MINUTE * MINUTE

    def _fold(self, second: int, crossed: bool, full: bool) -> None:
        horizon = self._minute(second - self.lateness - SETTLE)
        over = (full or (crossed and self._minute(second) > self.horizon)) and len(self.kept) > self.readings_max
        if not (full or over or (crossed and horizon > self.horizon)):
            return
        self.horizon, self.late = max(self.horizon, horizon), 0
        limits = {
            name: (second if point.heard + WAIT <= second else point.clock) - self.lateness
            for name, point in self.points.items()
        }
        before = {name: self._minute(limit) for name, limit in limits.items()}
        if over and self._left(before) > self.readings_max:
            self._count("lateness_cut_total")
            self.horizon = self._minute(second)
            before = {name: max(at, self._minute(self.points[name].clock)) for name, at in before.items()}
            if self._left(before) > self.readings_max:
                before = dict.fromkeys(before, self._minute(second))
        for name, time, hour in self.kept:
            if time < before[name]:
                self.points[name].folded = max(self.points[name].folded, self._minute(time) + MINUTE)
                if hour:
                    self.hours.add((name, time // HOUR * HOUR))
        self.kept = [row for row in self.kept if row[1] >= before[row[0]]]
        for name, start in [hour for hour in self.hours if hour[1] + HOUR <= limits[hour[0]]]:
            self.points[name].dropped = max(self.points[name].dropped, start + HOUR)
            self.hours.remove((name, start))

    def _left(self, before: dict[str, int]) -> int:
        return sum(time >= before[name] for name, time, _ in self.kept)

    def _windows(self, row: Row, time: int, point: Point, second: int) -> None:
        taken = []
        for interval in INTERVALS:
            start = time // interval.length * interval.length
            end = start + interval.length
            if end + self.lateness <= point.clock or end <= (
                point.folded if interval.length <= MINUTE else point.dropped
            ):
                self._count(f'too_late_total{{interval="{interval.name}"}}')
                continue
            if end <= second:
                self._count(f'late_total{{interval="{interval.name}"}}')
            number = isinstance(row.value, int | float) and math.isfinite(row.value)
            kept = self.windows.setdefault((interval.name, row.parameter, start), [])
            kept.append((time, float(row.value) if number else None, row.quality))
            taken.append(interval.name)
        if taken:
            self.kept.append((row.parameter, time, "1hour" in taken))

    def _count(self, name: str) -> None:
        self.counters[name] = self.counters.get(name, 0) + 1


def figures(readings) -> dict:
    """What the document of a window must say."""
    codes = [quality for _, _, quality in readings]
    found = {
        "count": len(readings),
        "good": codes.count(Quality.GOOD),
        "suspect": codes.count(Quality.SUSPECT),
        "uncertain": codes.count(Quality.UNCERTAIN),
        "bad": codes.count(Quality.BAD),
        "percent_good": 100 * codes.count(Quality.GOOD) / len(readings),
    }
    numbers = [(time, value) for time, value, _ in readings if value is not None]
    if not numbers:
        return found | dict.fromkeys(("avg", "min", "max", "stddev", "p50", "p95", "p99", "first", "last"))
    values = sorted(value for _, value in numbers)
    by_time = sorted(numbers, key=lambda n: n[0])
    oldest, newest = by_time[0][0], by_time[-1][0]
    found |= {f"p{p}": percentile(values, p / 100) for p in (50, 95, 99)}
    return found | {
        "avg": statistics.fmean(values),
        "min": values[0],
        "max": values[-1],
        "stddev": statistics.pstdev(values),
        "first": next(value for time, value in numbers if time == oldest),
        "last": next(value for time, value in reversed(numbers) if time == newest),
    }


def percentile(values: list[float], fraction: float) -> float:
    place = fraction * (len(values) - 1)
    low, high = values[math.floor(place)], values[math.ceil(place)]
    return low + (high - low) * (place - math.floor(place))
