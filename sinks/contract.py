"""What a destination must do: connect, write, close. `actors/sink.py` calls them from one coroutine, never two at once.

The caller owns reading the stream, retries, the breaker, deadlines and metrics. `__init__` takes the validated configuration and
an Origin, and does no I/O. A blocking library runs in a thread of its own behind these coroutines.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from schemas.faults import CannotWork, Fault
from schemas.records import Document, Records

Offsets = dict[tuple[str, int], int]
"""(topic, partition) to the offset of the next record to read."""


class BadConfig(CannotWork):
    """Can never work as configured; a person must change something. The text says what, and what would be right."""


class NotConnected(Fault):
    """The destination is away, slow, locked or full. Nothing of the batch counts as written; it is offered again, whole."""


class NeedsPerson(NotConnected):
    """The destination answers but will not work until somebody changes something there: a password, a right, a table.

    The text says what. Offered again slowly, so that the person need not touch the gateway.
    """


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose records a destination holds: given to each sink's `__init__` beside its configuration."""

    gateway: str
    stream: str
    """Id of the Kafka cluster. Offsets mean nothing in another, so a transactional destination keeps them apart by it."""


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
    arrived: int = 0
    """The record's Kafka timestamp in microseconds."""


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

    async def idle(self) -> None:  # noqa: B027 - only a destination with a standing connection can tell
        """Called about once a second while there is nothing to write. Raises NotConnected if the destination has gone, so that
        this is seen and mended before the next record comes."""

    async def unsent(self) -> list[RefusedRecord]:
        """Refused records kept in the same transaction as the data until `sent`, oldest first. The caller asks after each
        connect: those are the ones whose dead letter a crash may have prevented."""
        return []

    async def sent(self, refused: list[RefusedRecord]) -> None:  # noqa: B027 - only a destination that keeps them must forget
        """Their dead letters are safely in the stream: forget them."""
