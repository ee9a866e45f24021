"""Readings as PostgreSQL's binary COPY format, made by numpy: no Python object for a reading that is a plain number. Pure.

The format (manual, COPY, "Binary Format"): a header, then for each row the number of columns and for each column its length and
its bytes, big-endian, -1 standing for null; timestamps are microseconds since 2000.
"""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt

from schemas.records import Kind, Rows, Times
from sinks.postgres.rows import Columns

COLUMNS = "point, series, device_time, gateway_time, quality, kind, value, whole, text, reason"
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
NULL = b"\xff\xff\xff\xff"

YEAR_2000 = 946_684_800_000_000
OUT_OF_RANGE = int(np.iinfo(np.int64).min) + 1
"""A time the database refuses in its own words; the smallest number itself would mean -infinity."""

_FIXED = (
    ("point", ">i4"),
    ("series", ">i4"),
    ("device_time", ">i8"),
    ("gateway_time", ">i8"),
    ("quality", ">i2"),
    ("kind", ">i2"),
)


def _with_length(name: str, of: str) -> list[tuple[str, str]]:
    return [(f"{name}_length", ">i4"), (name, of)]


HEAD = np.dtype([("columns", ">i2"), *(pair for name, of in _FIXED for pair in _with_length(name, of))])
"""What every row has."""
PLAIN = np.dtype([("head", HEAD), *_with_length("value", ">f8"), ("nulls", "V12")])
"""A row with a number, and nothing else: whole, text and reason are null."""


def pg_time(micros: Times) -> Times:
    """Microseconds since 1970 to those since 2000, never wrapping around."""
    return np.where(micros < np.iinfo(np.int64).min + YEAR_2000 + 2, OUT_OF_RANGE, micros - YEAR_2000)


def plain_first(columns: Columns, rows: Rows) -> Rows:
    """The rows with those first that are nothing but a number: `encode` makes these all at once."""
    plain = _plain_rows(columns, rows)
    return np.concatenate((rows[plain], rows[~plain]))


def encode(columns: Columns, rows: Rows) -> bytes:
    """A whole COPY stream of these rows, in this order; quick when they stand `plain_first`."""
    plain = _plain_rows(columns, rows)
    parts = [HEADER]
    runs = np.split(np.arange(len(rows)), np.flatnonzero(np.diff(plain)) + 1)
    parts += [(_plain if plain[run[0]] else _odd)(columns, rows[run]) for run in runs]
    return b"".join((*parts, TRAILER))


def _plain_rows(columns: Columns, rows: Rows) -> npt.NDArray[np.bool_]:
    kind = columns.kind[rows]
    plain: npt.NDArray[np.bool_] = (kind != Kind.NULL) & (kind != Kind.STRING)
    odd = {*columns.whole, *columns.text, *columns.reason}
    return plain & ~np.isin(rows, list(odd)) if odd else plain


def _fill_head(head: npt.NDArray[np.void], columns: Columns, rows: Rows) -> None:
    head["columns"] = 10
    for name, of in _FIXED:
        head[f"{name}_length"] = np.dtype(of).itemsize
    head["point"] = columns.point[rows]
    head["series"] = columns.series[rows]
    head["device_time"] = pg_time(columns.device_time[rows])
    head["gateway_time"] = pg_time(columns.gateway_time[rows])
    head["quality"] = columns.quality[rows]
    head["kind"] = columns.kind[rows]


def _plain(columns: Columns, rows: Rows) -> bytes:
    table = np.empty(len(rows), PLAIN)
    _fill_head(table["head"], columns, rows)
    table["value_length"] = 8
    table["value"] = columns.number[rows]
    table["nulls"] = NULL * 3
    return table.tobytes()


def _odd(columns: Columns, rows: Rows) -> bytes:
    """Rows with a text, a reason, a long beyond 2**53 or no value at all."""
    table = np.empty(len(rows), HEAD)
    _fill_head(table, columns, rows)
    heads, size = table.tobytes(), HEAD.itemsize
    parts: list[bytes] = []
    numbers, kinds = columns.number[rows].tolist(), columns.kind[rows].tolist()
    for at, row in enumerate(rows.tolist()):
        has_number = kinds[at] not in (Kind.NULL, Kind.STRING)
        parts += (
            heads[at * size : (at + 1) * size],
            struct.pack(">id", 8, numbers[at]) if has_number else NULL,
            struct.pack(">iq", 8, columns.whole[row]) if row in columns.whole else NULL,
            text(columns.text.get(row)),
            text(columns.reason.get(row)),
        )
    return b"".join(parts)


def text(value: str | None) -> bytes:
    """One text column. Halves of surrogates pass as they are: the database shall say in its words that it refuses them."""
    if value is None:
        return NULL
    encoded = value.encode("utf-8", "surrogatepass")
    return struct.pack(">i", len(encoded)) + encoded
