"""Times as people and programs read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iso(micros: int) -> str:
    """RFC 3339 with microseconds, UTC; a time outside the years 1 to 9999 as its number."""
    try:
        return (EPOCH + timedelta(microseconds=micros)).isoformat(timespec="microseconds").replace("+00:00", "Z")
    except OverflowError:
        return f"{micros} us since 1970"
