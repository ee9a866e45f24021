"""Rules that compare a reading with those before it: duplicate and rate of change; and what a point remembers after them.

What holds, reading by reading in the order of the log (tests hold the columns below to exactly this):

- A reading that was refused (BAD) is never remembered: a spike beyond `range` does not make its successor look fast.
- duplicate: its device time is among the last TIMES_KEPT device times accepted for the point, wherever they stand: what is
  delivered again may be a whole batch old. A duplicate is judged no further, unless its rule is milder than BAD.
- rate of change: against the last accepted number, by the distance of the two times whichever way it goes: a clock that was
  once far ahead does not switch the rule off. The same time twice has no rate.

Points whose device times grow and whose values the rate rule does not refuse are judged all at once; the others, where each
answer depends on the one before, one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan

import numpy as np

from pipeline.checks import Mask, Violation
from pipeline.memory import TIMES_KEPT, Memory
from pipeline.points import Slots
from pipeline.words import figure, instant
from schemas.records import NO_TIME, Codes, Floats, Quality, Rows, Times


@dataclass(slots=True)
class Run:
    """Rows of one batch sorted by point, each point's in the order of the log, one column each."""

    rows: Rows
    slot: Slots
    device_time: Times
    time: Times
    """Device time, or the gateway's where there is none."""
    value: Floats
    """NaN where the reading is no number."""
    rate: Floats
    """Most change a second; infinite for what has no rate."""
    rate_quality: Codes
    duplicate_quality: Codes

    def __len__(self) -> int:
        return len(self.rows)

    def only(self, keep: Mask | slice) -> Run:
        return Run(*[getattr(self, name)[keep] for name in self.__slots__])

    @property
    def first(self) -> Mask:
        """Is the row its point's first?"""
        return _first(self.slot)


def judge(run: Run, memory: Memory) -> list[Violation]:
    """Judge the rows of `run`, none of which is BAD yet, and remember those that are accepted."""
    if not len(run):
        return []
    first = run.first
    point = np.cumsum(first) - 1
    entangled = np.zeros(int(point[-1]) + 1, bool)
    timed = (run.device_time != NO_TIME) & (run.duplicate_quality > Quality.GOOD)
    entangled[point[_out_of_order(run, timed, memory)]] = True
    fast = _too_fast(run, memory)
    entangled[point[fast & (run.rate_quality == Quality.BAD)]] = True
    if not entangled.any():
        found = [_rate_violation(run, memory, fast)]
        _remember(run, timed, memory)
        return [v for v in found if len(v.rows)]
    alone = entangled[point]
    found = [_rate_violation(run, memory, fast & ~alone)]
    # Judged one by one before the others are remembered or after: they are other points.
    found += _one_by_one(run.only(alone), timed[alone], memory)
    _remember(run.only(~alone), timed[~alone], memory)
    return [v for v in found if len(v.rows)]


def _first(slot: Slots) -> Mask:
    first = np.ones(len(slot), bool)
    np.not_equal(slot[1:], slot[:-1], out=first[1:])
    return first


def _last(slot: Slots) -> Mask:
    last = np.ones(len(slot), bool)
    np.not_equal(slot[1:], slot[:-1], out=last[:-1])
    return last


def _out_of_order(run: Run, timed: Mask, memory: Memory) -> Rows:
    """Rows whose device time may have come before: not above all earlier ones, and not known to be new."""
    at = np.flatnonzero(timed)
    slot, times = run.slot[at], run.device_time[at]
    first = _first(slot)
    before = np.empty_like(times)
    before[1:] = times[:-1]
    before[first] = memory.latest[slot[first]]
    late = np.flatnonzero(times <= before)
    if not len(late):
        return late
    # Older than what came before the batch, but alone in it: only the ring can tell.
    lone = (first & _last(slot))[late]
    known = (memory.times[slot[late]] == times[late, None]).any(axis=1)
    doubtful: Rows = at[late[known | ~lone]]
    return doubtful


def _too_fast(run: Run, memory: Memory) -> Mask:
    """Rows that break the rate rule against the number before them, taking every number for accepted."""
    fast = np.zeros(len(run), bool)
    if not np.isfinite(run.rate).any():
        return fast
    at, change, seconds = _change(run, memory)
    with np.errstate(invalid="ignore", over="ignore"):
        fast[at] = (seconds > 0) & (change > run.rate[at] * seconds)
    return fast


def _change(run: Run, memory: Memory) -> tuple[Rows, Floats, Floats]:
    """The rows that are numbers, how far each is from the one before, and how many seconds."""
    at = np.flatnonzero(~np.isnan(run.value))
    slot, value, time = run.slot[at], run.value[at], run.time[at].astype(np.float64)
    first = _first(slot)
    old_value, old_time = np.empty_like(value), np.empty_like(time)
    old_value[1:], old_time[1:] = value[:-1], time[:-1]
    old_value[first], old_time[first] = memory.value[slot[first]], memory.time[slot[first]]
    with np.errstate(over="ignore"):
        return at, np.abs(value - old_value), np.abs(time - old_time) / 1e6


def _rate_violation(run: Run, memory: Memory, fast: Mask) -> Violation:
    """The rows that are too fast, where the rule is on."""
    fast = fast & (run.rate_quality > Quality.GOOD)
    if not fast.any():
        return Violation("rate_of_change", run.rows[:0], run.rate_quality[:0], [])
    at, change, seconds = _change(run, memory)
    kept = fast[at]
    at, change, seconds = at[kept], change[kept], seconds[kept]
    figures = zip(change.tolist(), seconds.tolist(), run.rate[at].tolist(), strict=True)
    return Violation("rate_of_change", run.rows[at], run.rate_quality[at], [_rate_reason(*f) for f in figures])


def _rate_reason(change: float, seconds: float, most: float) -> str:
    return f"rate_of_change: {figure(change)} in {figure(seconds)} s is above {figure(most)} a second"


def _remember(run: Run, timed: Mask, memory: Memory) -> None:
    """Keep the last number of each point, and its device times, all of which are new to it."""
    numbers = np.flatnonzero(~np.isnan(run.value))
    slot = run.slot[numbers]
    last = numbers[_last(slot)]
    memory.value[run.slot[last]] = run.value[last]
    memory.time[run.slot[last]] = run.time[last]
    at = np.flatnonzero(timed)
    if len(at):
        _push(run.slot[at], run.device_time[at], memory)


def _push(slot: Slots, times: Times, memory: Memory) -> None:
    first, last = _first(slot), _last(slot)
    starts = np.flatnonzero(first)
    sizes = np.diff(starts, append=len(slot))
    place = np.arange(len(slot)) - np.repeat(starts, sizes)
    kept = place >= np.repeat(sizes, sizes) - TIMES_KEPT
    memory.times[slot[kept], (memory.pushed[slot[kept]] + place[kept]) % TIMES_KEPT] = times[kept]
    memory.pushed[slot[first]] += sizes
    memory.latest[slot[last]] = np.maximum(memory.latest[slot[last]], times[last])
    # A ring that went round may have lost its largest: a clock that was once far ahead.
    old = slot[last][times[last] < memory.latest[slot[last]]]
    memory.latest[old] = memory.times[old].max(axis=1)


def _one_by_one(run: Run, timed: Mask, memory: Memory) -> list[Violation]:
    """The rules of this module as they are written above."""
    doubled: list[tuple[int, str]] = []
    fast: list[tuple[int, str]] = []
    starts = np.flatnonzero(run.first).tolist()
    for start, end in zip(starts, [*starts[1:], len(run)], strict=True):
        part = slice(start, end)
        for found, new in zip((doubled, fast), _one_point(run.only(part), timed[part].tolist(), memory), strict=True):
            found += [(start + at, reason) for at, reason in new]
    return [
        _violation("duplicate", doubled, run, run.duplicate_quality),
        _violation("rate_of_change", fast, run, run.rate_quality),
    ]


def _violation(rule: str, found: list[tuple[int, str]], run: Run, quality: Codes) -> Violation:
    at = np.array([place for place, _ in found], np.intp)
    return Violation(rule, run.rows[at], quality[at], [reason for _, reason in found])


def _one_point(run: Run, timed: list[bool], memory: Memory) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    """The duplicates and the too fast among the rows of one point, each with its place and its reason."""
    doubled, fast = [], []
    slot = int(run.slot[0])
    ring, pushed = memory.times[slot].tolist(), int(memory.pushed[slot])
    known = set(ring)
    value, time = float(memory.value[slot]), int(memory.time[slot])
    columns = (run.device_time, run.time, run.value, run.rate, run.rate_quality, run.duplicate_quality)
    rows = zip(timed, *[column.tolist() for column in columns], strict=True)
    for at, (is_timed, device_time, now, number, rate, rate_quality, duplicate_quality) in enumerate(rows):
        again = is_timed and device_time in known
        if again:
            doubled.append((at, f"duplicate: device time {instant(device_time)} came before"))
            if duplicate_quality == Quality.BAD:
                continue
        change, seconds = abs(number - value), abs(float(now) - float(time)) / 1e6
        if seconds > 0 and change > rate * seconds and rate_quality > Quality.GOOD:
            fast.append((at, _rate_reason(change, seconds, rate)))
            if rate_quality == Quality.BAD:
                continue
        if is_timed and not again:
            known.discard(ring[pushed % TIMES_KEPT])
            known.add(device_time)
            ring[pushed % TIMES_KEPT] = device_time
            pushed += 1
        if not isnan(number):
            value, time = number, now
    memory.times[slot], memory.pushed[slot], memory.latest[slot] = ring, pushed, max(ring)
    memory.value[slot], memory.time[slot] = value, time
    return doubled, fast
