"""Rules that look at one reading alone: source, type, range, time, stale. What needs a memory stands in sequence.py and silence.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.rules import FITS, TYPES
from pipeline.words import figure, span
from schemas.records import NO_TIME, Codes, Kind, Quality, Records, Rows

Mask = npt.NDArray[np.bool_]
Columns = dict[str, npt.NDArray[Any]]

ALERT_SKEW_S = 10.0
"""SPEC section 4: a clock off by more than this is counted as an alert, not only as a warning."""

_NO_DEVICE_TIME = "time: no device time, the gateway's is used"


@dataclass(slots=True)
class Violation:
    """Rows of one batch that broke one rule, with the quality each gets and the reason in words."""

    rule: str
    rows: Rows
    quality: Codes
    reasons: Sequence[str]


def source(records: Records) -> Violation | None:
    """What the adapter itself gave up: lost sources, refused reads. No other rule looks at these."""
    bad = records.quality == Quality.BAD
    if not bad.any():
        return None
    rows = np.flatnonzero(bad)
    reasons = [records.reason.get(row, "source: the adapter gave no reason") for row in rows.tolist()]
    return Violation("source", rows, records.quality[rows], reasons)


def kind(records: Records, limits: Columns, at: Rows) -> list[Violation]:
    """The type rule, and what is never a value: none at all, NaN, infinity. `at` are indexes into `limits`, one for each row."""
    numeric = records.kind == Kind.DOUBLE
    wanted = limits["type"][at]
    wrong = ~FITS[wanted, records.kind]
    if numeric.any():
        wrong |= numeric & ~np.isfinite(records.number)
        whole = wanted == TYPES.index("integer")
        if whole.any():
            wrong |= numeric & whole & (records.number != np.rint(records.number))
    wrong &= records.quality != Quality.BAD
    if not wrong.any():
        return []
    rows = np.flatnonzero(wrong)
    quality = limits["type_quality"][at[rows]]
    # A reading without a value has nothing that could be passed on, whatever the rule says.
    quality[records.kind[rows] == Kind.NULL] = Quality.BAD
    reasons = [_type_reason(records, row, int(wanted[row])) for row in rows.tolist()]
    return _given("type", rows, quality, reasons)


def _type_reason(records: Records, row: int, wanted: int) -> str:
    value = records.value(row)
    if value is None:
        return "type: there is no value"
    if isinstance(value, float) and not np.isfinite(value):
        return f"type: {value} is not a finite number"
    shown = repr(value) if len(repr(value)) <= 60 else repr(value)[:57] + "..."
    return f"type: {shown} is a {Kind(records.kind[row]).name.lower()}, right would be {TYPES[wanted]}"


def value_range(records: Records, limits: Columns, at: Rows) -> list[Violation]:
    """Numbers below the lowest or above the highest plausible value. Booleans and strings have no range."""
    low, high = limits["low"][at], limits["high"][at]
    number = records.number
    wrong = ((number < low) | (number > high)) & (records.kind != Kind.BOOLEAN) & np.isfinite(number)
    wrong &= records.quality != Quality.BAD
    if not wrong.any():
        return []
    rows = np.flatnonzero(wrong)
    reasons = [
        f"range: {figure(v)} is below {figure(lo)}" if v < lo else f"range: {figure(v)} is above {figure(hi)}"
        for v, lo, hi in zip(number[rows].tolist(), low[rows].tolist(), high[rows].tolist(), strict=True)
    ]
    return _given("range", rows, limits["range_quality"][at[rows]], reasons)


def time(records: Records, limits: Columns, at: Rows) -> tuple[list[Violation], int]:
    """Missing device time, and a device clock that is off; with how many were off by more than ALERT_SKEW_S."""
    live = records.quality != Quality.BAD
    missing = records.device_time == NO_TIME
    found = []
    if missing.any():
        rows = np.flatnonzero(missing & live)
        found += _given("time", rows, limits["missing_quality"][at[rows]], [_NO_DEVICE_TIME] * len(rows))
        live &= ~missing
    # As floats: a device may send any 64 bits for a time, and the difference must not wrap around.
    skew = (records.gateway_time.astype(np.float64) - records.device_time.astype(np.float64)) / 1e6
    off = np.abs(skew)
    wrong = live & (off > limits["skew_s"][at])
    if not wrong.any():
        return found, 0
    rows = np.flatnonzero(wrong)
    reasons = [
        f"time: device time is {span(s)} behind the gateway's: an old value, or a wrong clock"
        if s > 0
        else f"time: device clock is {span(-s)} ahead of the gateway's"
        for s in skew[rows].tolist()
    ]
    found += _given("time", rows, limits["skew_quality"][at[rows]], reasons)
    return found, int(np.count_nonzero(off[rows] > ALERT_SKEW_S))


def stale(records: Records, limits: Columns, at: Rows) -> list[Violation]:
    """Readings that were old by their device time when the gateway got them."""
    oldest = limits["stale_s"]
    if not np.isfinite(oldest).any():
        return []
    age = (records.gateway_time.astype(np.float64) - records.device_time.astype(np.float64)) / 1e6
    wrong = (records.device_time != NO_TIME) & (age > oldest[at]) & (records.quality != Quality.BAD)
    rows = np.flatnonzero(wrong)
    reasons = [
        f"stale: {span(a)} old on arrival, more than {span(most)}"
        for a, most in zip(age[rows].tolist(), oldest[at[rows]].tolist(), strict=True)
    ]
    return _given("stale", rows, limits["stale_quality"][at[rows]], reasons)


def _given(rule: str, rows: Rows, quality: Codes, reasons: list[str]) -> list[Violation]:
    """The violation without the rows for which the rule is switched off (quality GOOD)."""
    on = quality > Quality.GOOD
    if on.all():
        return [Violation(rule, rows, quality, reasons)] if len(rows) else []
    kept = np.flatnonzero(on)
    return _given(rule, rows[kept], quality[kept], [reasons[i] for i in kept.tolist()])
