"""Writing what is not a reading: aggregates by a fast way of their own, events and dead letters by fastavro."""

from __future__ import annotations

import struct
from typing import Any

from schemas.records import Document
from stream.codec.avro import FRAME, encode
from stream.codec.template import long, maybe_text, text, timestamp
from stream.schema_ids import SchemaIds

_STATISTICS = ("avg", "min", "max", "stddev", "p50", "p95", "p99", "first", "last")
_COUNTS = ("good", "suspect", "uncertain", "bad")
_ALL_THERE = struct.Struct("<" + "Bd" * len(_STATISTICS)).pack
_DOUBLE = struct.Struct("<d").pack
_NAMES_KEPT = 100_000


class DocumentEncoder:
    """Writes documents under the ids of one gateway."""

    def __init__(self, schema_ids: SchemaIds) -> None:
        self._ids = schema_ids
        self._begins: dict[tuple[str, str, str | None, str], bytes] = {}
        self._gateways: dict[str, bytes] = {}
        self._small = [long(n) for n in range(1024)]

    def encode(self, document: Document) -> bytes:
        """A framed record. Raises ValueError, naming the schema, for fields that do not fit it."""
        if document.schema == "aggregate":
            return self._aggregate(document.fields)
        return encode(document.schema, self._ids.id_of(document.schema), document.fields)

    def _aggregate(self, fields: dict[str, Any]) -> bytes:
        """Byte for byte fastavro's; integers as int, statistics as float or None."""
        try:
            f = fields
            begin = self._begin(f["asset_id"], f["parameter"], f.get("unit"), f["interval"])
            return b"".join(
                (
                    begin,
                    timestamp(f["window_start"]),
                    timestamp(f["window_end"]),
                    self._count(f["count"]),
                    _statistics([f.get(name) for name in _STATISTICS]),
                    *[self._count(f[name]) for name in _COUNTS],
                    _DOUBLE(f["percent_good"]),
                    self._gateway(f["gateway_id"]),
                )
            )
        except (ValueError, KeyError, TypeError, AttributeError, struct.error) as wrong:
            raise ValueError(f"does not fit the schema aggregate: {type(wrong).__name__} {wrong}") from None

    def _begin(self, asset: str, parameter: str, unit: str | None, interval: str) -> bytes:
        key = (asset, parameter, unit, interval)
        if key not in self._begins:
            if len(self._begins) >= _NAMES_KEPT:
                self._begins.clear()
            frame = FRAME.pack(0, self._ids.id_of("aggregate"))
            self._begins[key] = frame + text(asset) + text(parameter) + maybe_text(unit) + text(interval)
        return self._begins[key]

    def _count(self, n: int) -> bytes:
        return self._small[n] if 0 <= n < len(self._small) else long(n)

    def _gateway(self, gateway_id: str) -> bytes:
        if gateway_id not in self._gateways:
            if len(self._gateways) >= _NAMES_KEPT:
                self._gateways.clear()
            self._gateways[gateway_id] = text(gateway_id)
        return self._gateways[gateway_id]


def dead_letter(
    topic: str,
    *,
    stage: str,
    rule: str,
    reason: str,
    source: tuple[str, int, int],
    arrived_at: int,
    original: bytes,
    asset: str | None = None,
    parameter: str | None = None,
    config_version: str | None = None,
) -> Document:
    """A refused record as a document for `topic` (dlq.telemetry or dlq.events).

    `source` is (topic, partition, offset) where the record stood, or ("", -1, -1) for a payload that never reached the stream;
    `arrived_at` is microseconds since 1970. Records without an asset are keyed by the stage.
    """
    fields = {
        "stage": stage,
        "rule": rule,
        "reason": reason,
        "topic": source[0],
        "partition": source[1],
        "offset": source[2],
        "arrived_at": arrived_at,
        "asset_id": asset,
        "parameter": parameter,
        "config_version": config_version,
        "original": original,
    }
    return Document(topic, (asset or stage).encode(), "dead_letter", fields)


def _statistics(values: list[float | None]) -> bytes:
    if None not in values:
        a, b, c, d, e, f, g, h, i = values
        return _ALL_THERE(2, a, 2, b, 2, c, 2, d, 2, e, 2, f, 2, g, 2, h, 2, i)
    return b"".join(b"\x00" if v is None else b"\x02" + _DOUBLE(v) for v in values)
