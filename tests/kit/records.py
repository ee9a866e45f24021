"""Readings and documents by hand, for tests that need no broker and no codec."""

from __future__ import annotations

from typing import Any

import numpy as np

from schemas.records import NO_TIME, Classification, Document, Kind, Quality, Records, Series, Value

_KINDS = {type(None): Kind.NULL, float: Kind.DOUBLE, int: Kind.LONG, bool: Kind.BOOLEAN, str: Kind.STRING}
NOON = 1_769_688_000_000_000
"""2026-01-29T12:00:00Z in microseconds."""


def series(asset: str = "press", parameter: str = "speed", unit: str | None = "rpm", **other: Any) -> Series:
    given = {
        "classification": Classification.TELEMETRY,
        "adapter_id": "plc",
        "adapter_version": "1.0.0",
        "pipeline_id": None,
        "gateway_id": "g1",
    }
    return Series(asset, parameter, unit, **{**given, **other})


def readings(
    rows: list[tuple[Series, int | None, Value]],
    *,
    first: int = 0,
    topic: str = "telemetry.clean",
    partition: int = 0,
    quality: Quality = Quality.GOOD,
    reason: str | None = None,
    table: list[Series] | None = None,
) -> Records:
    """One Records of (series, device time in us, value); offsets count from `first`, wires are `b"<topic>/<partition>/<offset>"`."""
    table = [] if table is None else table
    table += [s for s in dict.fromkeys(row[0] for row in rows) if s not in table]
    n = len(rows)
    values = [row[2] for row in rows]
    offsets = np.arange(first, first + n, dtype=np.int64)
    return Records(
        topic, partition, table, offsets,
        arrived=offsets + NOON,
        series=np.array([table.index(row[0]) for row in rows], np.int32),
        device_time=np.array([NO_TIME if row[1] is None else row[1] for row in rows], np.int64),
        gateway_time=np.arange(n, dtype=np.int64) + NOON,
        kind=np.array([_KINDS[type(v)] for v in values], np.uint8),
        number=np.array([np.nan if v is None or isinstance(v, str) else float(v) for v in values], np.float64),
        quality=np.full(n, quality, np.uint8),
        wire=[f"{topic}/{partition}/{offset}".encode() for offset in offsets.tolist()],
        text={i: v for i, v in enumerate(values) if isinstance(v, str)},
        whole={i: v for i, v in enumerate(values) if type(v) is int and abs(v) > 2**53},
        reason={} if reason is None else dict.fromkeys(range(n), reason),
    )  # fmt: skip


def aggregate(offset: int = 0, start: int = NOON, **fields: Any) -> Document:
    """A window of one second over 10 good samples."""
    figures = dict.fromkeys(("avg", "min", "max", "stddev", "p50", "p95", "p99", "first", "last"), 1.5)
    counts = {"count": 10, "good": 10, "suspect": 0, "uncertain": 0, "bad": 0, "percent_good": 100.0}
    base = {
        "asset_id": "press",
        "parameter": "speed",
        "unit": "rpm",
        "interval": "1s",
        "window_start": start,
        "window_end": start + 1_000_000,
        "gateway_id": "g1",
    }
    return Document(
        "telemetry.1s", b"press", "aggregate", {**base, **figures, **counts, **fields}, 0, offset, b"agg%d" % offset
    )


def event(offset: int = 0, device_time: int = NOON, **fields: Any) -> Document:
    base = {
        "asset_id": "press",
        "parameter": "speed",
        "kind": "gap",
        "device_time": device_time,
        "gateway_time": device_time + 5,
        "message": "3 missing",
        "details": {},
    }
    return Document("events.clean", b"press", "event", {**base, **fields}, 0, offset, b"event%d" % offset)
