"""Figures and instants as people read them in a reason."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def figure(number: float) -> str:
    """150.2, 3, 1e+30: twelve digits at most, no needless zeros."""
    return f"{number:.12g}"


def span(seconds: float) -> str:
    """7.2 s, 3.5 min, 2 h, 41 d."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if abs(seconds) >= 2 * size:
            return f"{seconds / size:.3g} {unit}" if abs(seconds / size) < 1000 else f"{seconds / size:.0f} {unit}"
    return f"{seconds:.3g} s"


def instant(micros: int) -> str:
    """2026-01-29T10:00:00.123Z; beyond the calendar the bare number."""
    try:
        text = (_EPOCH + timedelta(microseconds=micros)).isoformat(timespec="milliseconds")
    except OverflowError:
        return f"{micros} us since 1970"
    return text.replace("+00:00", "Z")
