"""The aggregator: readings in; averages, extremes and percentiles for each second, ten seconds, minute and hour out.

Windows go by device time (the gateway's where there is none). Each partition has a clock, which only its log moves: the newest
device time that is not beyond the reading's arrival. When it passes a window's end the window is written; when a reading comes later than
that, the window is written again, whole. How late a reading may come is judged by its own point's clock (clocks.py): one that is not
older than the newest of its point by more than `lateness` is in time, however far the neighbours are. What is older still is
counted as too late, for each interval. A device clock more than AHEAD ahead counts as none.

Everything is decided at the reading that moves the partition's clock past a whole second, or at each so many late ones, never at the end
of a batch. So the state does not depend on how the log was cut into batches, and a replay after a crash ends up exactly where
the first run was.

A clock that the gateway itself had set wrong, far ahead, would make all later readings too late. When BEHIND_MOST readings in a row arrived more
than BEHIND before their points' clocks, all windows are written, and the clocks start anew with them. Readings that only others
are far ahead of, as when held ones are handed over, neither add to the row nor end it.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.checks import Mask
from pipeline.clocks import Fold
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
SETTLE = 5 * SECOND
"""How long after a minute may be folded it is: the others' readings of the second that ended it, and the next polls, have come."""
_FOLDS = 4
"""Late readings that are this part of the most are folded at once: a drained backlog need not move the clock."""

_MAGIC = b"SFAW"


@dataclass(slots=True)
class _Arrived:
    """Readings to take in, one column each, with the clocks as they stood when each was read."""

    slot: Slots
    time: Times
    arrived: Times
    value: Floats
    quality: Codes
    clock: Times
    second: Times
    """The clock's whole second."""
    own: Times
    """The clock of the reading's point; of the reading alone where none is so late that it would matter."""
    late: Mask
    """Had its second been written?"""

    def __len__(self) -> int:
        return len(self.slot)

    def only(self, begin: int, end: int) -> _Arrived:
        if not begin and end == len(self):
            return self
        return _Arrived(*[getattr(self, name)[begin:end] for name in self.__slots__])


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
        self._late_max = max(1, readings_max // _FOLDS)
        # The longest window that may still change must be seen from its beginning, also of points that are an hour behind others.
        self.memory_s = (3 * HOUR + self._lateness) / SECOND
        self._shards: dict[int, Shard] = {}

    def step(self, partition: int, records: Records, arrived_at: int) -> Outputs:  # noqa: ARG002 - each row knows its own
        shard = self._shards.setdefault(partition, Shard(Points(self._points_max)))
        outputs = Outputs()
        if shard.clock is None and len(records):
            shard.whole = int(records.offsets[0]) == 0
        readings = _arrived(shard, records, outputs)
        while len(readings):
            readings = self._until_reset(shard, readings, outputs)
        return outputs

    def _until_reset(self, shard: Shard, readings: _Arrived, outputs: Outputs) -> _Arrived:
        """Take readings in up to where the clocks must start anew; returns the rest."""
        seen = np.minimum(readings.time, readings.arrived)
        clock = self._start(shard, int(seen[0])) if shard.clock is None else shard.clock
        readings.clock = np.maximum.accumulate(np.maximum(seen, clock))
        readings.second = readings.clock // SECOND * SECOND
        readings.late = readings.time < readings.second
        far = seen < readings.clock - self._lateness
        readings.own = shard.clocks.running(readings.slot, seen) if far.any() else seen
        reset = _reset_at(shard, readings)
        now = readings.only(0, reset)
        while len(now):
            now = self._piece(shard, now, outputs)
        if reset < len(readings):
            _count(outputs, "clock_resets_total", 1)
            self._reset(shard, outputs)
        return readings.only(reset, len(readings))

    def _piece(self, shard: Shard, readings: _Arrived, outputs: Outputs) -> _Arrived:
        """Take readings in up to the last at which something is written or folded; returns the rest."""
        end = self._cut(shard, readings)
        part = readings.only(0, end)
        later = self._admit(shard, part, outputs)
        shard.clock = int(part.clock[-1])
        shard.clocks.hear(part.slot, part.own, part.second)
        until = int(part.second[-1])
        fold = self._fold_at(shard, until, outputs)
        if until > shard.closed or fold is not None:
            self._close(shard, until, fold, later, outputs)
        if fold is not None:
            self._fold(shard, fold)
        for at, keys in later.items():
            shard.dirty[at] |= keys
        return readings.only(end, len(readings))

    def _cut(self, shard: Shard, readings: _Arrived) -> int:
        end = len(readings)
        if shard.late + np.count_nonzero(readings.late) >= self._late_max:
            end = int(np.flatnonzero(readings.late)[self._late_max - shard.late - 1]) + 1
        before = np.concatenate([[shard.closed], readings.second[: end - 1]])
        crossings = np.flatnonzero(readings.second[:end] != before)
        if not len(crossings):
            return end
        if len(shard.recent) + len(readings) > self._readings_max:
            return int(crossings[0]) + 1
        folds = crossings[self._horizons(readings.second[crossings]) > shard.horizon]
        return int(folds[0] if len(folds) else crossings[-1]) + 1

    def _horizons(self, seconds: Times) -> Times:
        """The minutes up to which is to be folded when the clock is at these seconds."""
        found: Times = (seconds - self._lateness - SETTLE) // MINUTE * MINUTE
        return found

    def _fold_at(self, shard: Shard, until: int, outputs: Outputs) -> Fold | None:
        """What is to be folded at the last reading taken in, at which the clock is at second `until`."""
        crossed, full = until > shard.closed, shard.late >= self._late_max
        horizon, minute = int(self._horizons(np.array(until))), until // MINUTE * MINUTE
        over = (full or (crossed and minute > shard.horizon)) and len(shard.recent) > self._readings_max
        if not (full or over or (crossed and horizon > shard.horizon)):
            return None
        fold = shard.clocks.fold_at(until, self._lateness)
        shard.horizon = max(shard.horizon, horizon)
        if over and shard.recent.number_from(fold.before) > self._readings_max:
            _count(outputs, "lateness_cut_total", 1)
            shard.horizon = minute
            # First to the minute of each point, which leaves windows whole; if that is too much still, to the partition's.
            fold.before = np.maximum(fold.before, shard.clocks.clock // MINUTE * MINUTE)
            if shard.recent.number_from(fold.before) > self._readings_max:
                fold.before = np.full_like(fold.before, minute)
        return fold

    def _admit(self, shard: Shard, part: _Arrived, outputs: Outputs) -> dict[int, set[Key]]:
        """Keep the readings that some window still takes. Returns, by interval, the windows that are changed since the last
        time in this part at which changed windows are written again."""
        flags = part.quality.copy()
        later = {}
        late_seconds = int(np.count_nonzero(part.late))
        shard.late += late_seconds
        for at in self._intervals:
            if not late_seconds:  # No window at all has ended: nothing is late.
                flags |= np.uint8(4 << at)
                continue
            length = INTERVALS[at].length
            end = (part.time // length + 1) * length
            gone = shard.clocks.folded if length <= MINUTE else shard.clocks.dropped
            taken = (end + self._lateness > part.own) & (end > gone[part.slot])
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

    def _close(self, shard: Shard, until: int, fold: Fold | None, later: dict[int, set[Key]], outputs: Outputs) -> None:
        """The clock is at `until`, a whole second: write what is due, before `fold` is done.

        Of the changed windows those that are folded are written now, the others when it is their time again.
        """
        for at in self._intervals:
            again, length = INTERVALS[at].again, INTERVALS[at].length
            now: set[Key] = set()
            if fold is not None:
                now = {key for key in shard.dirty[at] | later.get(at, set()) if fold.takes(key, length)}
            if at in later:
                later[at] -= now
            if until // again > shard.closed // again:
                now |= shard.dirty[at]
            outputs.documents += close(shard, at, shard.closed, until, now)
            shard.dirty[at] -= now
        shard.closed = until
        if until >= shard.ticked:
            shard.told.clear()

    def _fold(self, shard: Shard, fold: Fold) -> None:
        """Readings that no short window takes any more go into the hours; hours that take none any more are forgotten."""
        shard.late = 0
        rows = shard.recent.take_before(fold.before)
        shard.clocks.fold(rows)
        hour = len(INTERVALS) - 1
        if hour in self._intervals:
            windows = summarise(rows.only((rows.flags & (4 << hour)) != 0), HOUR)
            begins = windows.begins.tolist()
            for at, key in enumerate(zip(windows.slot.tolist(), windows.start.tolist(), strict=True)):
                values = windows.values[begins[at] : begins[at] + windows.numbers[at]]
                shard.hours.setdefault(key, Hour()).fold(windows, at, values)
            dropped = [key for key in shard.hours if fold.takes(key, HOUR)]
            shard.clocks.drop(dropped)
            for key in dropped:
                del shard.hours[key]
            shard.hours_number += 1
        if 2 * len(shard.points) > self._points_max:
            shard.forget_unused()

    def _start(self, shard: Shard, clock: int) -> int:
        shard.clock = clock
        shard.closed = clock // SECOND * SECOND
        shard.horizon = int(self._horizons(np.array(shard.closed)))
        oldest = shard.closed - self._lateness
        # Where readings may have come before the first, windows they belong to must not be written anew.
        shard.clocks.begin((0, 0) if shard.whole else (oldest // MINUTE * MINUTE, oldest // HOUR * HOUR))
        return clock

    def _reset(self, shard: Shard, outputs: Outputs) -> None:
        """Write every window there is, and begin as if nothing had been."""
        for at in self._intervals:
            outputs.documents += close(shard, at, shard.closed, shard.closed + AHEAD + 2 * HOUR, shard.dirty[at])
        shard.recent = Recent(numbers=shard.recent.numbers)
        shard.hours, shard.hours_number = {}, shard.hours_number + 1
        shard.clock, shard.behind, shard.late, shard.whole = None, 0, 0, False
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
    # The clocks are not known yet; their columns are filled in when the readings are taken in.
    arrived = _Arrived(slots, time, records.arrived, value, records.quality, time, time, time, slots < 0)
    known = slots >= 0
    if known.all():
        return arrived
    _count(outputs, "points_over_total", int(np.count_nonzero(~known)))
    return _Arrived(*[getattr(arrived, name)[known] for name in _Arrived.__slots__])


def _reset_at(shard: Shard, readings: _Arrived) -> int:
    """Where the clocks must start anew; the end if nowhere."""
    near = readings.arrived >= readings.clock - BEHIND
    if near.all():
        shard.behind = 0
        return len(readings)
    behind = readings.arrived < readings.own - BEHIND
    for row, (is_near, is_behind) in enumerate(zip(near.tolist(), behind.tolist(), strict=True)):
        shard.behind = 0 if is_near else shard.behind + is_behind
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
