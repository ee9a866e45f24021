"""Writing readings fast: what never changes for a point is encoded once, only the moving part is made for each reading.

Byte for byte what fastavro would write (tests/stream/test_codec_template.py). Many readings of one shape at once: columns.py.
"""

from __future__ import annotations

import struct
from hashlib import sha256

import numpy as np

from schemas.records import Quality, Series, Value
from stream.codec.avro import FRAME
from stream.codec.varint import TIME_MAX, TIME_MIN

LONG_MIN, LONG_MAX = -(2**63), 2**63 - 1

_DOUBLE = struct.Struct("<Bd").pack
_NULL, _FALSE, _TRUE = b"\x00", b"\x06\x00", b"\x06\x01"
_PLAIN = tuple(bytes((2 * q, 0, 0)) for q in Quality)
"""Quality, no reason, no raw: the usual end of a record."""

_RAW_BEGIN = tuple(tuple(bytes((2 * q, 0, 2, 2 * size)) for size in range(64)) for q in Quality)
"""By quality and size: what stands before raw words that are short, where there is no reason."""

_TIMES_KEPT = 4096


def long(value: int) -> bytes:
    """Avro's zigzag varint. Raises ValueError beyond 64 bits."""
    if not LONG_MIN <= value <= LONG_MAX:
        raise ValueError(f"{value} does not fit 64 bits; right would be {LONG_MIN} to {LONG_MAX}")
    left = (value << 1) ^ (value >> 63)
    out = bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    out.append(left)
    return bytes(out)


def timestamp(micros: int) -> bytes:
    """`long`, in a third of the time for times that take eight bytes: the seven-bit groups are spread by shifts."""
    if not TIME_MIN <= micros < TIME_MAX:
        return long(micros)
    word = micros << 1
    word = (word & 0x0FFFFFFF) | ((word & 0x00FFFFFFF0000000) << 4)
    word = (word & 0x00003FFF00003FFF) | ((word & 0x0FFFC0000FFFC000) << 2)
    word = (word & 0x007F007F007F007F) | ((word & 0x3F803F803F803F80) << 1)
    return (word | 0x0080808080808080).to_bytes(8, "little")


def text(value: str) -> bytes:
    """Avro's string. Raises ValueError for what is no text in UTF-8, such as a lone surrogate."""
    try:
        raw = value.encode()
    except UnicodeEncodeError as wrong:
        found = f"U+{ord(value[wrong.start]):04X}"
        raise ValueError(f"no valid text: lone surrogate {found} at character {wrong.start}") from None
    return long(len(raw)) + raw


def maybe_text(value: str | None) -> bytes:
    """Avro's ["null", "string"]."""
    return _NULL if value is None else b"\x02" + text(value)


def static_fields(series: Series) -> bytes:
    """The encoded fields from asset_id to metadata."""
    parts = (
        text(series.asset),
        text(series.parameter),
        maybe_text(series.unit),
        long(series.classification),
        text(series.adapter_id),
        text(series.adapter_version),
        maybe_text(series.pipeline_id),
        text(series.gateway_id),
    )
    return b"".join(parts)


def prefix(series: Series, schema_id: int) -> bytes:
    """Framing, series key and static fields: how every record of the series begins."""
    fields = static_fields(series)
    return FRAME.pack(0, schema_id) + sha256(fields).digest()[:8] + fields


class Times:
    """Encoded times by value: the readings of one poll share theirs. Bounded: emptied when full."""

    def __init__(self) -> None:
        self.plain: dict[int, bytes] = {}
        self.present: dict[int | None, bytes] = {None: _NULL}

    def time(self, micros: int) -> bytes:
        """gateway_time."""
        found = self.plain.get(micros)
        if found is None:
            if len(self.plain) >= _TIMES_KEPT:
                self.plain.clear()
            found = self.plain[micros] = timestamp(micros)
        return found

    def maybe_time(self, micros: int | None) -> bytes:
        """device_time, which may be missing."""
        found = self.present.get(micros)
        if found is None:
            assert micros is not None
            if len(self.present) >= _TIMES_KEPT:
                self.present = {None: _NULL}
            found = self.present[micros] = b"\x02" + timestamp(micros)
        return found


_times = Times()
_time, _maybe_time = _times.time, _times.maybe_time


class Template:
    """One series, ready to write. Raises ValueError if a name in it is no valid text."""

    __slots__ = ("key", "prefix", "series")

    def __init__(self, series: Series, schema_id: int) -> None:
        self.series = series
        self.prefix = prefix(series, schema_id)
        self.key = series.asset.encode()
        """The record's Kafka key."""

    def encode(
        self,
        value: Value,
        gateway_time: int,
        device_time: int | None = None,
        quality: int = 0,
        reason: str | None = None,
        raw: bytes | None = None,
    ) -> bytes:
        """One framed record. Times are microseconds since 1970. Raises ValueError, naming the point, for what cannot be written."""
        try:
            body = _DOUBLE(2, value) if type(value) is float else _value(value)
            start = self.prefix, _maybe_time(device_time), _time(gateway_time), body
            if reason is None:
                if raw is None:
                    return b"".join((*start, _PLAIN[quality]))
                if len(raw) < 64:
                    return b"".join((*start, _RAW_BEGIN[quality][len(raw)], raw))
            return b"".join((*start, tail(quality, reason, raw)))
        except ValueError as wrong:
            raise ValueError(f"{self.series.asset} {self.series.parameter}: {wrong}") from None


def tail(quality: int, reason: str | None, raw: bytes | None) -> bytes:
    """The encoded fields from quality to raw."""
    why = maybe_text(reason)
    return _PLAIN[quality][:1] + why + (_NULL if raw is None else b"\x02" + long(len(raw)) + raw)


def _value(value: Value) -> bytes:
    """Avro's union [null, double, long, boolean, string]; NumPy's relatives of Python's types are taken as those."""
    if type(value) is int:
        return b"\x04" + long(value)
    if value is None:
        return _NULL
    if isinstance(value, bool | np.bool_):
        return _TRUE if value else _FALSE
    if isinstance(value, str):
        return b"\x08" + text(value)
    if isinstance(value, int | np.integer):
        return b"\x04" + long(int(value))
    if isinstance(value, float | np.floating):
        return _DOUBLE(2, float(value))
    raise ValueError(f"value is a {type(value).__name__}; right would be a number, a boolean, text or none")
