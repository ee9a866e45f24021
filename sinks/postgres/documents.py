"""Aggregates and events as rows of their tables, in binary COPY format. Pure; times come as microseconds since 1970."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from schemas.records import Document
from sinks.contract import RefusedRecord
from sinks.postgres.copy import HEADER, NULL, OUT_OF_RANGE, TRAILER, YEAR_2000, text

Row = bytes


@dataclass(frozen=True, slots=True)
class Table:
    """Where documents of one Avro schema go."""

    name: str
    key: str
    """Columns of the natural key: with `ids`, the newest document of a key is the one that stays."""
    columns: str
    key_of: Callable[[dict[str, Any]], tuple[Any, ...]]
    row: Callable[[int, dict[str, Any]], Row]
    """(id of the point, fields) to one row."""


_FIGURES = ("avg", "min", "max", "stddev", "p50", "p95", "p99", "first", "last")
_COUNTS = ("good", "suspect", "uncertain", "bad")


def _number(value: float | None) -> bytes:
    return NULL if value is None else struct.pack(">id", 8, value)


def _long(value: int) -> bytes:
    return struct.pack(">iq", 8, value)


def _time(micros: int) -> bytes:
    return _long(max(micros - YEAR_2000, OUT_OF_RANGE))


def _id(value: int) -> bytes:
    return struct.pack(">ii", 4, value)


def _row(*parts: bytes) -> Row:
    return struct.pack(">h", len(parts)) + b"".join(parts)


def _aggregate(point: int, f: dict[str, Any]) -> Row:
    return _row(
        _id(point), text(f["interval"]), _time(f["window_start"]), _time(f["window_end"]), _long(f["count"]),
        *(_number(f[name]) for name in _FIGURES), *(_long(f[name]) for name in _COUNTS), _number(f["percent_good"]),
        text(f["unit"]), text(f["gateway_id"]),
    )  # fmt: skip


def _event(point: int, f: dict[str, Any]) -> Row:
    details = json.dumps({name: _finite(value) for name, value in f["details"].items()}, ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )
    jsonb = struct.pack(">iB", len(details) + 1, 1) + details
    return _row(
        _id(point), text(f["kind"]), _time(f["device_time"]), _time(f["gateway_time"]), text(f["message"]), jsonb
    )


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: these become the words PostgreSQL itself uses."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value


TABLES = {
    "aggregate": Table(
        "aggregates",
        "point, interval, window_start",
        f"point, interval, window_start, window_end, count, {', '.join(_FIGURES)}, {', '.join(_COUNTS)}, percent_good, unit, gateway_id",
        lambda f: (f["interval"], f["window_start"]),
        _aggregate,
    ),
    "event": Table(
        "events",
        "point, device_time, kind",
        "point, kind, device_time, gateway_time, message, details",
        lambda f: (f["device_time"], f["kind"]),
        _event,
    ),
}
"""By the name of the Avro schema."""


def point_of(document: Document) -> tuple[str, str]:
    return document.fields["asset_id"], document.fields["parameter"]


def newest_of_each_key(table: Table, documents: list[Document]) -> list[Document]:
    """Of several with the same natural key only the last, as the stream has them; in an order that is always the same."""
    newest = {(*point_of(d), *table.key_of(d.fields)): d for d in documents}
    return [newest[key] for key in sorted(newest)]


def encode(rows: list[Row]) -> bytes:
    """A whole COPY stream of these rows."""
    return b"".join((HEADER, *rows, TRAILER))


def refused(document: Document, reason: str) -> RefusedRecord:
    asset, parameter = document.fields.get("asset_id"), document.fields.get("parameter")
    return RefusedRecord(
        document.topic, document.partition, document.offset, document.wire, reason, asset, parameter, document.arrived
    )  # fmt: skip
