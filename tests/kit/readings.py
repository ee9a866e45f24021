"""Batches of readings for tests that need no stream: a decoder's Records from plain rows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from schemas.records import NO_TIME, Classification, Kind, Quality, Records, Series, Value

SECOND = 1_000_000
START = 1_700_000_000 * SECOND

_KINDS = {type(None): Kind.NULL, float: Kind.DOUBLE, int: Kind.LONG, bool: Kind.BOOLEAN, str: Kind.STRING}


@dataclass(frozen=True)
class Row:
    """One reading; times in microseconds. `gateway_time` and `arrived` are the device time's unless given."""

    value: Value
    device_time: int | None = START
    gateway_time: int | None = None
    arrived: int | None = None
    quality: Quality = Quality.GOOD
    reason: str | None = None
    asset: str = "press"
    parameter: str = "temperature"
    unit: str | None = None
    adapter: str = "plc"

    @property
    def got(self) -> int:
        return next(t for t in (self.gateway_time, self.device_time, START) if t is not None)

    @property
    def series(self) -> Series:
        return Series(self.asset, self.parameter, self.unit, Classification.TELEMETRY, self.adapter, "1", None, "gw")


def late_by(row: Row, seconds: float) -> Row:
    """The row as it would come `seconds` after its device time."""
    assert row.device_time is not None
    got = row.device_time + int(seconds * SECOND)
    return replace(row, gateway_time=got, arrived=got)


class Batches:
    """Makes Records like a decoder: one table for all, offsets that go on for each topic and partition."""

    def __init__(self) -> None:
        self.table: list[Series] = []
        self._places: dict[Series, int] = {}
        self._offsets: dict[tuple[str, int], int] = {}

    def of(self, rows: list[Row], topic: str = "telemetry.raw", partition: int = 0) -> Records:
        begin = self._offsets.get((topic, partition), 0)
        self._offsets[topic, partition] = begin + len(rows)
        values = [row.value for row in rows]
        numbers = [float(v) if isinstance(v, int | float) else np.nan for v in values]
        return Records(
            topic,
            partition,
            self.table,
            offsets=np.arange(begin, begin + len(rows)),
            arrived=np.array([row.got if row.arrived is None else row.arrived for row in rows], np.int64),
            series=np.array([self._index(row.series) for row in rows], np.int32),
            device_time=np.array([NO_TIME if r.device_time is None else r.device_time for r in rows], np.int64),
            gateway_time=np.array([row.got for row in rows], np.int64),
            kind=np.array([_KINDS[type(v)] for v in values], np.uint8),
            number=np.array(numbers, np.float64),
            quality=np.array([row.quality for row in rows], np.uint8),
            wire=[b"%d" % at for at in range(begin, begin + len(rows))],
            text={at: v for at, v in enumerate(values) if isinstance(v, str)},
            whole={at: v for at, v in enumerate(values) if type(v) is int and abs(v) > 2**53},
            reason={at: row.reason for at, row in enumerate(rows) if row.reason is not None},
        )

    def _index(self, series: Series) -> int:
        if series not in self._places:
            self._places[series] = len(self.table)
            self.table.append(series)
        return self._places[series]
