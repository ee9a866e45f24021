"""The moving part of many readings (device_time to raw) as columns: one walk of a cursor over all rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from schemas.records import NO_TIME, Codes, Floats, Kind, Quality, Times
from stream.codec.cursor import EVERY, Cursor, rows_of
from stream.codec.varint import Longs

EXACT = 2**53
"""Whole numbers up to here are exact as doubles."""

_KIND_OF_TAG = np.full(256, 255, np.uint8)
for _kind in Kind:
    _KIND_OF_TAG[2 * _kind] = _kind
_QUALITY_OF_TAG = np.full(256, 255, np.uint8)
for _quality in Quality:
    _QUALITY_OF_TAG[2 * _quality] = _quality

_REASONS_KEPT = 4096
_reasons: dict[bytes, str] = {}


@dataclass(slots=True)
class Moving:
    """What changes from reading to reading, as in `schemas.records.Records`."""

    device_time: Times
    gateway_time: Times
    kind: Codes
    number: Floats
    quality: Codes
    quality_at: npt.NDArray[np.int32]
    text: dict[int, str] = field(default_factory=dict)
    whole: dict[int, int] = field(default_factory=dict)
    reason: dict[int, str] = field(default_factory=dict)


def moving_part(cursor: Cursor) -> Moving:
    """Walk from the end of the static part to the end of each record. Rows that do not fit are marked `cursor.bad`."""
    n = len(cursor.at)
    device_time = np.full(n, NO_TIME, np.int64)
    there = cursor.present()
    device_time[there] = cursor.longs(there)
    gateway_time = cursor.longs(EVERY)
    kind = _KIND_OF_TAG[cursor.tags()]
    moving = Moving(device_time, gateway_time, kind, np.empty(0), kind, np.empty(0, np.int32))
    texts = _values(cursor, moving, n)
    moving.quality_at = cursor.offsets().astype(np.int32)
    moving.quality = _QUALITY_OF_TAG[cursor.tags()]
    explained = cursor.present()
    reasons = cursor.spans(explained)
    cursor.spans(cursor.present())
    cursor.bad |= (kind > Kind.STRING) | (moving.quality > Quality.BAD)
    cursor.finish()
    _fill_texts(cursor, moving, texts, (rows_of(explained, n), *reasons))
    return moving


_Spans = tuple[npt.NDArray[np.intp], Longs, Longs]
"""Rows, and where the text of each begins and ends in the joined bytes."""


def _values(cursor: Cursor, moving: Moving, n: int) -> _Spans:
    """Fill the numbers; return where the texts stand."""
    kind = moving.kind
    no_texts = (np.empty(0, np.intp), np.empty(0, np.int64), np.empty(0, np.int64))
    if (kind == Kind.DOUBLE).all():
        moving.number = cursor.doubles(EVERY)
        return no_texts
    moving.number = np.full(n, np.nan)
    for one in np.flatnonzero(np.bincount(kind)):  # np.unique would bring numpy.ma into each process: 5 MB
        rows = np.flatnonzero(kind == one)
        if one == Kind.DOUBLE:
            moving.number[rows] = cursor.doubles(rows)
        elif one == Kind.LONG:
            _longs(cursor, moving, rows)
        elif one == Kind.BOOLEAN:
            flags = cursor.byte(rows)
            moving.number[rows] = flags
            cursor.bad[rows] |= flags > 1
        elif one == Kind.STRING:
            no_texts = (rows, *cursor.spans(rows))
    return no_texts


def _longs(cursor: Cursor, moving: Moving, rows: npt.NDArray[np.intp]) -> None:
    values = cursor.longs(rows)
    moving.number[rows] = values
    for at in np.flatnonzero(np.abs(values) > EXACT):
        moving.whole[int(rows[at])] = int(values[at])


def _fill_texts(cursor: Cursor, moving: Moving, texts: _Spans, reasons: _Spans) -> None:
    """Take the texts out of rows that fit; one that is no UTF-8 makes its row bad."""
    joined, bad = cursor.joined, cursor.bad
    for row, start, end in _rows(texts):
        if not bad[row]:
            try:
                moving.text[row] = joined[start:end].decode()
            except UnicodeDecodeError:
                bad[row] = True
    if len(_reasons) > _REASONS_KEPT:
        _reasons.clear()
    for row, start, end in _rows(reasons):
        if not bad[row]:
            found = _reasons.get(joined[start:end])
            if found is None:
                try:
                    found = _reasons[joined[start:end]] = joined[start:end].decode()
                except UnicodeDecodeError:
                    bad[row] = True
                    continue
            moving.reason[row] = found


def _rows(spans: _Spans) -> Sequence[tuple[int, int, int]]:
    rows, starts, ends = spans
    return list(zip(rows.tolist(), starts.tolist(), ends.tolist(), strict=True))
