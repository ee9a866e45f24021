"""The shapes data travels in between the rooms: readings as columns, everything else as documents. No behaviour."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

NO_TIME = int(np.iinfo(np.int64).min)
"""Stands in a column of times where a reading has none."""

Times = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.intp]

Value = float | int | bool | str | None


class Quality(IntEnum):
    """SPEC section 6. The order is the order of the Avro enum."""

    GOOD = 0
    SUSPECT = 1
    UNCERTAIN = 2
    BAD = 3


class Classification(IntEnum):
    """SPEC section 1. The order is the order of the Avro enum."""

    TELEMETRY = 0
    EVENT = 1
    ALARM = 2
    LOG = 3


class Kind(IntEnum):
    """What a reading's value is. The order is the order of the Avro union."""

    NULL = 0
    DOUBLE = 1
    LONG = 2
    BOOLEAN = 3
    STRING = 4


class Series(NamedTuple):
    """What never changes for one point: the prefix of its records."""

    asset: str
    parameter: str
    unit: str | None
    classification: Classification
    adapter_id: str
    adapter_version: str
    pipeline_id: str | None
    gateway_id: str


@dataclass(slots=True)
class Records:
    """Readings of one partition in offset order, one row each; every array has the same length n.

    `series[i]` is an index into `table`, which a decoder shares between all its batches and only ever appends to. The index
    is good in this process only. Two entries may name the same asset and parameter (unit or version changed): state that
    belongs to a point is kept by (asset, parameter).
    """

    topic: str
    partition: int
    table: list[Series]
    offsets: npt.NDArray[np.int64]
    arrived: Times
    """The record's Kafka timestamp in microseconds: when the gateway's stream took it."""
    series: npt.NDArray[np.int32]
    device_time: Times
    """Microseconds since 1970, or NO_TIME."""
    gateway_time: Times
    kind: Codes
    number: Floats
    """Doubles, longs (rounded beyond 2**53: see `whole`) and booleans as 0 and 1; NaN for strings and nulls."""
    quality: Codes
    wire: list[bytes]
    """Each record as it stood in the topic, framing included."""
    text: dict[int, str] = field(default_factory=dict)
    """Row to value, for strings."""
    whole: dict[int, int] = field(default_factory=dict)
    """Row to exact value, for longs beyond 2**53."""
    reason: dict[int, str] = field(default_factory=dict)
    """Row to quality_reason, where there is one."""
    quality_at: npt.NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    """Where each record's quality stands in `wire`, for `stream.codec.judged`; -1 or no entry: not known, decoded again."""

    def __len__(self) -> int:
        return len(self.wire)

    def value(self, row: int) -> Value:
        """The row's value as Python has it."""
        kind = self.kind[row]
        if kind == Kind.DOUBLE:
            return float(self.number[row])
        if kind == Kind.LONG:
            return self.whole[row] if row in self.whole else int(self.number[row])
        if kind == Kind.BOOLEAN:
            return bool(self.number[row])
        return self.text[row] if kind == Kind.STRING else None


@dataclass(slots=True)
class Document:
    """One record that is not a reading: an aggregate, an event, a dead letter. `fields` fit the Avro schema `schema`.

    Times in `fields` are integers, microseconds since 1970.
    """

    topic: str
    key: bytes
    schema: str
    fields: dict[str, Any]
    partition: int = -1
    """Where it was read from; -1 for one that is yet to be written."""
    offset: int = -1
    wire: bytes = b""
    """The record as it stood in the topic, framing included; empty for one that is yet to be written."""
    arrived: int = -1
    """The record's Kafka timestamp in microseconds; -1 for one that is yet to be written."""


@dataclass(slots=True)
class Poison:
    """A record that could not be decoded."""

    topic: str
    partition: int
    offset: int
    arrived: int
    key: bytes | None
    wire: bytes
    reason: str
