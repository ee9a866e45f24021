"""What the validator remembers of each point: the last accepted value, the last device times, when it last changed. State, no rules.

Columns by slot, grown by doubling. A new point's slot holds nothing: NaN and NO_TIME.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.records import NO_TIME, Floats, Times

TIMES_KEPT = 32
"""Device times remembered for each point, to know a redelivered reading again."""

_BLANK: dict[str, tuple[Any, float | int]] = {
    "value": (np.float64, np.nan),
    "time": (np.int64, NO_TIME),
    "newest": (np.int64, NO_TIME),
    "flat_value": (np.float64, np.nan),
    "flat_since": (np.int64, NO_TIME),
    "pushed": (np.int64, 0),
    "latest": (np.int64, NO_TIME),
    "seen": (np.int64, 0),
}


class Memory:
    """One row for each slot of one log."""

    value: Floats
    """The last accepted number, NaN before the first."""
    time: Times
    """Its time."""
    newest: Times
    """The newest time accepted, no later than its arrival: where a gap would begin."""
    flat_value: Floats
    """The number from which the value has not moved away,"""
    flat_since: Times
    """since then."""
    times: npt.NDArray[np.int64]
    """[slot, TIMES_KEPT]: the device times accepted last, a ring."""
    pushed: npt.NDArray[np.int64]
    """How many were put into the ring so far; the next goes to `pushed % TIMES_KEPT`."""
    latest: Times
    """The largest of the ring."""
    seen: npt.NDArray[np.int64]
    """In which generation of the log the point was last seen; see validator.py."""

    def __init__(self) -> None:
        self.times = np.empty((0, TIMES_KEPT), np.int64)
        for name, (kind, _blank) in _BLANK.items():
            setattr(self, name, np.empty(0, kind))

    def __len__(self) -> int:
        return len(self.value)

    def grow(self, size: int) -> None:
        """Have at least `size` rows."""
        if size <= len(self):
            return
        more = max(size, 2 * len(self), 64) - len(self)
        for name, (kind, blank) in _BLANK.items():
            setattr(self, name, np.concatenate([getattr(self, name), np.full(more, blank, kind)]))
        self.times = np.concatenate([self.times, np.full((more, TIMES_KEPT), NO_TIME, np.int64)])

    def clear(self, slots: npt.NDArray[Any]) -> None:
        """Make these rows as new."""
        for name, (_kind, blank) in _BLANK.items():
            getattr(self, name)[slots] = blank
        self.times[slots] = NO_TIME

    def columns(self, size: int) -> dict[str, npt.NDArray[Any]]:
        """The first `size` rows for a snapshot. Rings are turned so that the newest time stands last, and only its
        differences are kept: they are small and much alike, so that they shrink well."""
        kept = {name: getattr(self, name)[:size] for name in _BLANK}
        turn = (self.pushed[:size, None] + np.arange(TIMES_KEPT)) % TIMES_KEPT
        rings = np.take_along_axis(self.times[:size], turn, axis=1)
        with np.errstate(over="ignore"):  # wraps around, and back again when restored
            return {**kept, "times": np.diff(rings, axis=1, prepend=0)}

    @classmethod
    def restored(cls, columns: dict[str, npt.NDArray[Any]]) -> Memory:
        """Raises KeyError or ValueError for columns that do not belong together."""
        memory = cls()
        size = len(columns["value"])
        for name, (kind, _blank) in _BLANK.items():
            column = columns[name].astype(kind, casting="safe")
            if column.shape != (size,):
                raise ValueError(f"column {name} has the shape {column.shape}; right would be {(size,)}")
            setattr(memory, name, column)
        with np.errstate(over="ignore"):
            rings = np.cumsum(columns["times"].astype(np.int64, casting="safe"), axis=1)
        turn = (np.arange(TIMES_KEPT) - memory.pushed[:, None]) % TIMES_KEPT
        memory.times = np.take_along_axis(rings, turn, axis=1)
        return memory
