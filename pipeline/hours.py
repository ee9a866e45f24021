"""Windows too long to keep all their readings: what is older than `Recent` is folded into running figures and a sketch.

One `Hour` for each point and long window. Folding happens at places that the log alone decides (aggregator.py), so that the same
log always leads to the same figures, to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf, isnan, nan
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.quantiles import Sketch, weighted
from pipeline.windows import Windows
from schemas.records import Floats

Key = tuple[int, int]
"""Slot and start of the window."""


@dataclass(slots=True)
class Hour:
    """What is known of the folded part of one window."""

    qualities: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    numbers: int = 0
    mean: float = 0.0
    moment: float = 0.0
    least: float = inf
    most: float = -inf
    first_time: int = 0
    first: float = nan
    last_time: int = 0
    last: float = nan
    sketch: Sketch = field(default_factory=Sketch)

    @property
    def count(self) -> int:
        return sum(self.qualities)

    def fold(self, windows: Windows, at: int, values: Floats) -> None:
        """Take in one of `windows`, whose numbers are `values`."""
        self._merge(windows, at)
        if len(values):
            self.sketch.add(values)

    def with_recent(self, windows: Windows, at: int) -> Hour:
        """The whole window: this and the part not folded yet, but for its percentiles."""
        whole = Hour(
            list(self.qualities), self.numbers, self.mean, self.moment, self.least, self.most,
            self.first_time, self.first, self.last_time, self.last, self.sketch,
        )  # fmt: skip
        whole._merge(windows, at)
        return whole

    def percentiles(self, recent: Floats) -> list[float]:
        """With `recent`, the numbers not folded yet."""
        if not self.numbers:
            return [nan, nan, nan]
        values, weights = self.sketch.items()
        return weighted(np.concatenate([values, recent]), np.concatenate([weights, np.ones(len(recent))]))

    def _merge(self, windows: Windows, at: int) -> None:
        for code, n in enumerate(windows.qualities[at].tolist()):
            self.qualities[code] += n
        n = int(windows.numbers[at])
        if not n:
            return
        mean, moment = float(windows.mean[at]), float(windows.moment[at])
        first_time, last_time = int(windows.first_time[at]), int(windows.last_time[at])
        if not self.numbers or first_time < self.first_time:
            self.first_time, self.first = first_time, float(windows.first[at])
        if not self.numbers or last_time >= self.last_time:
            self.last_time, self.last = last_time, float(windows.last[at])
        total = self.numbers + n
        away = mean - self.mean
        # Chan, Golub, LeVeque: figures of two parts to those of the whole, without cancellation.
        self.moment += moment + away * away * self.numbers * n / total
        self.mean = mean if not self.numbers else self.mean + away * n / total
        self.least, self.most = min(self.least, float(windows.least[at])), max(self.most, float(windows.most[at]))
        self.mean = min(max(self.mean, self.least), self.most) if not isnan(self.mean) else self.mean
        self.numbers = total


_FIGURES = ("mean", "moment", "least", "most", "first", "last")
_WHOLE = ("numbers", "first_time", "last_time")


def to_columns(hours: dict[Key, Hour]) -> dict[str, npt.NDArray[Any]]:
    """For a snapshot."""
    every = list(hours.values())
    columns: dict[str, npt.NDArray[Any]] = {
        "slot": np.array([slot for slot, _ in hours], np.int64),
        "start": np.array([start for _, start in hours], np.int64),
        "qualities": np.array([hour.qualities for hour in every], np.int64).reshape(len(every), 4),
        "parity": np.array([hour.sketch.parity for hour in every], np.int64),
        "levels": np.array([len(hour.sketch.levels) for hour in every], np.int64),
        "sizes": np.array([len(level) for hour in every for level in hour.sketch.levels], np.int64),
        "values": np.concatenate([np.empty(0), *[level for hour in every for level in hour.sketch.levels]]),
    }
    columns |= {name: np.array([getattr(hour, name) for hour in every], np.float64) for name in _FIGURES}
    return columns | {name: np.array([getattr(hour, name) for hour in every], np.int64) for name in _WHOLE}


def from_columns(columns: dict[str, npt.NDArray[Any]]) -> Iterable[tuple[Key, Hour]]:
    """Raises KeyError or ValueError for columns that `to_columns` did not make."""
    sizes = iter(columns["sizes"].tolist())
    at = 0
    for row, (slot, start) in enumerate(zip(columns["slot"].tolist(), columns["start"].tolist(), strict=True)):
        levels = []
        for _ in range(int(columns["levels"][row])):
            size = next(sizes, 0)
            levels.append(columns["values"][at : at + size].astype(np.float64))
            at += size
        figures = {name: columns[name][row].item() for name in (*_FIGURES, *_WHOLE)}
        sketch = Sketch(levels, int(columns["parity"][row]))
        yield (slot, start), Hour(qualities=columns["qualities"][row].tolist(), sketch=sketch, **figures)
