"""What a protocol must do, and nothing else: three verbs, three signals.

`actors/adapter.py` calls them from one coroutine, never two at once: `connect` until it succeeds, `read` again and again, `close`
at the end. Back-off, deadlines around connect and close, metrics, encoding and the stream are the caller's business; the
libraries' own reconnecting is off. `__init__` takes the validated configuration and does no I/O.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

from schemas.faults import CannotWork, Fault
from schemas.records import Classification, Quality, Value


class BadConfig(CannotWork):
    """Can never work as configured; a person must change something. The text says what, and what would be right."""


class NotConnected(Fault):
    """The peer is not there, or went away. The caller closes, marks the points BAD once, backs off, connects again."""


class BadAnswer(Exception):
    """The peer answered nonsense. Counted and dropped; the caller reads on."""


@dataclass(frozen=True, slots=True)
class Point:
    """One signal as the stream will know it."""

    asset: str
    parameter: str
    unit: str | None = None
    classification: Classification = Classification.TELEMETRY


@dataclass(slots=True)
class Reading:
    """One value of one point.

    `status` says what the protocol thinks of it; `reason` is needed unless it is GOOD. `raw` holds the protocol's words.
    """

    point: Point
    value: Value
    device_time: int | None = None
    """Microseconds since 1970, by the device's or the server's clock; None where the protocol gives none."""
    status: Quality = Quality.GOOD
    reason: str | None = None
    raw: bytes | None = None


@dataclass(slots=True)
class Reject:
    """Something received that could not become a reading: it goes, whole, to the dead letters and is counted."""

    rule: str
    reason: str
    payload: bytes
    asset: str | None = None
    parameter: str | None = None


def _nothing() -> None:
    return None


@dataclass(slots=True)
class Batch:
    """What one read brought. `gateway_time` is when it arrived here, in microseconds since 1970."""

    readings: list[Reading]
    gateway_time: int
    rejects: list[Reject] = field(default_factory=list)
    delivered: Callable[[], None] = _nothing
    """Called once, on the adapter's own loop, when the stream has every reading and reject of the batch."""


NAMED_MAX = 3


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that does not work though the connection stands, however many points it befalls: a dead unit, a refused address."""

    said: str
    """Who was asked for what and what came back, without the points' names."""
    points: tuple[str, ...] = ()
    """Names of all it befalls."""
    example: str = ""
    """What is said of the first of several."""
    what: str = "points have no value"
    """What `points` are, and what becomes of them."""
    next_step: str | None = None
    """What a person should do about it, where the protocol knows."""

    def __str__(self) -> str:
        """One sentence for people, with the first names."""
        if len(self.points) < 2:
            return ": ".join([*self.points, self.said]) + (f" (as {self.example})" if self.example else "")
        names, more = ", ".join(self.points[:NAMED_MAX]), len(self.points) - NAMED_MAX
        named = f"{names} and {more} more" if more > 0 else names
        return f"{self.said}{f' (as {self.example})' if self.example else ''}; {len(self.points)} {self.what}: {named}"


@dataclass(slots=True)
class Health:
    """What an adapter can say of itself beyond the readings; shown to people, so sentences."""

    causes: list[Cause] = field(default_factory=list)
    counters: dict[str, float] = field(default_factory=dict)

    @property
    def degraded(self) -> list[str]:
        """One sentence for each cause."""
        return [str(cause) for cause in self.causes]

    @property
    def next_step(self) -> str | None:
        """What to do first."""
        return self.causes[0].next_step if self.causes else None


class Adapter(ABC):
    """One connection to one source, with many points inside it."""

    version = "1.0.0"

    @abstractmethod
    async def connect(self) -> None:
        """Raises NotConnected or BadConfig. Also called again after close."""

    @abstractmethod
    async def read(self) -> Batch:
        """Wait for the next poll or notification. Raises NotConnected or BadAnswer. Safe to cancel."""

    @abstractmethod
    async def close(self) -> None:
        """May be called twice, and before connect; never raises for a peer that is gone."""

    def points(self) -> list[Point]:
        """The points known by now: each gets one BAD reading when the source is lost. Grows for sources that name their own."""
        return []

    def health(self) -> Health:
        return Health()
