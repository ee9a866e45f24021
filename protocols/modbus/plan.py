"""Which requests bring the points: merging neighbours into few reads, and taking a refused read apart. Pure.

A read covers whole points only. What a device taught us (an address it refuses, a place it will not read across) is given back
in as `cuts`, so a plan is always made from scratch and the same knowledge gives the same plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from protocols.contract import Point
from protocols.modbus.addresses import Table, modicon
from protocols.modbus.config import ModbusPoint, ModbusTcpConfig

TABLES = {
    Table.coil: "coils",
    Table.discrete: "discrete inputs",
    Table.holding: "holding registers",
    Table.input: "input registers",
}


@dataclass(frozen=True, slots=True, eq=False)
class Signal:
    """One configured point with its defaults filled in. Compared by identity: each exists once in an adapter."""

    number: int
    """Its place in the configuration."""
    point: Point
    unit: int
    every: float
    table: Table
    start: int
    count: int
    config: ModbusPoint

    @property
    def end(self) -> int:
        """First address behind it."""
        return self.start + self.count

    def __str__(self) -> str:
        return f"{self.point.asset}/{self.point.parameter} ({modicon(self.table, self.start)})"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may ask for."""

    registers: int
    bits: int
    gap: int
    """Registers; 16 times as many bits, which are as many bytes on the wire."""

    def most(self, table: Table) -> int:
        return self.bits if table.holds_bits else self.registers

    def gap_of(self, table: Table) -> int:
        return self.gap * 16 if table.holds_bits else self.gap


@dataclass(frozen=True, slots=True)
class Cut:
    """Addresses `start` to `end` (not included) of a table that no read may cover; if both are equal, the border before `start`."""

    table: Table
    start: int
    end: int


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """One request, and the signals its answer holds, by address. Compared by identity, which keeps looking it up cheap."""

    unit: int
    table: Table
    start: int
    count: int
    signals: tuple[Signal, ...]

    def __str__(self) -> str:
        return f"{TABLES[self.table]} {self.start} to {self.start + self.count - 1} of unit {self.unit}"


def signals(config: ModbusTcpConfig) -> list[Signal]:
    """Every configured point, in the configuration's order."""
    return [_signal(number, point, config) for number, point in enumerate(config.points)]


def _signal(number: int, given: ModbusPoint, config: ModbusTcpConfig) -> Signal:
    table, start = given.place
    return Signal(
        number=number,
        point=Point(given.asset or "", given.parameter, given.unit, given.classification),
        unit=config.unit if given.unit_id is None else given.unit_id,
        every=given.every or config.every,
        table=table,
        start=start,
        count=given.count,
        config=given,
    )


def plan(wanted: Iterable[Signal], limits: Limits, cuts: Sequence[Cut] = ()) -> list[Read]:
    """The reads for the signals of one unit and poll group, in the order of the tables and addresses."""
    reads: list[Read] = []
    open_read: list[Signal] = []
    end = 0
    for signal in sorted(wanted, key=lambda s: (s.table, s.start, s.end, s.number)):
        if open_read and not _joins(open_read[0], end, signal, limits, cuts):
            reads.append(read_of(open_read))
            open_read = []
        end = max(end, signal.end) if open_read else signal.end
        open_read.append(signal)
    return [*reads, read_of(open_read)] if open_read else reads


def _joins(first: Signal, end: int, signal: Signal, limits: Limits, cuts: Sequence[Cut]) -> bool:
    """Whether `signal` may come into the read that begins with `first` and ends before `end`."""
    table, together = first.table, max(end, signal.end)
    if (
        signal.table is not table
        or signal.start - end > limits.gap_of(table)
        or together - first.start > limits.most(table)
    ):
        return False
    return not any(_crosses(cut, first.start, signal.start, together) for cut in cuts if cut.table is table)


def _crosses(cut: Cut, first: int, last: int, end: int) -> bool:
    """Whether a read of signals that start at `first` to `last`, ending before `end`, goes over the cut."""
    if cut.start == cut.end:
        return first < cut.start <= last
    return first < cut.end and end > cut.start


def read_of(group: Sequence[Signal]) -> Read:
    """The one read for these signals of one unit and table, sorted by address."""
    start, end = group[0].start, max(s.end for s in group)
    return Read(group[0].unit, group[0].table, start, end - start, tuple(group))


def halves(read: Read) -> tuple[Read, Read]:
    """A read of at least two signals as two. Together they hold the same signals; what lay between them is no longer read."""
    middle = len(read.signals) // 2
    return read_of(read.signals[:middle]), read_of(read.signals[middle:])


def hole(signal: Signal) -> Cut:
    """No read may cover this signal's addresses."""
    return Cut(signal.table, signal.start, signal.end)


def border(right: Read) -> Cut:
    """No read may begin before this read and reach into it."""
    return Cut(right.table, right.start, right.start)
