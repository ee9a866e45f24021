"""Writing windows of one partition: which are due, and what they say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import inf, isfinite, sqrt
from typing import Any

import numpy as np

from pipeline.hours import Hour, Key
from pipeline.intervals import INTERVALS, MINUTE, Interval
from pipeline.recent import Rows, joined
from pipeline.shard import Shard
from pipeline.windows import Windows, summarise
from schemas.records import Document, Floats

_STATISTICS = ("avg", "min", "max", "stddev", "p50", "p95", "p99", "first", "last")
_COUNTS = ("good", "suspect", "uncertain", "bad")

Figures = tuple[float | None, ...]


def close(shard: Shard, index: int, after: int, until: int, dirty: set[Key]) -> list[Document]:
    """The windows of interval `index` that end after `after` and not after `until`, and the `dirty` ones, whole."""
    interval = INTERVALS[index]
    begin, end = after // interval.length * interval.length, until // interval.length * interval.length
    changed = {key for key in dirty if not begin <= key[1] < end}
    if begin >= end and not changed:
        return []
    rows = _rows(shard, index, begin, end, changed)
    made = (
        _short(shard, interval, rows)
        if interval.length <= MINUTE
        else _long(shard, interval, rows, begin, end, changed)
    )
    return list(_untold(shard, index, made) if shard.told else (document for _, document in made))


def _rows(shard: Shard, index: int, begin: int, end: int, changed: set[Key]) -> Rows:
    """The readings of the windows between `begin` and `end` and of the `changed` ones, in the order of the log for each."""
    length = INTERVALS[index].length
    parts = [shard.recent.between(begin, end)] if begin < end else []
    if changed:
        starts = [start for _, start in changed]
        first, wide = min(starts), len(shard.points.names)
        rows = shard.recent.between(first, max(starts) + length)
        numbers = np.array([(start - first) // length * wide + slot for slot, start in changed], np.int64)
        parts.append(rows.only(np.isin((rows.time - first) // length * wide + rows.slot, numbers)))
    rows = joined(parts)
    in_time = (rows.flags & (4 << index)) != 0
    return rows if in_time.all() else rows.only(in_time)


def _short(shard: Shard, interval: Interval, rows: Rows) -> Iterator[tuple[Key, Document]]:
    windows = summarise(rows, interval.length)
    names, units, topic, length = shard.points.names, shard.units, interval.topic, interval.length
    columns = [column.tolist() for column in (windows.slot, windows.start, windows.count, windows.qualities)]
    for slot, start, count, qualities, avg, least, most, spread, p50, p95, p99, first, last in zip(
        *columns, *_statistics(windows), strict=True
    ):
        asset, parameter = names[slot] or ("", "")
        unit, gateway = units[slot]
        # Written out: a gateway with points at 1 Hz makes one of these for each reading.
        fields: dict[str, Any] = {
            "asset_id": asset, "parameter": parameter, "unit": unit, "interval": interval.name,
            "window_start": start, "window_end": start + length, "count": count,
            "avg": avg, "min": least, "max": most, "stddev": spread,
            "p50": p50, "p95": p95, "p99": p99, "first": first, "last": last,
            "good": qualities[0], "suspect": qualities[1], "uncertain": qualities[2], "bad": qualities[3],
            "percent_good": 100.0 * qualities[0] / count, "gateway_id": gateway,
        }  # fmt: skip
        yield (slot, start), Document(topic, asset.encode(), "aggregate", fields)


def _statistics(windows: Windows) -> list[list[float | None]]:
    """A column for each of _STATISTICS, None where there is no number for it."""
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.sqrt(windows.moment / windows.numbers)
    columns = [windows.mean, windows.least, windows.most, spread, *windows.percentiles(), windows.first, windows.last]
    return [_or_none(column) for column in columns]


def _or_none(column: Floats) -> list[float | None]:
    listed = column.tolist()
    return listed if np.isfinite(column).all() else [value if isfinite(value) else None for value in listed]


def _long(
    shard: Shard, interval: Interval, rows: Rows, begin: int, end: int, changed: set[Key]
) -> Iterator[tuple[Key, Document]]:
    """Windows part of which was folded away."""
    windows = summarise(rows, interval.length)
    begins = windows.begins.tolist()
    seen: set[Key] = set()
    for at, key in enumerate(zip(windows.slot.tolist(), windows.start.tolist(), strict=True)):
        seen.add(key)
        values = windows.values[begins[at] : begins[at] + windows.numbers[at]]
        hour = shard.hours.get(key, Hour()).with_recent(windows, at)
        yield key, _hour_document(shard, interval, key, hour, hour.percentiles(values))
    for key, hour in shard.hours.items():
        if key not in seen and (begin <= key[1] < end or key in changed):
            yield key, _hour_document(shard, interval, key, hour, hour.percentiles(np.empty(0)))


def _hour_document(shard: Shard, interval: Interval, key: Key, hour: Hour, percentiles: list[float]) -> Document:
    figures: Figures = (None,) * len(_STATISTICS)
    if hour.numbers:
        spread = sqrt(hour.moment / hour.numbers) if 0 <= hour.moment < inf else inf
        given = (hour.mean, hour.least, hour.most, spread, *percentiles, hour.first, hour.last)
        figures = tuple(v if isfinite(v) else None for v in given)
    return _document(shard, interval, key, hour.count, hour.qualities, figures)


def _document(
    shard: Shard, interval: Interval, key: Key, count: int, qualities: list[int], figures: Iterable[float | None]
) -> Document:
    slot, start = key
    name = shard.points.names[slot]
    assert name is not None, "a window keeps its point"
    unit, gateway = shard.units[slot]
    fields: dict[str, Any] = {
        "asset_id": name[0],
        "parameter": name[1],
        "unit": unit,
        "interval": interval.name,
        "window_start": start,
        "window_end": start + interval.length,
        "count": count,
        "percent_good": 100.0 * qualities[0] / count,
        "gateway_id": gateway,
    }
    fields.update(zip(_STATISTICS, figures, strict=True))
    fields.update(zip(_COUNTS, qualities, strict=True))
    return Document(interval.topic, name[0].encode(), "aggregate", fields)


def _untold(shard: Shard, index: int, made: Iterator[tuple[Key, Document]]) -> Iterator[Document]:
    """Those that were not written before, by a tick, just as they are now: a window only ever gains readings."""
    for key, document in made:
        if shard.told.get((index, *key)) != document.fields["count"]:
            yield document
