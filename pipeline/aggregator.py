"""The aggregator: readings in; averages, extremes and percentiles for each second, ten seconds, minute and hour out.

Windows go by device time (the gateway's where there is none). Each partition has a clock of its own, which only its log moves:
the newest device time that is not beyond the reading's arrival. When the clock passes a window's end the window is written; when
a reading comes later than that, but not later than `lateness`, the window is written again, whole. What comes later still is
counted as too late, for each interval. A device clock more than AHEAD ahead counts as none.

Everything is decided at the reading that moves the clock past a whole second, never at the end of a batch. So the state does not
depend on how the log was cut into batches, and a replay after a crash ends up exactly where the first run was.

A clock that the gateway itself had set wrong, far ahead, would make all later readings too late. When BEHIND_MOST readings in a row arrived more
than BEHIND before the partition's clock, all windows are written, and the clock starts anew with them.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.closing import close
from pipeline.contract import Outputs, Stage
from pipeline.hours import Hour, Key
from pipeline.intervals import HOUR, INTERVALS, MINUTE, SECOND
from pipeline.packing import pack, unpack
from pipeline.points import Points, Slots
from pipeline.recent import Recent, Rows
from pipeline.shard import Shard
from pipeline.windows import summarise
from schemas.records import NO_TIME, Codes, Floats, Records, Times

AHEAD = 10 * SECOND
QUIET = 2 * SECOND
"""How long after a window's end a tick waits for the log before it writes the window."""
BEHIND = HOUR
BEHIND_MOST = 100
LATENESS_MAX_S = 3600.0
"""More would need more memory than a gateway has; longer ones are cut to this."""
POINTS_MAX = 100_000
"""Points with open windows in one partition. Readings of further ones are counted and not aggregated."""
READINGS_MAX = 750_000
"""Readings kept for one partition. Beyond this `lateness` is cut short, and that is counted."""

_MAGIC = b"SFAW"


@dataclass(slots=True)
class _Arrived:
    """Readings to take in, one column each, with the clock as it stood when each was read."""

    slot: Slots
    time: Times
    arrived: Times
    value: Floats
    quality: Codes
    clock: Times
    second: Times
    """The clock's whole second."""

    def __len__(self) -> int:
        return len(self.slot)

    def only(self, part: slice) -> _Arrived:
        return _Arrived(*[getattr(self, name)[part] for name in self.__slots__])


class Aggregator(Stage):
    """Windows of `intervals` (names as in the configuration), open for late readings for `lateness_s` seconds."""

    name = "aggregator"
    inputs = ("telemetry.clean",)

    def __init__(
        self,
        intervals: Sequence[str] = ("1s", "10s", "1min", "1hour"),
        lateness_s: float = 60.0,
        points_max: int = POINTS_MAX,
        readings_max: int = READINGS_MAX,
    ) -> None:
        self._intervals = [at for at, interval in enumerate(INTERVALS) if interval.name in intervals]
        self._lateness = int(min(lateness_s, LATENESS_MAX_S) * SECOND)
        self._points_max, self._readings_max = points_max, readings_max
        # The longest window that may still change must be seen from its beginning.
        self.memory_s = 2 * HOUR / SECOND + self._lateness / SECOND
        self._shards: dict[int, Shard] = {}

    def step(self, partition: int, records: Records, arrived_at: int) -> Outputs:  # noqa: ARG002 - each row knows its own
        shard = self._shards.setdefault(partition, Shard(Points(self._points_max)))
        outputs = Outputs()
        readings = _arrived(shard, records, outputs)
        while len(readings):
            readings = self._until_reset(shard, readings, outputs)
        return outputs

    def _until_reset(self, shard: Shard, readings: _Arrived, outputs: Outputs) -> _Arrived:
        """Take readings in up to where the clock must start anew; returns the rest."""
        seen = np.minimum(readings.time, readings.arrived)
        clock = self._start(shard, int(seen[0])) if shard.clock is None else shard.clock
        readings.clock = np.maximum.accumulate(np.maximum(seen, clock))
        readings.second = readings.clock // SECOND * SECOND
        reset = _reset_at(shard, readings)
        now = readings.only(slice(0, reset))
        while len(now):
            now = self._piece(shard, now, outputs)
        if reset < len(readings):
            _count(outputs, "clock_resets_total", 1)
            self._reset(shard, outputs)
        return readings.only(slice(reset, None))

    def _piece(self, shard: Shard, readings: _Arrived, outputs: Outputs) -> _Arrived:
        """Take readings in up to the last at which something is written or folded; returns the rest."""
        end = self._cut(shard, readings)
        part = readings.only(slice(0, end))
        later = self._admit(shard, part, outputs)
        shard.clock = int(part.clock[-1])
        until = int(part.second[-1])
        if until > shard.closed:
            horizon = self._next_horizon(shard, until, outputs)
            self._close(shard, until, horizon, later, outputs)
            if horizon > shard.horizon:
                self._fold(shard, horizon)
        for at, keys in later.items():
            shard.dirty[at] |= keys
        return readings.only(slice(end, None))

    def _cut(self, shard: Shard, readings: _Arrived) -> int:
        before = np.concatenate([[shard.closed], readings.second[:-1]])
        crossings = np.flatnonzero(readings.second != before)
        if not len(crossings):
            return len(readings)
        if len(shard.recent) + len(readings) > self._readings_max:
            return int(crossings[0]) + 1
        folds = crossings[(readings.second[crossings] - self._lateness) // MINUTE * MINUTE > shard.horizon]
        return int(folds[0] if len(folds) else crossings[-1]) + 1

    def _next_horizon(self, shard: Shard, until: int, outputs: Outputs) -> int:
        """The minute before which, at second `until`, no reading can change a window of a minute or less."""
        horizon = max(shard.horizon, (until - self._lateness) // MINUTE * MINUTE)
        if len(shard.recent) > self._readings_max and until // MINUTE * MINUTE > horizon:
            _count(outputs, "lateness_cut_total", 1)
            return until // MINUTE * MINUTE
        return horizon

    def _admit(self, shard: Shard, part: _Arrived, outputs: Outputs) -> dict[int, set[Key]]:
        """Keep the readings that some window still takes. Returns, by interval, the windows that are changed since the last
        time in this part at which changed windows are written again."""
        flags = part.quality.copy()
        later = {}
        shortest = (part.time // SECOND + 1) * SECOND
        quick = bool((shortest > part.second).all()) and bool((shortest > shard.horizon).all())
        for at in self._intervals:
            if quick:  # No window at all has ended: nothing is late.
                flags |= np.uint8(4 << at)
                continue
            length = INTERVALS[at].length
            end = (part.time // length + 1) * length
            taken = end + self._lateness > part.clock
            if length <= MINUTE:
                taken &= end > shard.horizon
            flags[taken] |= np.uint8(4 << at)
            _count(outputs, f'too_late_total{{interval="{INTERVALS[at].name}"}}', int(np.count_nonzero(~taken)))
            late = np.flatnonzero(taken & (end <= part.second))
            _count(outputs, f'late_total{{interval="{INTERVALS[at].name}"}}', len(late))
            again = part.second // INTERVALS[at].again
            crossed = np.flatnonzero(np.diff(again, prepend=shard.closed // INTERVALS[at].again))
            last = int(crossed[-1]) if len(crossed) else len(part)
            shard.dirty[at] |= _keys(part, late[late <= last], end - length)
            later[at] = _keys(part, late[late > last], end - length)
        kept = flags > 3
        rows = Rows(part.slot, part.time, part.value, flags)
        if len(rows):
            shard.touched = shard.fresh = True
            shard.recent.append(rows if kept.all() else rows.only(kept))
        return later

    def _close(self, shard: Shard, until: int, horizon: int, later: dict[int, set[Key]], outputs: Outputs) -> None:
        """The clock is at `until`, a whole second: write what is due, before the readings before `horizon` are folded away.

        Of the changed windows those that may not change any more are written now, the others when it is their time again.
        """
        for at in self._intervals:
            again, length = INTERVALS[at].again, INTERVALS[at].length
            end = max(until - self._lateness, horizon if length <= MINUTE else 0)
            now = {key for key in shard.dirty[at] | later.get(at, set()) if key[1] + length <= end}
            if at in later:
                later[at] -= now
            if until // again > shard.closed // again:
                now |= shard.dirty[at]
            outputs.documents += close(shard, at, shard.closed, until, now)
            shard.dirty[at] -= now
        shard.closed = until
        if until >= shard.ticked:
            shard.told.clear()

    def _fold(self, shard: Shard, horizon: int) -> None:
        """Readings that no short window takes any more go into the hours; hours that take none any more are forgotten."""
        shard.horizon = horizon
        rows = shard.recent.take_before(horizon)
        hour = len(INTERVALS) - 1
        if hour in self._intervals:
            windows = summarise(rows.only((rows.flags & (4 << hour)) != 0), HOUR)
            begins = windows.begins.tolist()
            for at, key in enumerate(zip(windows.slot.tolist(), windows.start.tolist(), strict=True)):
                values = windows.values[begins[at] : begins[at] + windows.numbers[at]]
                shard.hours.setdefault(key, Hour()).fold(windows, at, values)
            for key in [key for key in shard.hours if key[1] + HOUR + self._lateness <= shard.closed]:
                del shard.hours[key]
            shard.hours_number += 1
        if 2 * len(shard.points) > self._points_max:
            shard.forget_unused()

    def _start(self, shard: Shard, clock: int) -> int:
        shard.clock = clock
        shard.closed = clock // SECOND * SECOND
        shard.horizon = (shard.closed - self._lateness) // MINUTE * MINUTE
        return clock

    def _reset(self, shard: Shard, outputs: Outputs) -> None:
        """Write every window there is, and begin as if nothing had been."""
        for at in self._intervals:
            outputs.documents += close(shard, at, shard.closed, shard.closed + AHEAD + 2 * HOUR, shard.dirty[at])
        shard.recent = Recent(numbers=shard.recent.numbers)
        shard.hours, shard.hours_number = {}, shard.hours_number + 1
        shard.clock, shard.behind = None, 0
        shard.dirty = [set() for _ in INTERVALS]
        shard.ticked = 0
        shard.told.clear()

    def tick(self, now: int) -> Outputs:
        outputs = Outputs()
        until = (now - QUIET) // SECOND * SECOND
        for shard in self._shards.values():
            if shard.touched:
                shard.touched, shard.quiet_since = False, now
            elif now - shard.quiet_since >= QUIET and shard.clock is not None and until > shard.closed:
                self._tick(shard, until, outputs)
        return outputs

    def _tick(self, shard: Shard, until: int, outputs: Outputs) -> None:
        """Write what is due by the wall clock while the log stands still. The log's own state stays as it is."""
        seen = 0 if shard.fresh or shard.ticked > until else shard.ticked
        for at in self._intervals:
            made = close(shard, at, max(shard.closed, seen), until, shard.dirty[at] if shard.fresh else set())
            for document in made:
                slot = shard.points.slot_of(document.fields["asset_id"], document.fields["parameter"])
                shard.told[at, slot, document.fields["window_start"]] = document.fields["count"]
            outputs.documents += made
        shard.ticked, shard.fresh = until, False

    def snapshot_parts(self, partition: int, written: Container[str]) -> dict[str, bytes | None]:
        shard = self._shards.get(partition)
        return {} if shard is None else shard.to_parts(written)

    def restore_parts(self, partition: int, parts: dict[str, bytes]) -> None:
        self._shards.pop(partition, None)
        if parts:
            self._shards[partition] = Shard.from_parts(parts, self._points_max)

    def snapshot(self, partition: int) -> bytes:
        parts = self.snapshot_parts(partition, ())
        columns = {name: np.frombuffer(part, np.uint8) for name, part in parts.items() if part is not None}
        return pack(_MAGIC, {}, columns)

    def restore(self, partition: int, snapshot: bytes) -> None:
        columns = unpack(_MAGIC, snapshot)[1] if snapshot else {}
        self.restore_parts(partition, {name: column.tobytes() for name, column in columns.items()})


def _arrived(shard: Shard, records: Records, outputs: Outputs) -> _Arrived:
    """The columns of a batch, with the time each reading counts for."""
    slots = shard.slots(records)
    time = np.where(records.device_time == NO_TIME, records.gateway_time, records.device_time)
    # A time may be any 64 bits: compare before adding.
    ahead = time > records.arrived + AHEAD
    if ahead.any():
        time = np.where(ahead, np.minimum(records.gateway_time, records.arrived), time)
        _count(outputs, "ahead_total", int(np.count_nonzero(ahead)))
    time = np.maximum(time, 0)
    value = records.number
    if not np.isfinite(value).all():
        value = np.where(np.isfinite(value), value, np.nan)
    # The clock is not known yet; its columns are filled in when the readings are taken in.
    arrived = _Arrived(slots, time, records.arrived, value, records.quality, clock=time, second=time)
    known = slots >= 0
    if known.all():
        return arrived
    _count(outputs, "points_over_total", int(np.count_nonzero(~known)))
    return _Arrived(*[getattr(arrived, name)[known] for name in _Arrived.__slots__])


def _reset_at(shard: Shard, readings: _Arrived) -> int:
    """Where the clock must start anew; the end if nowhere."""
    behind = readings.arrived < readings.clock - BEHIND
    if not behind.any():
        shard.behind = 0
        return len(readings)
    for row, is_behind in enumerate(behind.tolist()):
        shard.behind = shard.behind + 1 if is_behind else 0
        if shard.behind >= BEHIND_MOST:
            return row
    return len(readings)


def _keys(part: _Arrived, rows: npt.NDArray[np.intp], start: Times) -> set[Key]:
    if not len(rows):
        return set()
    return set(zip(part.slot[rows].tolist(), start[rows].tolist(), strict=True))


def _count(outputs: Outputs, name: str, n: int) -> None:
    if n:
        outputs.counters[name] = outputs.counters.get(name, 0) + n
