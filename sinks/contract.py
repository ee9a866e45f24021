"""What a destination must do: connect, write, close. `actors/sink.py` calls them from one coroutine, never two at once.

The caller owns reading the stream, retries, the breaker, deadlines and metrics. `__init__` takes the validated configuration and
does no I/O. A blocking library runs in a thread of its own behind these coroutines.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from schemas.records import Document, Records

Offsets = dict[tuple[str, int], int]
"""(topic, partition) to the offset of the next record to read."""


class BadConfig(Exception):
    """Can never work as configured; a person must change something. The text says what, and what would be right."""


class NotConnected(Exception):
    """The destination is away, slow, locked or full. Nothing of the batch counts as written; it is offered again, whole."""


@dataclass(slots=True)
class RefusedRecord:
    """One record the destination will never take, with the destination's own words."""

    topic: str
    partition: int
    offset: int
    wire: bytes
    reason: str
    asset: str | None = None
    parameter: str | None = None


@dataclass(slots=True)
class Batch:
    """Records in offset order within each partition."""

    readings: list[Records] = field(default_factory=list)
    documents: list[Document] = field(default_factory=list)


class Sink(ABC):
    """One connection to one destination."""

    @abstractmethod
    async def connect(self) -> Offsets | None:
        """Create what is missing there. A transactional destination returns the offsets stored with its data, others None."""

    @abstractmethod
    async def write(self, batch: Batch, offsets: Offsets) -> list[RefusedRecord]:
        """Write everything and, if transactional, `offsets` in the same transaction. Returns what the destination refused,
        when everything else is safely written. Raises NotConnected when nothing is."""

    @abstractmethod
    async def close(self) -> None:
        """May be called twice, and before connect."""
