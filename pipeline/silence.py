"""Rules about time passing between readings: a gap in what should come regularly, a value that does not move. Order of the log counts.

Both go by the reading's time, but no further than its arrival: a device clock far ahead for one reading must neither hide the
gaps after it nor make the value after it look frozen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.checks import Violation
from pipeline.memory import Memory
from pipeline.points import Slots
from pipeline.words import figure, span
from schemas.records import NO_TIME, Codes, Floats, Quality, Rows, Times

LONGER = 2
"""SPEC section 6: a gap is longer than twice the expected interval."""


@dataclass(slots=True)
class Gap:
    """Nothing came from `begin` to `end`; the reading in `row` ended it. Seconds and microseconds."""

    row: int
    begin: int
    end: int
    expected_s: float

    @property
    def actual_s(self) -> float:
        return (self.end - self.begin) / 1e6

    @property
    def missing(self) -> int:
        """Samples that should have come."""
        return max(1, round(self.actual_s / self.expected_s) - 1)


def gaps(rows: Rows, slots: Slots, times: Times, expected: Floats, memory: Memory) -> list[Gap]:
    """The gaps that the accepted `rows` ended, one column each; `expected` in seconds, infinite where there is no rule."""
    found = []
    ruled = np.flatnonzero(np.isfinite(expected))
    columns = [column[ruled].tolist() for column in (rows, slots, times, expected)]
    newest = dict(zip(columns[1], memory.newest[slots[ruled]].tolist(), strict=True))
    for row, slot, time, every in zip(*columns, strict=True):
        before = newest[slot]
        if time > before:
            newest[slot] = time
            if before != NO_TIME and time - before > LONGER * every * 1e6:
                found.append(Gap(row, before, time, every))
    memory.newest[list(newest)] = list(newest.values())
    return found


def flat_lines(
    rows: Rows, slots: Slots, times: Times, values: Floats, limits: tuple[Floats, Floats, Codes], memory: Memory
) -> Violation | None:
    """The accepted `rows` whose value has not moved by more than the tolerance for too long.

    `limits` are the columns longer than (seconds, infinite where there is no rule), tolerance, quality.
    """
    longest, tolerance, quality = limits
    ruled = np.flatnonzero(np.isfinite(longest) & ~np.isnan(values) & (quality > Quality.GOOD))
    if not len(ruled):
        return None
    found: list[tuple[int, str]] = []
    at = slots[ruled]
    anchors = dict(
        zip(at.tolist(), zip(memory.flat_value[at].tolist(), memory.flat_since[at].tolist(), strict=True), strict=True)
    )
    columns = [column[ruled].tolist() for column in (slots, times, values, longest, tolerance)]
    for place, (slot, time, value, most, wide) in enumerate(zip(*columns, strict=True)):
        anchor, since = anchors[slot]
        if not abs(value - anchor) <= wide:  # also where there is none yet: NaN
            anchors[slot] = (value, time)
        elif time - since > most * 1e6:
            found.append((place, _flat_reason(value, (time - since) / 1e6, wide)))
    memory.flat_value[list(anchors)] = [value for value, _ in anchors.values()]
    memory.flat_since[list(anchors)] = [since for _, since in anchors.values()]
    hit = ruled[[place for place, _ in found]] if found else ruled[:0]
    return Violation("flat_line", rows[hit], quality[hit], [reason for _, reason in found])


def _flat_reason(value: float, seconds: float, tolerance: float) -> str:
    around = f" within {figure(tolerance)} of" if tolerance else ""
    return f"flat_line: it stays{around} {figure(value)} for {span(seconds)}"
