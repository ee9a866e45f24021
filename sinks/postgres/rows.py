"""A batch of readings as columns ready for the database: ids instead of names, one row for each natural key. Pure."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from schemas.records import NO_TIME, Codes, Floats, Records, Rows, Times
from sinks.contract import RefusedRecord

Ids = npt.NDArray[np.int32]


@dataclass(slots=True)
class Columns:
    """n readings of one or many partitions, in the order they came; every array has length n. Times are microseconds since 1970.

    `device_time` is the key: the reading's device time or, where it has none, its gateway time.
    """

    sources: list[Records]
    starts: list[int]
    """Row at which each of `sources` begins."""
    point: Ids
    series: Ids
    device_time: Times
    gateway_time: Times
    kind: Codes
    quality: Codes
    number: Floats
    text: dict[int, str] = field(default_factory=dict)
    whole: dict[int, int] = field(default_factory=dict)
    reason: dict[int, str] = field(default_factory=dict)

    def source(self, row: int) -> tuple[Records, int]:
        """The records a row came from, and its row there."""
        at = bisect_right(self.starts, row) - 1
        return self.sources[at], row - self.starts[at]

    def refused(self, row: int, reason: str) -> RefusedRecord:
        records, at = self.source(row)
        series = records.table[records.series[at]]
        return RefusedRecord(
            records.topic, records.partition, int(records.offsets[at]), records.wire[at], reason,
            series.asset, series.parameter, int(records.arrived[at]),
        )  # fmt: skip


def columns(sources: list[Records], ids: list[tuple[Ids, Ids]]) -> Columns:
    """Put records one after another. `ids[i]` holds, for the table of `sources[i]`, the point id and series id of each entry."""
    starts = [0, *np.cumsum([len(r) for r in sources]).tolist()][:-1]
    gateway_time = np.concatenate([r.gateway_time for r in sources])
    device_time = np.concatenate([r.device_time for r in sources])
    joined = Columns(
        sources,
        starts,
        point=np.concatenate([points[r.series] for r, (points, _) in zip(sources, ids, strict=True)]),
        series=np.concatenate([series[r.series] for r, (_, series) in zip(sources, ids, strict=True)]),
        device_time=np.where(device_time == NO_TIME, gateway_time, device_time),
        gateway_time=gateway_time,
        kind=np.concatenate([r.kind for r in sources]),
        quality=np.concatenate([r.quality for r in sources]),
        number=np.concatenate([r.number for r in sources]),
    )
    for start, records in zip(starts, sources, strict=True):
        joined.text.update({start + row: text for row, text in records.text.items()})
        joined.whole.update({start + row: whole for row, whole in records.whole.items()})
        joined.reason.update({start + row: reason for row, reason in records.reason.items()})
    return joined


def newest_of_each_key(joined: Columns) -> Rows:
    """The rows to write, sorted by (point, device time): of several with the same key only the last, as the stream has them."""
    known: Rows = np.flatnonzero(joined.point >= 0)
    order: Rows = known[np.lexsort((joined.device_time[known], joined.point[known]))]
    if len(order) < 2:
        return order
    point, time = joined.point[order], joined.device_time[order]
    last = np.append((point[1:] != point[:-1]) | (time[1:] != time[:-1]), True)
    newest: Rows = order[last]
    return newest
