"""Which slot of a stage's state belongs to a point: (asset, parameter) to a small number, looked up for whole batches.

A decoder's series index is good in one process only, so slots are given by name, in the order of first appearance in the log,
and the index is merely the fast way to them.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from schemas.records import Records, Series

Slots = npt.NDArray[np.int32]
Name = tuple[str, str]

UNKNOWN = -1


class Points:
    """The points of one log. At most `most` at a time: further ones get UNKNOWN until others were forgotten."""

    def __init__(self, most: int, names: Iterable[Name | None] = ()) -> None:
        self.most = most
        self.names: list[Name | None] = list(names)
        """By slot; None for one that is free."""
        self._slots = {name: slot for slot, name in enumerate(self.names) if name is not None}
        self._free = [slot for slot, name in enumerate(self.names) if name is None][::-1]
        self._lookup = Lookup()

    def __len__(self) -> int:
        return len(self._slots)

    def of(self, records: Records) -> Slots:
        """The slot of each row, UNKNOWN where there is no room."""
        slots = self._lookup.of(records)
        if slots.min(initial=0) < 0:
            for series in dict.fromkeys(records.series[slots < 0].tolist()):
                self._lookup.known[series] = self._slot(records.table[series])
            slots = self._lookup.of(records)
        return slots

    def slot_of(self, asset: str, parameter: str) -> int:
        """Raises KeyError for a point that has none."""
        return self._slots[asset, parameter]

    def forget(self, slots: Iterable[int]) -> None:
        """Free these slots for other points."""
        for slot in slots:
            name = self.names[slot]
            if name is not None:
                del self._slots[name]
                self.names[slot] = None
        # The lowest first, so that the same log always leads to the same slots.
        self._free = [slot for slot, name in enumerate(self.names) if name is None][::-1]
        self._lookup = Lookup()

    def _slot(self, series: Series) -> int:
        name = (series.asset, series.parameter)
        slot = self._slots.get(name)
        if slot is None:
            if len(self._slots) >= self.most:
                return UNKNOWN
            slot = self._free.pop() if self._free else len(self.names)
            self.names[slot : slot + 1] = [name]
            self._slots[name] = slot
        return slot


class Lookup:
    """A number for each series of a decoder's table, -1 where none was set. Begins anew with a new table."""

    def __init__(self) -> None:
        self.known: Slots = np.empty(0, np.int32)
        self._table: list[Series] | None = None

    def of(self, records: Records) -> Slots:
        if records.table is not self._table:
            self._table, self.known = records.table, np.empty(0, np.int32)
        if len(self.known) < len(records.table):
            room = max(len(records.table), 2 * len(self.known)) - len(self.known)
            self.known = np.concatenate([self.known, np.full(room, UNKNOWN, np.int32)])
        found: Slots = self.known[records.series]
        return found
