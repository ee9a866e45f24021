"""Statistics of many windows at once: rows grouped by point and window, one column for each figure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline import quantiles
from pipeline.checks import Mask
from pipeline.points import Slots
from pipeline.recent import Rows
from schemas.records import Floats, Times

Counts = npt.NDArray[np.intp]


@dataclass(slots=True)
class Windows:
    """One row for each window with readings. Figures are NaN where a window has no numbers."""

    slot: Slots
    start: Times
    count: Counts
    qualities: npt.NDArray[np.intp]
    """[window, quality]: how many readings."""
    numbers: Counts
    """How many of them are numbers."""
    mean: Floats
    moment: Floats
    """Sum of the squared distances from the mean."""
    least: Floats
    most: Floats
    first_time: Times
    first: Floats
    last_time: Times
    last: Floats
    values: Floats
    """All numbers, window by window, sorted within each."""

    def __len__(self) -> int:
        return len(self.slot)

    @property
    def begins(self) -> Counts:
        """Where each window's numbers begin in `values`."""
        return np.cumsum(self.numbers) - self.numbers

    def percentiles(self) -> list[Floats]:
        """For each of quantiles.FRACTIONS, one for each window; NaN without numbers."""
        some = self.numbers > 0
        found = []
        for column in quantiles.exact(self.values, self.begins[some], self.numbers[some]):
            whole = np.full(len(self), np.nan)
            whole[some] = column
            found.append(whole)
        return found


def summarise(rows: Rows, length: int) -> Windows:
    """The windows of `length` in which there are rows, ordered by slot and start. Rows come in the order of the log: of two
    readings with the same time the earlier is the first and the later the last."""
    order = _by_point_and_time(rows)
    slot, time, value = rows.slot[order], rows.time[order], rows.value[order]
    start = time // length * length
    change = _changes(slot, start)
    group = np.cumsum(change) - 1
    begins = np.flatnonzero(change)
    n = len(begins)
    qualities = np.bincount(group * 4 + (rows.flags[order] & 3), minlength=4 * n).reshape(n, 4)
    is_number = ~np.isnan(value)
    if not is_number.all():
        group, time, value = group[is_number], time[is_number], value[is_number]
    return Windows(
        slot[begins], start[begins], np.diff(begins, append=len(slot)), qualities, *_figures(group, time, value, n)
    )


def _by_point_and_time(rows: Rows) -> npt.NDArray[np.intp]:
    slot = rows.slot
    # NumPy sorts 16 bit numbers by radix, five times as fast.
    order = np.argsort(slot.astype(np.uint16) if slot.max(initial=0) < 1 << 16 else slot, kind="stable")
    slot, time = slot[order], rows.time[order]
    if not ((time[1:] < time[:-1]) & (slot[1:] == slot[:-1])).any():
        return order
    return np.lexsort((rows.time, rows.slot))


def _changes(slot: Slots, start: Times) -> Mask:
    change = np.ones(len(slot), bool)
    change[1:] = (slot[1:] != slot[:-1]) | (start[1:] != start[:-1])
    return change


def _figures(
    group: npt.NDArray[np.intp], time: Times, value: Floats, n: int
) -> tuple[Counts, Floats, Floats, Floats, Floats, Times, Floats, Times, Floats, Floats]:
    """The columns from `numbers` on. `group` is sorted; within a group rows are sorted by time."""
    numbers = np.bincount(group, minlength=n)
    some = numbers > 0
    sizes = numbers[some]
    begins = np.cumsum(sizes) - sizes
    ends = begins + sizes - 1

    def spread(column: npt.NDArray[np.float64]) -> Floats:
        whole = np.full(n, np.nan)
        whole[some] = column
        return whole

    def spread_times(column: Times) -> Times:
        whole = np.zeros(n, np.int64)
        whole[some] = column
        return whole

    if not len(sizes):
        nan, zero = spread(np.empty(0)), spread_times(np.empty(0, np.int64))
        return numbers, nan, nan, nan, nan, zero, nan, zero, nan, value
    values = value[_by_group_and_value(group, value)]
    least, most = values[begins], values[ends]
    mean, moment = _moments(value, begins, sizes, least, most)
    return (
        numbers, spread(mean), spread(moment), spread(least), spread(most),
        spread_times(time[begins]), spread(value[begins]), spread_times(time[ends]), spread(value[ends]), values,
    )  # fmt: skip


def _by_group_and_value(group: npt.NDArray[np.intp], value: Floats) -> npt.NDArray[np.intp]:
    """Like lexsort, but by NumPy's vectorised sort for the values and its radix sort for the groups: several times as fast."""
    order = np.argsort(value)
    if len(group) and group[-1] < 1 << 16:
        return order[np.argsort(group[order].astype(np.uint16), kind="stable")]
    return np.lexsort((value, group))


def _moments(value: Floats, begins: Counts, sizes: Counts, least: Floats, most: Floats) -> tuple[Floats, Floats]:
    """Mean and sum of squared distances, in two passes around each group's first value: no cancellation, equal values give 0."""
    with np.errstate(over="ignore", invalid="ignore"):
        origin = value[begins]
        mean = origin + np.add.reduceat(value - np.repeat(origin, sizes), begins) / sizes
        mean = np.clip(mean, least, most)
        away = value - np.repeat(mean, sizes)
        return mean, np.add.reduceat(away * away, begins)
