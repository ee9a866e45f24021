"""Percentiles: exact for what is all there, and a sketch of bounded size for what is not. Pure functions of the order of the log.

`datasketches`' KLL draws random numbers, so that a replay after a crash could give other percentiles than were written before.
The sketch here compacts like KLL but deterministically: a full level is sorted and every other item, weighing double, moves up;
which half is taken alternates, so that one compaction's error takes back the last one's. tests/pipeline/test_quantiles.py holds
the rank error below 1 % for 200,000 values in several orders; up to EXACT values nothing is lost at all.
"""

from __future__ import annotations

import numpy as np

from schemas.records import Floats, Rows

EXACT = 512
"""Values kept as they are."""
_TOP = 192
_SHRINK = 2 / 3
_LEAST = 16

FRACTIONS = (0.50, 0.95, 0.99)


class Sketch:
    """A few hundred values that stand for many: on level i each weighs 2**i."""

    __slots__ = ("levels", "parity")

    def __init__(self, levels: list[Floats] | None = None, parity: int = 0) -> None:
        self.levels = levels if levels is not None else [np.empty(0)]
        self.parity = parity
        """Bit i: which half level i keeps next."""

    def add(self, values: Floats) -> None:
        """Take in values; the same ones in the same portions always lead to the same sketch."""
        self.levels[0] = np.concatenate([self.levels[0], values])
        if len(self.levels) == 1 and len(self.levels[0]) <= EXACT:
            return
        level = 0
        while level < len(self.levels):
            if len(self.levels[level]) > self._capacity(level):
                self._compact(level)
            level += 1

    def items(self) -> tuple[Floats, Floats]:
        """Values and their weights, unsorted."""
        weights = [np.full(len(level), 2.0**i) for i, level in enumerate(self.levels)]
        return np.concatenate(self.levels), np.concatenate(weights)

    def _capacity(self, level: int) -> int:
        if level == len(self.levels) - 1:
            return _TOP if level else EXACT
        return max(_LEAST, int(_TOP * _SHRINK ** (len(self.levels) - 1 - level)))

    def _compact(self, level: int) -> None:
        values = np.sort(self.levels[level])
        even = len(values) & ~1
        half = self.parity >> level & 1
        self.parity ^= 1 << level
        if level + 1 == len(self.levels):
            self.levels.append(np.empty(0))
        self.levels[level + 1] = np.concatenate([self.levels[level + 1], values[half:even:2]])
        self.levels[level] = values[even:]


def exact(values: Floats, starts: Rows, sizes: Rows) -> list[Floats]:
    """For each of FRACTIONS the percentile of each group of `values` (sorted within groups), interpolated as in PostgreSQL."""
    found = []
    for fraction in FRACTIONS:
        place: Floats = np.float64(fraction) * (sizes - 1)
        below = place.astype(np.intp)
        above = np.minimum(below + 1, sizes - 1)
        low, high = values[starts + below], values[starts + above]
        found.append(_between(low, high, place - below))
    return found


def weighted(values: Floats, weights: Floats) -> list[float]:
    """The same for one group in which each value stands for `weights` values: equal to `exact` where all weigh 1."""
    order = np.argsort(values, kind="stable")
    ends = np.cumsum(weights[order])
    found = []
    for fraction in FRACTIONS:
        place = fraction * (ends[-1] - 1)
        below = np.floor(place)
        at = np.searchsorted(ends, [below, min(below + 1, ends[-1] - 1)], side="right")
        low, high = values[order[at]]
        found.append(float(_between(low, high, np.float64(place - below))))
    return found


def _between(low: Floats, high: Floats, part: Floats | np.float64) -> Floats:
    with np.errstate(over="ignore", invalid="ignore"):
        between: Floats = np.where(low == high, low, low + (high - low) * part)
    return between
