"""The lengths of windows, all aligned to 1970, each a whole multiple of the one before."""

from __future__ import annotations

from dataclasses import dataclass

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
"""In microseconds, like all times here."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Windows of one length."""

    name: str
    length: int
    again: int
    """Windows that late readings changed are written again at most each so often, all changes at once."""

    @property
    def topic(self) -> str:
        return f"telemetry.{self.name}"


INTERVALS = (
    Interval("1s", SECOND, SECOND),
    Interval("10s", 10 * SECOND, 5 * SECOND),
    Interval("1min", MINUTE, 10 * SECOND),
    Interval("1hour", HOUR, 30 * SECOND),
)
