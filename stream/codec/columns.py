"""Writing many readings at once: one NumPy pass when all have the same shape, the template of each otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from operator import add

import numpy as np

from schemas.records import Value
from stream.codec.template import Template
from stream.codec.varint import TIME_MAX, TIME_MIN, spread

BULK_MIN = 16
"""Readings from which the NumPy way is faster."""
_RAW_MAX = 63
"""Bytes of raw words whose length takes one byte."""


def encode_columns(
    templates: Sequence[Template],
    values: Sequence[Value],
    gateway_time: int,
    device_times: Sequence[int | None] | None = None,
    qualities: Sequence[int] | None = None,
    reasons: Sequence[str | None] | None = None,
    raws: Sequence[bytes | None] | None = None,
) -> list[bytes]:
    """One framed record for each row; a column left out is None (quality: GOOD) in every row.

    Raises ValueError, naming the point, for the first value that cannot be written; nothing is written then.
    """
    n = len(templates)
    if n >= BULK_MIN and set(map(type, values)) == {float} and (reasons is None or set(reasons) == {None}):
        tails = _bulk(n, values, gateway_time, device_times, qualities, raws)
        if tails is not None:
            return list(map(add, [t.prefix for t in templates], tails))
    columns = zip(
        templates,
        values,
        device_times if device_times is not None else repeat(None, n),
        qualities if qualities is not None else repeat(0, n),
        reasons if reasons is not None else repeat(None, n),
        raws if raws is not None else repeat(None, n),
        strict=True,
    )
    return [t.encode(value, gateway_time, device, quality, why, raw) for t, value, device, quality, why, raw in columns]


def _bulk(
    n: int,
    values: Sequence[Value],
    gateway_time: int,
    device_times: Sequence[int | None] | None,
    qualities: Sequence[int] | None,
    raws: Sequence[bytes | None] | None,
) -> list[bytes] | None:
    """The moving parts of n doubles without reasons, or None if their shapes differ."""
    if not TIME_MIN <= gateway_time < TIME_MAX:
        return None
    kinds = {type(None)} if device_times is None else set(map(type, device_times))
    if kinds not in ({int}, {type(None)}):
        return None
    times = np.array(device_times, np.int64) if kinds == {int} else np.empty(0, np.int64)
    if len(times) and not TIME_MIN <= times.min() <= times.max() < TIME_MAX:
        return None
    size = _raw_size(raws)
    if size is None:
        return None
    rows = np.zeros(n, _shape(len(times) > 0, size))
    if len(times):
        rows["device_tag"] = 2
        rows["device_time"] = spread(times)
    rows["gateway_time"] = spread(np.array([gateway_time], np.int64))
    rows["value_tag"] = 2
    rows["value"] = values
    if qualities is not None:
        rows["quality"] = np.fromiter(qualities, np.uint8, n) * 2
    if size >= 0:
        rows["raw_tag"] = 2
        rows["raw_size"] = 2 * size
    if size > 0:
        assert raws is not None
        rows["raw"] = np.frombuffer(b"".join(raws), f"V{size}")  # type: ignore[arg-type]  # no None: _raw_size saw them all
    tails: list[bytes] = rows.view(f"V{rows.dtype.itemsize}").tolist()
    return tails


def _raw_size(raws: Sequence[bytes | None] | None) -> int | None:
    """The size all raw words share, -1 where no reading has any, None where they differ."""
    if raws is None:
        return -1
    kinds = set(map(type, raws))
    if kinds == {type(None)}:
        return -1
    if kinds != {bytes}:
        return None
    sizes = set(map(len, raws))  # type: ignore[arg-type]  # all are bytes
    return sizes.pop() if len(sizes) == 1 and max(sizes) <= _RAW_MAX else None


def _shape(with_device_time: bool, raw_size: int) -> np.dtype[np.void]:
    """The moving part as a packed structure; NumPy leaves no holes between fields."""
    fields: list[tuple[str, str]] = [("device_tag", "u1")]
    if with_device_time:
        fields.append(("device_time", "<u8"))
    fields += [("gateway_time", "<u8"), ("value_tag", "u1"), ("value", "<f8"), ("quality", "u1"), ("reason", "u1")]
    fields.append(("raw_tag", "u1"))
    if raw_size >= 0:
        fields.append(("raw_size", "u1"))
    if raw_size > 0:
        fields.append(("raw", f"V{raw_size}"))
    return np.dtype(fields)
