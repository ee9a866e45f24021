"""The readings of the last minutes of one partition, in the order of the log: what windows are made from while they may still change.

Append-only segments, so that a selection looks only where the times fit and a snapshot need not write again what stands. No rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.checks import Mask
from pipeline.points import Slots
from schemas.records import Codes, Floats, Times

SEALED = 8192
"""Rows of a segment."""


@dataclass(slots=True)
class Rows:
    """Readings, one column each."""

    slot: Slots
    time: Times
    value: Floats
    """NaN for what is no number."""
    flags: Codes
    """The lowest two bits are the quality; bit 2 + i is set if the reading came in time for interval i."""

    def __len__(self) -> int:
        return len(self.slot)

    def only(self, keep: Mask | slice | np.ndarray[Any, Any]) -> Rows:
        return Rows(self.slot[keep], self.time[keep], self.value[keep], self.flags[keep])


def none() -> Rows:
    return Rows(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0), np.empty(0, np.uint8))


def joined(parts: list[Rows]) -> Rows:
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return none()
    return Rows(*[np.concatenate([getattr(part, name) for part in parts]) for name in Rows.__slots__])


@dataclass(slots=True)
class Segment:
    """Rows that never change, with the span of their times."""

    number: int
    rows: Rows
    oldest: int
    newest: int

    @classmethod
    def of(cls, number: int, rows: Rows) -> Segment:
        return cls(number, rows, int(rows.time.min()), int(rows.time.max()))


class Recent:
    """All rows from the oldest window that may still change."""

    def __init__(self, segments: list[Segment] | None = None, tail: Rows | None = None, numbers: int = 0) -> None:
        self.segments = segments if segments is not None else []
        self._tail: list[Rows] = [tail] if tail is not None and len(tail) else []
        self.numbers = numbers
        """The number of the next segment; none is used twice."""

    def __len__(self) -> int:
        return sum(len(segment.rows) for segment in self.segments) + sum(len(part) for part in self._tail)

    @property
    def tail(self) -> Rows:
        """The rows behind the last segment."""
        whole = joined(self._tail)
        self._tail = [whole] if len(whole) else []
        return whole

    def append(self, rows: Rows) -> None:
        self._tail.append(rows)
        if sum(len(part) for part in self._tail) >= SEALED:
            self._seal(self.tail)
            self._tail = []

    def _seal(self, rows: Rows) -> None:
        self.segments.append(Segment.of(self.numbers, rows))
        self.numbers += 1

    def between(self, begin: int, end: int) -> Rows:
        """The rows with begin <= time < end."""
        return joined(list(self._between(begin, end)))

    def _between(self, begin: int, end: int) -> Iterator[Rows]:
        for segment in self.segments:
            if segment.newest >= begin and segment.oldest < end:
                inside = segment.oldest >= begin and segment.newest < end
                yield segment.rows if inside else _cut(segment.rows, begin, end)
        yield _cut(self.tail, begin, end)

    def number_from(self, before: Times) -> int:
        """How many rows `take_before` would leave."""
        parts = [*(segment.rows for segment in self.segments), self.tail]
        return sum(int(np.count_nonzero(rows.time >= before[rows.slot])) for rows in parts)

    def take_before(self, before: Times) -> Rows:
        """Remove and return the rows before their point's time; `before` has one for each slot."""
        end = int(before.max(initial=0))
        taken: list[Rows] = []
        kept: list[Segment] = []
        left: list[Rows] = []
        for segment in self.segments:
            old = segment.rows.time < before[segment.rows.slot] if segment.oldest < end else None
            if old is None or (2 * len(old) >= SEALED and not old.any()):
                self._seal_left(left, kept)
                kept.append(segment)
                continue
            taken.append(segment.rows.only(old))
            left.append(segment.rows.only(~old))
            if sum(map(len, left)) >= SEALED:
                self._seal_left(left, kept)
        self._seal_left(left, kept)
        self.segments = kept
        tail = self.tail
        old = tail.time < before[tail.slot]
        taken.append(tail.only(old))
        self._tail = [tail.only(~old)]
        return joined(taken)

    def _seal_left(self, left: list[Rows], kept: list[Segment]) -> None:
        """What is left of segments side by side becomes one: a few rows of a point that is behind in each would make many."""
        rows = joined(left)
        if len(rows):
            kept.append(Segment.of(self.numbers, rows))
            self.numbers += 1
        left.clear()


def _cut(rows: Rows, begin: int, end: int) -> Rows:
    return rows.only((rows.time >= begin) & (rows.time < end))
