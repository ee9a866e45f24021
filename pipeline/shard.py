"""All the aggregator knows of one partition, and its way into a snapshot and back. State, no rules."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import numpy as np

from pipeline import recent as recent_rows
from pipeline.clocks import COLUMNS, Clocks
from pipeline.hours import Hour, Key, from_columns, to_columns
from pipeline.intervals import HOUR, INTERVALS
from pipeline.packing import pack, unpack
from pipeline.points import Points, Slots
from pipeline.recent import Recent, Rows, Segment
from schemas.records import Records, Series

_MAGIC = b"SFA1"

Told = dict[tuple[int, int, int], int]
"""Interval, slot, start of a window to the count it was written with."""


class Shard:
    """One partition. What stands under "not in the snapshot" only saves writing a window twice."""

    def __init__(self, points: Points) -> None:
        self.points = points
        self.units: list[tuple[str | None, str]] = []
        """By slot: unit and gateway of the point's newest reading."""
        self.recent = Recent()
        self.hours: dict[Key, Hour] = {}
        self.hours_number = 0
        """Counts the times that `hours` changed."""
        self.whole = False
        """Has it been read from the log's first reading on? Asked only where the clock starts."""
        self.clock: int | None = None
        """Event time: the newest device time of any point that is not beyond its arrival. It decides when windows are first written."""
        self.clocks = Clocks()
        self.closed = 0
        """The clock's whole second: windows that end here or before were written."""
        self.horizon = 0
        """A whole minute, for which was folded: readings before it are in `recent` only of points that are behind."""
        self.late = 0
        """Readings since the last fold of seconds that were written already."""
        self.behind = 0
        """How many readings in a row arrived long before their points' clocks; see aggregator.py."""
        self.dirty: list[set[Key]] = [set() for _ in INTERVALS]
        """By interval: windows that late readings changed since they were written."""
        # Not in the snapshot:
        self.ticked = 0
        self.told: Told = {}
        self.touched = True
        """Has there been a reading since the last tick?"""
        self.fresh = True
        """Has there been one since the last tick that wrote something?"""
        self.quiet_since = 0
        self._series: Slots = np.empty(0, np.int32)
        self._batch: Slots = np.empty(0, np.int32)
        """The slots of the batch under way: some of its readings may not be in `recent` yet."""
        self._table: list[Series] | None = None

    def slots(self, records: Records) -> Slots:
        """The slot of each row, -1 where there is no room; notes units and gateways."""
        slots = self.points.of(records)
        if len(self.units) < len(self.points.names):
            self.units += [(None, "")] * (len(self.points.names) - len(self.units))
            more = np.full(len(self.units) - len(self._series), -1, np.int32)
            self._series = np.concatenate([self._series, more])
            self.clocks.make_room(len(self.units))
        if records.table is not self._table:
            self._table, self._series = records.table, np.full(len(self.units), -1, np.int32)
        for row in np.flatnonzero((self._series[slots] != records.series) & (slots >= 0)).tolist():
            series = records.table[records.series[row]]
            self.units[slots[row]] = (series.unit, series.gateway_id)
            self._series[slots[row]] = records.series[row]
        self._batch = slots[slots >= 0]
        return slots

    def forget_unused(self) -> None:
        """Free the slots of points without any open window."""
        used = np.zeros(len(self.points.names), bool)
        for segment in self.recent.segments:
            used[segment.rows.slot] = True
        used[self.recent.tail.slot] = True
        used[[slot for slot, _ in self.hours]] = True
        used[self._batch] = True
        free = np.flatnonzero(~used).tolist()
        self.points.forget(free)
        self.clocks.forget(free)
        self._series[free] = -1
        self.told.clear()

    def to_parts(self, written: Container[str]) -> dict[str, bytes | None]:
        """Sealed segments have parts of their own, which never change; the hours change once a minute."""
        head = {
            "names": self.points.names,
            "units": self.units,
            "clock": self.clock,
            "closed": self.closed,
            "horizon": self.horizon,
            "behind": self.behind,
            "late": self.late,
            "base": list(self.clocks.base),
            "dirty": [sorted(keys) for keys in self.dirty],
            "numbers": self.recent.numbers,
            "segments": [segment.number for segment in self.recent.segments],
            "hours": self.hours_number,
        }
        columns = _columns(self.recent.tail) | {name: getattr(self.clocks, name) for name in COLUMNS}
        parts: dict[str, bytes | None] = {"head": pack(_MAGIC, head, columns)}
        hours = f"hours-{self.hours_number}"
        parts[hours] = None if hours in written else pack(_MAGIC, {}, to_columns(self.hours))
        for segment in self.recent.segments:
            name = f"rows-{segment.number}"
            parts[name] = None if name in written else pack(_MAGIC, {}, _columns(segment.rows))
        return parts

    @classmethod
    def from_parts(cls, parts: dict[str, bytes], points_max: int) -> Shard:
        """Raises ValueError for parts that `to_parts` did not make."""
        try:
            head, tail = unpack(_MAGIC, parts["head"])
            names = [None if name is None else (str(name[0]), str(name[1])) for name in head["names"]]
            shard = cls(Points(points_max, names))
            shard.units = [(unit, str(gateway)) for unit, gateway in head["units"]]
            shard._series = np.full(len(shard.units), -1, np.int32)
            shard.clock, shard.closed, shard.horizon = head["clock"], int(head["closed"]), int(head["horizon"])
            shard.behind, shard.late = int(head["behind"]), int(head.get("late", 0))
            shard._take_clocks(head, tail)
            shard.dirty = [{(int(slot), int(start)) for slot, start in keys} for keys in head["dirty"]]
            segments = [Segment.of(number, _unpacked(parts[f"rows-{number}"])) for number in head["segments"]]
            shard.recent = Recent(segments, _rows(tail), int(head["numbers"]))
            shard.hours_number = int(head["hours"])
            shard.hours = dict(from_columns(unpack(_MAGIC, parts[f"hours-{shard.hours_number}"])[1]))
        except (KeyError, TypeError, IndexError) as wrong:
            raise ValueError(f"not an aggregator's snapshot: {type(wrong).__name__} {wrong}") from None
        return shard

    def _take_clocks(self, head: dict[str, Any], columns: dict[str, Any]) -> None:
        """A snapshot from before there were any knows only what the partition had folded away and dropped of all points."""
        folded, dropped = head.get("base", (self.horizon, self.horizon // HOUR * HOUR))
        self.clocks.base = int(folded), int(dropped)
        self.clocks.make_room(len(self.units))
        if "base" not in head:
            self.clocks.heard[:] = self.closed
            return
        for name in COLUMNS:
            if len(columns[name]) != len(self.units):
                raise ValueError(
                    f"has {len(columns[name])} of {name}; right would be one for each of {len(self.units)}"
                )
            setattr(self.clocks, name, columns[name].astype(np.int64))


def _columns(rows: Rows) -> dict[str, Any]:
    """Times as differences: small numbers, which shrink well."""
    times = np.diff(rows.time, prepend=0)
    return {"slot": rows.slot, "time": times, "value": rows.value, "flags": rows.flags}


def _rows(columns: dict[str, Any]) -> Rows:
    rows = Rows(columns["slot"], np.cumsum(columns["time"]), columns["value"], columns["flags"])
    if len({len(getattr(rows, name)) for name in Rows.__slots__}) > 1:
        raise ValueError("the columns of the rows differ in length")
    return rows if len(rows) else recent_rows.none()


def _unpacked(packed: bytes) -> Rows:
    return _rows(unpack(_MAGIC, packed)[1])
