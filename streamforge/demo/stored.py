"""What the demo's database holds of one partition's assets, in portions, for the comparison (compare.py)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import numpy as np
import psycopg2

from stream.partitions import Partitioner
from stream.producer import Partition
from streamforge.demo.seen import FIGURES, WINDOW, Event, Names, Seen, pack_stored, pack_window

CONNECT_WITHIN_S = 10
ANSWER_WITHIN_MS = 120_000
PORTION = 2000


class Database:
    """One connection, and a cursor on the server's side: no query's answer is ever held whole."""

    def __init__(self, dsn: str, partitions: int, names: Names) -> None:
        self._names = names
        self._points: list[dict[int, int]] = [{} for _ in range(partitions)]
        """By partition: the database's id of a point to our number."""
        options = f"-c statement_timeout={ANSWER_WITHIN_MS}"
        self._connection: Any = psycopg2.connect(dsn, connect_timeout=CONNECT_WITHIN_S, options=options)
        try:
            partition_of = Partitioner(partitions)
            for point, asset, parameter in self._rows("SELECT id, asset_id, parameter FROM points", {}):
                self._points[partition_of(asset.encode())][point] = names.points((asset, parameter))
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def offsets(self) -> dict[Partition, int]:
        """Up to where the sink has delivered the stream: the next offset of each partition. Raises psycopg2.Error."""
        return {(topic, partition): offset for topic, partition, offset in self._rows(_OFFSETS, {})}

    def read(self, partition: int, seen: Seen) -> None:
        """Add to `seen` what is stored of this partition. Raises psycopg2.Error."""
        points = self._points[partition]
        windows = seen.windows.rows()
        begin = min(seen.since, int(windows["start"].min(initial=seen.since)))
        which = {"points": list(points), "since": seen.since, "begin": begin}
        readings = _portions(self._rows(_READINGS, which))
        for portion in readings:
            seen.stored.add(pack_stored(portion, points, self._names))
        for portion in _portions(self._rows(_WINDOWS, which)):
            packed = [pack_window(points[row[0]], row[1], row[2], row[3:]) for row in portion]
            seen.stored_windows.add(np.array(packed, WINDOW))
        for row in self._rows(_EVENTS, which):
            seen.stored_events.append(Event(*self._names.points.things[points[row[0]]], *row[1:]))

    def _rows(self, query: str, which: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
        with self._connection.cursor("comparison") as cursor:
            cursor.itersize = PORTION
            cursor.execute(query, which)
            yield from cursor


def _portions(rows: Iterator[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    portion = []
    for row in rows:
        portion.append(row)
        if len(portion) == PORTION:
            yield portion
            portion = []
    yield portion


def _micros(column: str) -> str:
    return f"(extract(epoch FROM {column}) * 1000000)::bigint"


_SINCE = (
    "point = ANY(%(points)s::integer[]) AND gateway_time >= 'epoch'::timestamptz + %(since)s * interval '1 microsecond'"
)
_OFFSETS = 'SELECT DISTINCT ON (topic, partition) topic, partition, "offset" FROM streamforge_offsets ORDER BY topic, partition, written DESC'
_READINGS = (
    f"SELECT point, kind, quality, {_micros('device_time')}, {_micros('gateway_time')}, value, whole, text"  # noqa: S608 - our own names
    f" FROM readings WHERE {_SINCE}"
)
_WINDOWS = (
    f"SELECT point, interval, {_micros('window_start')}, {', '.join(FIGURES)} FROM aggregates".replace(  # noqa: S608 - our own names
        "window_end", _micros("window_end")
    )
    + " WHERE point = ANY(%(points)s::integer[]) AND window_start >= 'epoch'::timestamptz + %(begin)s * interval '1 microsecond'"
)
_EVENTS = f"SELECT point, kind, {_micros('device_time')}, {_micros('gateway_time')}, message, details FROM events WHERE {_SINCE}"  # noqa: S608 - our own names
