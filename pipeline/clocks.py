"""The time of each point: how far it is by its own readings, and before which time it has nothing left to make windows from.

Points of one partition are not equally far: after the stream was away their adapters hand over what they held one after the other, and
a device may have buffered. So each point has a clock of its own. What is before it by more than the lateness is folded away, and windows
that were are closed for good: nothing partial is ever written over something whole. A point of which nothing came while its
partition went on by WAIT is waited for no longer, and goes by the partition's clock until it comes back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pipeline.hours import Key
from pipeline.intervals import HOUR, MINUTE
from pipeline.points import Slots
from pipeline.recent import Rows
from schemas.records import Times

WAIT = 24 * HOUR
"""As long as a day's backlog may be, of the stream or of a device. Costs no more than the last minutes and the last two hours of each
point that is gone for good, kept so long."""

COLUMNS = ("clock", "heard", "folded", "dropped")


@dataclass(slots=True)
class Fold:
    """By slot, what is folded away: readings before `before`, and hours that end at `limits` or earlier."""

    before: Times
    limits: Times

    def takes(self, key: Key, length: int) -> bool:
        return bool(key[1] + length <= (self.before if length <= MINUTE else self.limits)[key[0]])


class Clocks:
    """By slot, all in microseconds. What is not known of a point begins with `base`."""

    __slots__ = (*COLUMNS, "base")

    def __init__(self) -> None:
        self.clock: Times = np.empty(0, np.int64)
        """The newest time of the point's readings that is not beyond its arrival; 0 before the first."""
        self.heard: Times = np.empty(0, np.int64)
        """Where the partition's clock stood, in whole seconds, when the point's last reading came."""
        self.folded: Times = np.empty(0, np.int64)
        """A whole minute: windows of a minute or less that end here or before take nothing more."""
        self.dropped: Times = np.empty(0, np.int64)
        """A whole hour: the same for hours."""
        self.base = (0, 0)
        """`folded` and `dropped` of a point that is new, or was forgotten."""

    def make_room(self, slots: int) -> None:
        more = slots - len(self.clock)
        if more > 0:
            for name, value in zip(COLUMNS, (0, 0, *self.base), strict=True):
                setattr(self, name, np.concatenate([getattr(self, name), np.full(more, value, np.int64)]))

    def begin(self, base: tuple[int, int]) -> None:
        """Nothing is known of any point."""
        slots, self.base = len(self.clock), base
        for name in COLUMNS:
            setattr(self, name, np.empty(0, np.int64))
        self.make_room(slots)

    def forget(self, slots: list[int]) -> None:
        """These may become other points', and their own points come back as new ones."""
        if slots:
            self.base = (
                max(self.base[0], int(self.folded[slots].max())),
                max(self.base[1], int(self.dropped[slots].max())),
            )
            for name, value in zip(COLUMNS, (0, 0, *self.base), strict=True):
                getattr(self, name)[slots] = value

    def running(self, slots: Slots, seen: Times) -> Times:
        """Each point's clock as it stands with each of these readings, in the order of the log."""
        order = np.argsort(slots, kind="stable")
        # Ranks instead of times: behind the slot's number they fit into 64 bits.
        times, ranks = np.unique(np.maximum(seen, self.clock[slots]), return_inverse=True)
        newest = np.maximum.accumulate(slots[order].astype(np.int64) * len(times) + ranks[order])
        found = np.empty(len(slots), np.int64)
        found[order] = times[newest % len(times)]
        return found

    def hear(self, slots: Slots, seen: Times, second: Times) -> None:
        """Readings came, of the times `seen`, while the partition's clock stood at `second`."""
        np.maximum.at(self.clock, slots, seen)
        self.heard[slots] = second

    def fold_at(self, until: int, lateness: int) -> Fold:
        """What does not change any more when the partition's clock is at `until`."""
        limits = np.where(self.heard + WAIT <= until, until, self.clock) - lateness
        return Fold(limits // MINUTE * MINUTE, limits)

    def fold(self, rows: Rows) -> None:
        """These rows are not there any more."""
        np.maximum.at(self.folded, rows.slot, (rows.time // MINUTE + 1) * MINUTE)

    def drop(self, hours: Iterable[Key]) -> None:
        """These hours, each of a slot and from a start, are not there any more."""
        for slot, start in hours:
            self.dropped[slot] = max(int(self.dropped[slot]), start + HOUR)
