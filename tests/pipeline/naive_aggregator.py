"""Windows as plainly as they can be written: every reading in every window that takes it, figures at the end."""

from __future__ import annotations

import math
import statistics

from pipeline.aggregator import AHEAD, BEHIND, BEHIND_MOST
from pipeline.intervals import INTERVALS, MINUTE, SECOND
from schemas.records import Quality
from tests.kit.readings import Row


class NaiveAggregator:
    """`windows` maps (interval, parameter, start) to its readings in the order of the log."""

    def __init__(self, lateness_s: float, readings_max: int) -> None:
        self.lateness = int(lateness_s * SECOND)
        self.readings_max = readings_max
        self.kept: list[int] = []
        self.horizon = 0
        self.windows: dict[tuple[str, str, int], list[tuple[int, float | None, Quality]]] = {}
        self.counters: dict[str, int] = {}
        self.clock: int | None = None
        self.behind = 0

    def take(self, row: Row) -> None:
        arrived = row.got if row.arrived is None else row.arrived
        time = row.got if row.device_time is None else row.device_time
        if time > arrived + AHEAD:
            self._count("ahead_total")
            time = min(row.got, arrived)
        time = max(time, 0)
        clock = max(min(time, arrived), self.clock if self.clock is not None else 0)
        self.behind = self.behind + 1 if arrived < clock - BEHIND else 0
        if self.behind >= BEHIND_MOST:
            self._count("clock_resets_total")
            self.behind, clock, self.clock, self.kept = 0, min(time, arrived), None, []
        closed = None if self.clock is None else self.clock // SECOND
        if closed is None:
            self.horizon = (clock // SECOND * SECOND - self.lateness) // MINUTE * MINUTE
        self.clock = clock
        if self._windows(row, time, clock):
            self.kept.append(time)
        if closed is not None and clock // SECOND > closed:
            self._fold(clock // SECOND * SECOND)

    def _fold(self, closed: int) -> None:
        horizon = max(self.horizon, (closed - self.lateness) // MINUTE * MINUTE)
        if len(self.kept) > self.readings_max and closed // MINUTE * MINUTE > horizon:
            self._count("lateness_cut_total")
            horizon = closed // MINUTE * MINUTE
        if horizon > self.horizon:
            self.horizon = horizon
            self.kept = [time for time in self.kept if time >= horizon]

    def _windows(self, row: Row, time: int, clock: int) -> bool:
        taken = False
        for interval in INTERVALS:
            start = time // interval.length * interval.length
            end = start + interval.length
            if end + self.lateness <= clock or (interval.length <= MINUTE and end <= self.horizon):
                self._count(f'too_late_total{{interval="{interval.name}"}}')
                continue
            if end <= clock // SECOND * SECOND:
                self._count(f'late_total{{interval="{interval.name}"}}')
            number = isinstance(row.value, int | float) and math.isfinite(row.value)
            kept = self.windows.setdefault((interval.name, row.parameter, start), [])
            kept.append((time, float(row.value) if number else None, row.quality))
            taken = True
        return taken

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
