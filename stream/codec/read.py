"""Reading batches of records: readings by fixed offsets, all rows at once, everything else by fastavro.

A record is recognised by its first bytes (schema id, series key), its whole static part is compared, and behind it a cursor for
every row walks over the moving part in NumPy. What does not end exactly at its record's end, or does not fit in any other way, is
decoded by fastavro, guarded; what that cannot read either is poison. Property tests hold both ways equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter, itemgetter
from typing import Any, Protocol

import numpy as np

from schemas.records import NO_TIME, Document, Kind, Poison, Quality, Records
from stream.codec.avro import Undecodable, Writers
from stream.codec.cursor import Cursor
from stream.codec.moving import EXACT, moving_part
from stream.codec.series import HEAD, SeriesTable, series_of
from stream.schema_ids import SchemaIds

SERIES_MAX = 500_000

_KINDS = {type(None): Kind.NULL, float: Kind.DOUBLE, int: Kind.LONG, bool: Kind.BOOLEAN, str: Kind.STRING}
_head = itemgetter(slice(0, HEAD))


class Message(Protocol):
    """What is needed of aiokafka's ConsumerRecord."""

    offset: int
    timestamp: int
    """Milliseconds since 1970."""
    key: Any
    value: Any


@dataclass(slots=True)
class Decoded:
    """One batch of one partition. Each list is in offset order."""

    records: list[Records] = field(default_factory=list)
    """None or one."""
    documents: list[Document] = field(default_factory=list)
    poison: list[Poison] = field(default_factory=list)


class Decoder:
    """Keeps the series it has seen; one for each process is enough. Never raises for what stands in a record.

    When more than `series_max` series were seen a new table is begun: indexes of older Records keep their own table.
    """

    def __init__(self, schema_ids: SchemaIds, series_max: int = SERIES_MAX) -> None:
        self._writers = Writers(schema_ids)
        self._schema_id = schema_ids.id_of("reading")
        self._series_max = series_max
        self._table = SeriesTable(self._schema_id)

    def decode(self, topic: str, partition: int, messages: Sequence[Message]) -> Decoded:
        """Decode the messages of one partition, in offset order."""
        if len(self._table) > self._series_max:
            self._table = SeriesTable(self._schema_id)
        decoded = Decoded()
        readings = self._sort(topic, partition, messages, decoded)
        if readings.wires:
            self._columns(topic, partition, readings, decoded)
        return decoded

    def _sort(self, topic: str, partition: int, messages: Sequence[Message], decoded: Decoded) -> _Readings:
        """Find each record's series. Documents and poison are put where they belong; what is left are readings."""
        wires = [m.value or b"" for m in messages]
        indexes = list(map(self._table.by_head.get, map(_head, wires)))
        if None not in indexes:
            prefixes = self._table.prefixes
            if all(map(bytes.startswith, wires, [prefixes[i] for i in indexes])):  # type: ignore[index]  # no None here
                return _Readings(messages, wires, indexes)  # type: ignore[arg-type]
        readings = _Readings([], [], [])
        for message, wire in zip(messages, wires, strict=True):
            self._place(topic, partition, message, wire, readings, decoded)
        return readings

    def _place(
        self, topic: str, partition: int, message: Message, wire: bytes, readings: _Readings, decoded: Decoded
    ) -> None:
        index = self._table.by_head.get(wire[:HEAD])
        if index is None or not wire.startswith(self._table.prefixes[index]):
            try:
                name, fields = self._writers.decode(wire)
            except Undecodable as wrong:
                decoded.poison.append(_poison(topic, partition, message, wire, wrong))
                return
            if name != "reading":
                at = message.timestamp * 1000
                document = Document(topic, message.key or b"", name, fields, partition, message.offset, wire, at)
                decoded.documents.append(document)
                return
            index = self._table.add(series_of(fields))
            if not wire.startswith(self._table.prefixes[index]):
                readings.unlike[len(readings.wires)] = fields
        readings.messages.append(message)  # type: ignore[attr-defined]  # a list of our own here
        readings.wires.append(wire)
        readings.indexes.append(index)

    def _columns(self, topic: str, partition: int, readings: _Readings, decoded: Decoded) -> None:
        """Decode the moving parts; rows that do not fit go through fastavro, one by one."""
        series = np.array(readings.indexes, np.int32)
        cursor = Cursor(readings.wires, self._table.sizes[series])
        cursor.bad[list(readings.unlike)] = True
        moving = moving_part(cursor)
        records = Records(
            topic,
            partition,
            self._table.series,
            offsets=np.array([m.offset for m in readings.messages], np.int64),
            arrived=np.array([m.timestamp for m in readings.messages], np.int64) * 1000,
            series=series,
            wire=readings.wires,
            **{name: getattr(moving, name) for name in moving.__slots__},
        )
        lost = []
        for row in np.flatnonzero(cursor.bad).tolist():
            try:
                fields = readings.unlike.get(row) or self._writers.decode(readings.wires[row])[1]
            except Undecodable as wrong:
                decoded.poison.append(_poison(topic, partition, readings.messages[row], readings.wires[row], wrong))
                lost.append(row)
            else:
                _fill(records, row, fields)
        if lost:
            decoded.poison.sort(key=attrgetter("offset"))
            records = _without(records, lost)
        if len(records):
            decoded.records.append(records)


@dataclass(slots=True)
class _Readings:
    """The readings of a batch, each with the index of its series."""

    messages: Sequence[Message]
    wires: list[bytes]
    indexes: list[int]
    unlike: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Rows that begin unlike their series (an older schema, or not canonical Avro), decoded already."""


def _poison(topic: str, partition: int, message: Message, wire: bytes, wrong: Undecodable) -> Poison:
    return Poison(topic, partition, message.offset, message.timestamp * 1000, message.key, wire, str(wrong))


def _fill(records: Records, row: int, fields: dict[str, Any]) -> None:
    """One row from fastavro's fields."""
    times, value, reason = fields["timestamps"], fields["value"], fields["quality_reason"]
    records.device_time[row] = NO_TIME if times["device_time"] is None else times["device_time"]
    records.gateway_time[row] = times["gateway_time"]
    records.kind[row] = _KINDS[type(value)]
    records.number[row] = np.nan if value is None or isinstance(value, str) else value
    records.quality[row] = Quality[fields["quality"]]
    records.quality_at[row] = -1
    for kept in (records.text, records.whole, records.reason):
        kept.pop(row, None)
    if isinstance(value, str):
        records.text[row] = value
    if type(value) is int and abs(value) > EXACT:
        records.whole[row] = value
    if reason is not None:
        records.reason[row] = reason


def _without(records: Records, lost: list[int]) -> Records:
    """The records less some rows."""
    keep = np.delete(np.arange(len(records)), lost)
    moved = {old: new for new, old in enumerate(keep.tolist())}
    arrays = ("offsets", "arrived", "series", "device_time", "gateway_time", "kind", "number", "quality", "quality_at")
    taken: dict[str, Any] = {name: getattr(records, name)[keep] for name in arrays}
    dicts: dict[str, Any] = {
        name: {moved[row]: kept for row, kept in getattr(records, name).items() if row in moved}
        for name in ("text", "whole", "reason")
    }
    wire = [records.wire[row] for row in keep]
    return Records(records.topic, records.partition, records.table, wire=wire, **taken, **dicts)
