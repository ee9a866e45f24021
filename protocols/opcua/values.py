"""From one decoded DataValue to one reading: type, time, quality. Pure; what was reported before is items.py's business."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from protocols.contract import Point, Reading
from protocols.opcua import binary, quality
from protocols.opcua.binary import BOOLEAN, DATE_TIME, DOUBLE, FLOAT, KINDS, NULL, STATUS, STRUCTURE, DataValue
from schemas.records import Quality, Value

_EPOCH = 116_444_736_000_000_000
"""1970 in OPC UA's 100 ns since 1601."""
_LAST = 2_650_467_743_990_000_000
"""9999-12-31T23:59:59; this and later mean: no time."""
_LONG = 2**63
_LONGEST_TEXT = 65_536
_1970 = datetime(1970, 1, 1, tzinfo=UTC)
_NESTED = (23, 24, 25)


class Unusable(Exception):
    """The value is none of number, boolean and string. The text says what it is (`is an array ...`), and what would be right."""


def micros(ticks: int | None) -> int | None:
    """OPC UA's time as microseconds since 1970; None for none, and for its smallest and largest, which stand for none."""
    if ticks is None or not 0 < ticks < _LAST:
        return None
    return (ticks - _EPOCH) // 10


def device_time(value: DataValue) -> int | None:
    """The source's time; without one the server's (both stay in the raw bytes)."""
    source = micros(value.source_time)
    return micros(value.server_time) if source is None else source


def reading(point: Point, value: DataValue, element: str | None = None) -> Reading | None:
    """The reading, or None for a null without a bad status: there is no value, and nothing is wrong.

    A value of a type that fits no reading becomes BAD with the reason, its bytes in `raw`.
    """
    status, reason = quality.judged(value.status) if value.status else (Quality.GOOD, None)
    if value.kind == NULL and status is not Quality.BAD:
        return None
    value = _cut(value, element)
    try:
        plain = plain_value(value, element)
    except Unusable as problem:
        # A bad status is the more important news: with it, servers send whatever they have.
        if status is not Quality.BAD:
            status, reason = Quality.BAD, f"the value {problem}"
        plain = None
    if plain is None and status is not Quality.BAD:
        return None
    if isinstance(plain, float) and isinstance(value.value, int) and int(plain) != value.value:
        said = f"{value.value} is too large to be kept to its last digit"
        status, reason = max(status, Quality.UNCERTAIN), f"{said}; {reason}" if reason else said
    return Reading(point, plain, device_time(value), status, reason, value.raw)


def plain_value(value: DataValue, element: str | None = None) -> Value:
    """Numbers, booleans and strings as they are; times as ISO 8601, status codes by name, bytes in hex. Raises Unusable.

    Enumerations travel as their number. Unsigned 64 bit numbers from 2**63 on become doubles, as exact as doubles are.
    """
    kind, plain = value.kind, value.value
    if value.length is not None and (element is None or value.length != 1):
        raise Unusable(_array(value, element))
    if element is not None and value.length is None and kind not in {NULL, 12, 15}:
        raise Unusable(f"is a single {KINDS[kind]}, no array; right would be the point without `element`")
    if BOOLEAN <= kind < FLOAT:
        return plain if plain < _LONG else float(plain)
    if kind in {FLOAT, DOUBLE}:
        if not math.isfinite(plain):
            raise Unusable(f"is {plain}: the server has no number")
        return float(plain)
    if kind == STRUCTURE or kind in _NESTED:
        raise Unusable(f"is a {KINDS[kind]}; right would be the node of one of its parts")
    if kind == DATE_TIME:
        return _iso(plain)
    if kind == STATUS:
        return quality.name(plain)
    if plain is not None and len(plain) > _LONGEST_TEXT:
        raise Unusable(f"is a text of {len(plain)} characters; most is {_LONGEST_TEXT}")
    return None if plain is None else str(plain)


def _cut(value: DataValue, element: str | None) -> DataValue:
    """Servers that do not know index ranges (asyncua's is one) send the whole array for one element of it."""
    if element is None or not element.isdecimal() or value.length is None or value.length < 2:
        return value
    return binary.element(value, int(element)) or value


def _array(value: DataValue, element: str | None) -> str:
    what = f"is an array of {value.length} {KINDS[value.kind]}"
    return (
        f"{what}; right would be `element` with one of them" if element is None else f"{what}, wanted element {element}"
    )


def _iso(ticks: int) -> str | None:
    at = micros(ticks)
    return None if at is None else instant(at)


def instant(at: int) -> str:
    """Microseconds since 1970 as ISO 8601."""
    return (_1970 + timedelta(microseconds=at)).isoformat().replace("+00:00", "Z")
