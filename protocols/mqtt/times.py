"""A payload's own time to microseconds since 1970. Pure: no clock is read here.

Nonsense that can be read (1970, 2106) is passed on: the validator judges it against the gateway's clock. Only what cannot be read is an error.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any, Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

Format = Literal["iso8601", "s", "ms", "us", "ns"]
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_TO_MICROSECONDS: Final = {"s": Fraction(10**6), "ms": Fraction(1000), "us": Fraction(1), "ns": Fraction(1, 1000)}
_NUMBER: Final = re.compile(r"[+-]?\d{1,30}(?:\.\d{1,30})?")
_LEAP: Final = re.compile(r"([T ]\d\d:?\d\d:?)60")
_FIRST: Final = (datetime(1, 1, 1, tzinfo=UTC) - _EPOCH) // _MICROSECOND
_LAST: Final = (datetime(9999, 12, 31, 23, 59, 59, 999999, UTC) - _EPOCH) // _MICROSECOND
"""Everything after us can hold these and show them."""


class Unreadable(Exception):
    """The text says what stood there and what would be right."""


class Instant(NamedTuple):
    microseconds: int
    ambiguous: bool = False
    """A local time of the hour that happens twice when summer time ends; the first is taken."""


def read(value: Any, form: Format, zone: ZoneInfo | None = None) -> Instant:
    """Raises Unreadable."""
    instant = _iso(value, zone) if form == "iso8601" else Instant(_since_1970(value, form))
    if not _FIRST <= instant.microseconds <= _LAST:
        raise Unreadable(f"{value!r:.80} is beyond the years 1 to 9999")
    return instant


def _since_1970(value: Any, form: Format) -> int:
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = Fraction(value)
    if isinstance(value, bool) or not isinstance(value, int | float | Fraction) or not math.isfinite(value):
        raise Unreadable(f"{value!r:.80} is no number; right would be {form} since 1970")
    return round(value * float(_TO_MICROSECONDS[form]) if isinstance(value, float) else value * _TO_MICROSECONDS[form])


def _iso(value: Any, zone: ZoneInfo | None) -> Instant:
    try:
        moment, leap = _moment(value)
        if moment.tzinfo:
            return Instant((moment - _EPOCH) // _MICROSECOND + leap)
        if zone is None:
            raise Unreadable(
                f"{value!r} has no offset; right would be such as 2026-01-29T10:00:00Z, or `zone` in the configuration"
            )
        local = moment.replace(tzinfo=zone)
        twice = local.utcoffset() != local.replace(fold=1).utcoffset() and _exists(local)
        return Instant((local.astimezone(UTC) - _EPOCH) // _MICROSECOND + leap, twice)
    except OverflowError:
        raise Unreadable(f"{value!r:.80} is beyond the years 1 to 9999") from None


def _moment(value: Any) -> tuple[datetime, int]:
    """The moment, and a second more in microseconds for the 60th second of a minute (a leap second)."""
    text = value if isinstance(value, str) and len(value) <= 64 else ""
    without_leap = _LEAP.sub(r"\g<1>59", text, count=1)
    try:
        return datetime.fromisoformat(without_leap), 0 if without_leap == text else 1_000_000
    except ValueError:
        raise Unreadable(f"{value!r:.80} is no time; right would be such as 2026-01-29T10:00:00.123Z") from None


def _exists(local: datetime) -> bool:
    """Not one of the hour that is skipped when summer time begins."""
    return local.astimezone(UTC).astimezone(local.tzinfo).replace(tzinfo=None) == local.replace(tzinfo=None)
