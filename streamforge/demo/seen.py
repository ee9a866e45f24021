"""What the demo's comparison saw of one partition, packed: some forty bytes a reading, names and texts once.

A long demo holds hundreds of thousands of readings, and Python's own objects would need a kilobyte for each. Not responsible for
where the readings come from (compare.py) or what they should be (judge.py).
"""

from __future__ import annotations

import struct
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.aggregator import AHEAD
from pipeline.intervals import INTERVALS
from schemas.records import NO_TIME, Kind, Records, Times

Rows = npt.NDArray[np.void]
"""Of dtype READING or WINDOW."""

READING = np.dtype(
    [("point", "i4"), ("kind", "u1"), ("quality", "u1"), ("time", "i8"), ("gateway", "i8"), ("value", "i8"), ("counts_at", "i8")]
)  # fmt: skip
"""`time`: the device's, the gateway's where it has none. `value`: the number itself, the bits of a double, or the number of a text.
`counts_at`: the time by which it belongs to a window, NO_TIME where it belongs to none."""
STATISTICS = ("avg", "min", "max", "stddev", "p50", "p95", "p99", "first", "last", "percent_good")
QUALITIES = ("good", "suspect", "uncertain", "bad")
COUNTS = ("window_end", "count", *QUALITIES)
FIGURES = (*COUNTS, *STATISTICS)
WINDOW = np.dtype(
    [("point", "i4"), ("interval", "i4"), ("start", "i8"), *((n, "i8") for n in COUNTS), *((n, "f8") for n in STATISTICS)]
)  # fmt: skip
"""A figure that a window does not have is NaN."""

EXACT = 2**53
"""Longs beyond it stand in `Records.whole`."""
_NAN = struct.unpack("<q", struct.pack("<d", float("nan")))[0]
_INTERVAL = {interval.name: at for at, interval in enumerate(INTERVALS)}
_1970 = datetime(1970, 1, 1, tzinfo=UTC)


class Numbers:
    """What repeats is held once, and known by its number."""

    def __init__(self) -> None:
        self.things: list[Any] = []
        self._of: dict[Hashable, int] = {}

    def __call__(self, thing: Hashable) -> int:
        found = self._of.setdefault(thing, len(self.things))
        if found == len(self.things):
            self.things.append(thing)
        return found


@dataclass
class Names:
    """What the numbers in rows stand for."""

    points: Numbers = field(default_factory=Numbers)
    """(asset, parameter)."""
    texts: Numbers = field(default_factory=Numbers)

    def reading(self, row: Any) -> str:
        return f"{self._point(row)} of {shown_time(int(row['time']))}, {self._value(row)}"

    def window(self, row: Any) -> str:
        interval = INTERVALS[int(row["interval"])]
        return f"{self._point(row)}, {interval.name} from {shown_time(int(row['start']))}"

    def _point(self, row: Any) -> str:
        return "/".join(self.points.things[int(row["point"])])

    def _value(self, row: Any) -> object:
        kind, value = row["kind"], int(row["value"])
        if kind == Kind.DOUBLE:
            return struct.unpack("<d", struct.pack("<q", value))[0]
        if kind == Kind.BOOLEAN:
            return bool(value)
        if kind == Kind.STRING:
            return repr(self.texts.things[value])
        return value if kind == Kind.LONG else None


class Event(NamedTuple):
    """A gap or the like, as the stream has it and as the database does."""

    asset: str
    parameter: str
    kind: str
    time: int
    gateway: int
    message: str
    details: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.kind} of {self.asset}/{self.parameter}, {shown_time(self.time)}"


class Column:
    """Rows in the order they came."""

    def __init__(self, dtype: np.dtype[np.void]) -> None:
        self._whole: Rows = np.empty(0, dtype)
        self._parts: list[Rows] = []

    def add(self, rows: Rows) -> None:
        if len(rows):
            self._parts.append(rows)

    def rows(self) -> Rows:
        if self._parts:
            self._whole = np.concatenate([self._whole, *self._parts])
            self._parts = []
        return self._whole

    def only(self, name: str, value: int) -> Column:
        """The rows in which the named field has this value."""
        rows = self.rows()
        found = Column(rows.dtype)
        found.add(rows[rows[name] == value])
        return found

    def keep(self, which: npt.NDArray[np.bool_]) -> None:
        self._whole = self.rows()[which]


def _readings() -> Column:
    return Column(READING)


def _windows() -> Column:
    return Column(WINDOW)


@dataclass
class Seen:
    """What stood in one partition of the stream, and in the database of the same assets."""

    names: Names = field(default_factory=Names)
    since: int = 0
    """Microseconds: only what was read since then is compared."""
    raw: Column = field(default_factory=_readings)
    clean: Column = field(default_factory=_readings)
    refused: Column = field(default_factory=_readings)
    rejects: int = 0
    """Dead letters that never were readings: payloads that did not fit."""
    unreadable: list[str] = field(default_factory=list)
    """Records outside the raw topics that could not be decoded: where each stood."""
    windows: Column = field(default_factory=_windows)
    """Every emission, in order: the last of each window counts."""
    events: list[Event] = field(default_factory=list)
    stored: Column = field(default_factory=_readings)
    stored_windows: Column = field(default_factory=_windows)
    stored_events: list[Event] = field(default_factory=list)

    def points(self) -> list[int]:
        """The numbers of all points with rows."""
        columns = (self.raw, self.clean, self.refused, self.windows, self.stored, self.stored_windows)
        return sorted(set().union(*(np.unique(column.rows()["point"]).tolist() for column in columns)))

    def of_point(self, point: int) -> Seen:
        """The rows of one point; what is judged takes several times the room of what is judged of."""
        columns = ("raw", "clean", "refused", "windows", "stored", "stored_windows")
        return Seen(self.names, self.since, **{name: getattr(self, name).only("point", point) for name in columns})

    def leave_out_before(self, since: int) -> None:
        """For a run so long that the stream has begun to delete its oldest records: compare what was read since (microseconds)."""
        self.since = max(self.since, since)
        for column in (self.raw, self.clean, self.refused):
            column.keep(column.rows()["gateway"] >= self.since)
        self.windows.keep(self.windows.rows()["start"] > self.since)
        self.events = [event for event in self.events if event.gateway >= self.since]


def pack(records: Records, names: Names, since: int, aggregated: bool = False) -> Rows:
    """The readings that were read from the machines since then."""
    rows = np.zeros(len(records), READING)
    series, at = np.unique(records.series, return_inverse=True)
    known = [records.table[i] for i in series.tolist()]
    rows["point"] = np.array([names.points((s.asset, s.parameter)) for s in known], np.int32)[at]
    rows["kind"], rows["quality"], rows["gateway"] = records.kind, records.quality, records.gateway_time
    rows["time"] = np.where(records.device_time == NO_TIME, records.gateway_time, records.device_time)
    rows["value"] = _values(records, names)
    rows["counts_at"] = _counts_at(rows["time"], records) if aggregated else NO_TIME
    return rows[records.gateway_time >= since]


def _values(records: Records, names: Names) -> Times:
    number, kind = records.number, records.kind
    exact = ((kind == Kind.LONG) | (kind == Kind.BOOLEAN)) & (np.abs(number) <= EXACT)
    values = np.where(exact, number, 0).astype(np.int64)
    double = kind == Kind.DOUBLE
    bits = np.where(np.isnan(number), _NAN, number.view(np.int64))
    values[double] = bits[double]
    for row, whole in records.whole.items():
        values[row] = whole
    for row, text in records.text.items():
        values[row] = names.texts(text)
    return values


def _counts_at(time: Times, records: Records) -> Times:
    """As the aggregator has it: a device clock far ahead of the arrival counts as none."""
    ahead = time > records.arrived + AHEAD
    return np.maximum(np.where(ahead, np.minimum(records.gateway_time, records.arrived), time), 0)


def pack_stored(rows: Sequence[tuple[Any, ...]], points: dict[int, int], names: Names) -> Rows:
    """Rows of the database: point, kind, quality, device time, gateway time, value, whole, text. `points`: its ids to our numbers."""
    packed = [
        (points[row[0]], *row[1:5], _stored_value(row[1], row[5], row[6], row[7], names), NO_TIME) for row in rows
    ]  # fmt: skip
    return np.array(packed, READING)


def _stored_value(kind: int, value: float | None, whole: int | None, text: str | None, names: Names) -> int:
    if kind == Kind.STRING:
        return names.texts(text)
    if kind == Kind.DOUBLE:
        # A null where a number belongs is no value that the stream can have.
        return NO_TIME if value is None else _bits(value)
    return int(value or 0) if whole is None else whole


def _bits(value: float) -> int:
    found: int = _NAN if value != value else struct.unpack("<q", struct.pack("<d", value))[0]  # noqa: PLR0124 - that is how a NaN is known
    return found


def pack_window(point: int, interval: str, start: int, figures: Sequence[Any]) -> tuple[Any, ...]:
    """One row of WINDOW; `figures` in the order of FIGURES, None where there is none."""
    return (point, _INTERVAL[interval], start, *(np.nan if figure is None else figure for figure in figures))


def shown_time(micros: int) -> str:
    """Any 64 bits, also what no calendar has."""
    try:
        return (_1970 + timedelta(microseconds=micros)).isoformat(timespec="microseconds").replace("+00:00", "Z")
    except OverflowError:
        return f"{micros} us since 1970"
