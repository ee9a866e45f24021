"""What a processing stage must do. `actors/processor.py` runs any of them, exactly once.

State is a pure function of the log: `step` and `tick` see no wall clock but what they are given, and the same records in the same
order always lead to the same state. After a crash the runtime restores the last snapshot of a partition and replays from
there with the outputs thrown away.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Container
from dataclasses import dataclass, field

from schemas.records import Codes, Document, Records, Rows


@dataclass(slots=True)
class Judged:
    """Readings that go on: `rows` of `records` to `topic`, with `quality` (one for each of `rows`) and the reasons by row."""

    topic: str
    records: Records
    rows: Rows
    quality: Codes
    reasons: dict[int, str] = field(default_factory=dict)


@dataclass(slots=True)
class Refused:
    """One reading that goes to the dead letters of `topic`."""

    topic: str
    records: Records
    row: int
    rule: str
    reason: str


@dataclass(slots=True)
class Outputs:
    """What one step or tick brought forth, in the order to write it: readings, then documents, then refused ones."""

    readings: list[Judged] = field(default_factory=list)
    documents: list[Document] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)
    """Added to the component's counters once the transaction is committed."""


class Stage(ABC):
    """One stage over many partitions; state is kept for each partition apart."""

    name: str
    inputs: tuple[str, ...]
    memory_s: float = 3600.0
    """How far back, by arrival, records matter to the state: so much of the log is replayed where there is no snapshot."""

    @abstractmethod
    def step(self, partition: int, records: Records, arrived_at: int) -> Outputs:
        """Take records of one input topic and partition. `arrived_at` is the newest Kafka timestamp among them, microseconds."""

    @abstractmethod
    def tick(self, now: int) -> Outputs:
        """Emit what is due at `now` (microseconds). Emitting again is harmless; counting twice is not: changes no counts."""

    @abstractmethod
    def snapshot(self, partition: int) -> bytes:
        """The partition's state, versioned, no pickle."""

    @abstractmethod
    def restore(self, partition: int, snapshot: bytes) -> None:
        """Take the state back. Raises ValueError for bytes it cannot read; the runtime then replays from the beginning."""

    def snapshot_parts(self, partition: int, written: Container[str]) -> dict[str, bytes | None]:
        """The snapshot in parts with names, for stages with much state that seldom changes: None for a part that is among
        those `written` by an earlier snapshot and is still the same."""
        _ = written
        return {"all": self.snapshot(partition)}

    def restore_parts(self, partition: int, parts: dict[str, bytes]) -> None:
        """The way back, from all parts of one snapshot. Raises ValueError like `restore`, also for a part that is missing."""
        if list(parts) != ["all"]:
            raise ValueError(f"has the parts {sorted(parts)}; right would be one, named all")
        self.restore(partition, parts["all"])

    def forget(self, partition: int) -> None:
        """Drop the partition's state, before a restore or when it is no longer assigned."""
        self.restore(partition, b"")
