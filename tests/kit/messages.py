"""Records as aiokafka hands them over, without a broker, and a series as Avro has it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from schemas.records import Series


@dataclass
class Message:
    offset: int
    value: bytes | None
    timestamp: int = 1_700_000_000_000
    key: bytes | None = b"k"


def messages(wires: Iterable[bytes | None]) -> list[Message]:
    """One for each value, offsets from 0."""
    return [Message(offset, wire) for offset, wire in enumerate(wires)]


def series_fields(series: Series, series_id: bytes) -> dict[str, Any]:
    """The fields of a reading that are its series', for fastavro."""
    return {
        "series": series_id,
        "asset_id": series.asset,
        "parameter": series.parameter,
        "unit": series.unit,
        "classification": series.classification.name,
        "metadata": {
            "adapter_id": series.adapter_id,
            "adapter_version": series.adapter_version,
            "pipeline_id": series.pipeline_id,
            "gateway_id": series.gateway_id,
        },
    }
