"""From what a protocol read to parcels for the stream: series, topic, partition, only changes of events, one BAD reading when lost.

No I/O and no clock. It remembers, for each point, how its records begin and what was last sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import compress

from protocols.contract import Batch, Point, Reading, Reject
from schemas.records import Classification, Document, Quality, Series, Value
from stream.codec import Codec, SchemaIds, Template, dead_letter, encode_columns
from stream.partitions import Partitioner
from stream.producer import RECORD_BYTES, Parcel, Partition

TOPICS = {
    Classification.TELEMETRY: "telemetry.raw",
    Classification.EVENT: "events.raw",
    Classification.ALARM: "alarms.raw",
}
DEAD_LETTERS = "dlq.telemetry"

_POINTS_KEPT = 500_000
_PAYLOAD_MAX = 900_000
"""Bytes of a payload that are kept in its dead letter, which must fit the stream itself."""


@dataclass(slots=True)
class Known:
    """One point, as the stream knows it."""

    template: Template
    place: Partition
    on_change: bool
    value: Value = None
    status: Quality | None = None
    reason: str | None = None
    untimed: int = 0
    """Gateway time of the last reading without a device time: the next one's is later, or both would be one row in a database."""


@dataclass(slots=True)
class Encoded:
    """What one batch became."""

    parcels: list[Parcel]
    readings: int
    rejects: dict[str, int] = field(default_factory=dict)
    """Rule to count."""
    last_reject: Reject | None = None
    unchanged: int = 0
    """Events and alarms that were not sent since nothing changed, and repeated BAD readings without a value."""

    @property
    def size(self) -> int:
        return sum(parcel.size for parcel in self.parcels)


class RecordMaker:
    """For one adapter. `identity` is (adapter id, adapter version, gateway id)."""

    def __init__(
        self, identity: tuple[str, str, str], stage: str, ids: SchemaIds, partitions: int, config_version: str | None
    ) -> None:
        self._identity, self._stage, self._config_version = identity, stage, config_version
        self._schema_id = ids.id_of("reading")
        self._codec = Codec(ids)
        self._partition = Partitioner(partitions)
        self._known: dict[Point, Known] = {}
        self._by_identity: dict[int, Known] = {}
        self._met: list[Point] = []
        """Keeps the points of `_by_identity` alive, so that no other can have the identity of one of them."""
        self._on_change = False
        """Whether any point so far is sent only when it changes."""

    def encode(self, batch: Batch) -> Encoded:
        """The batch as parcels. What cannot be written becomes a dead letter; nothing is left out silently. Raises nothing."""
        rejects = list(batch.rejects)
        readings, known = self._recognised(batch.readings, rejects)
        statuses = [reading.status for reading in readings]
        if self._on_change or Quality.BAD in statuses:
            sent = self._changed(readings, known)
            readings, known = list(compress(readings, sent)), list(compress(known, sent))
        else:
            for entry, status in zip(known, statuses, strict=True):
                entry.status = status
        unchanged = len(statuses) - len(readings)
        wires = self._wires(readings, known, batch.gateway_time, rejects)
        encoded = Encoded(_parcels(known, wires, batch.gateway_time // 1000), len(known), unchanged=unchanged)
        for reject in rejects:
            encoded.rejects[reject.rule] = encoded.rejects.get(reject.rule, 0) + 1
            encoded.last_reject = reject
            encoded.parcels.append(self._dead_letter(reject, batch.gateway_time))
        return encoded

    def lost(self, points: Sequence[Point], reason: str, now: int) -> Batch:
        """One BAD reading without a value for each point that is not BAD already; `now` in microseconds since 1970."""
        readings = []
        for point in points:
            known = self._known.get(point)
            status = known.status if known else None
            if status is not Quality.BAD:
                words = f"{reason} (before: {status.name})" if status is not None else reason
                readings.append(Reading(point, None, None, Quality.BAD, words))
        return Batch(readings, now)

    def refused(self, parcel: Parcel, reason: str, now: int) -> Parcel:
        """A dead letter for one record that the stream did not take."""
        return self._dead_letter(
            Reject("too_large", reason, parcel.values[0], parcel.keys[0].decode(errors="replace")), now
        )

    def _recognised(self, readings: list[Reading], rejects: list[Reject]) -> tuple[list[Reading], list[Known]]:
        """Readings with what is known of their points; a point whose names cannot be written is rejected."""
        find = self._by_identity.get
        known = [find(id(reading.point)) for reading in readings]
        if None not in known:
            return readings, known  # type: ignore[return-value]  # no None among them
        known = [find(id(reading.point)) or self._meet(reading, rejects) for reading in readings]
        return [r for r, k in zip(readings, known, strict=True) if k is not None], [k for k in known if k is not None]

    def _meet(self, reading: Reading, rejects: list[Reject]) -> Known | None:
        point = reading.point
        if len(self._by_identity) >= _POINTS_KEPT:
            self._by_identity.clear()
            self._met.clear()
        known = self._known.get(point)
        if known is None:
            try:
                known = self._learn(point)
            except ValueError as wrong:
                rejects.append(_unwritable(reading, str(wrong)))
                return None
        self._by_identity[id(point)] = known
        self._met.append(point)
        return known

    def _learn(self, point: Point) -> Known:
        if point.classification not in TOPICS:
            raise ValueError(
                f"classification {point.classification.name} is no reading's; right would be TELEMETRY, EVENT or ALARM"
            )
        adapter_id, version, gateway_id = self._identity
        series = Series(
            point.asset, point.parameter, point.unit, point.classification, adapter_id, version, None, gateway_id
        )
        template = Template(series, self._schema_id)
        place = (TOPICS[point.classification], self._partition(template.key))
        known = Known(template, place, point.classification is not Classification.TELEMETRY)
        self._on_change |= known.on_change
        if len(self._known) < _POINTS_KEPT:
            self._known[point] = known
        return known

    def _changed(self, readings: list[Reading], known: list[Known]) -> list[bool]:
        """For each reading whether it says something new; remembers it if so."""
        sent = []
        for reading, entry in zip(readings, known, strict=True):
            new = True
            if entry.on_change:
                new = reading.status is not entry.status or not _same(reading.value, entry.value)
                entry.value = reading.value
            elif reading.status is Quality.BAD and reading.value is None:
                new = entry.status is not Quality.BAD or reading.reason != entry.reason
            entry.status, entry.reason = reading.status, reading.reason
            sent.append(new)
        return sent

    def _wires(self, readings: list[Reading], known: list[Known], now: int, rejects: list[Reject]) -> list[bytes]:
        """Encoded readings; those that cannot be written leave both lists and become rejects."""
        if not readings:
            return []
        device_times = [r.device_time for r in readings]
        later = _told_apart(device_times, known, now) if None in device_times else {}
        try:
            wires = encode_columns(
                [k.template for k in known],
                [r.value for r in readings],
                now,
                device_times,
                [r.status for r in readings],
                [r.reason for r in readings],
                [r.raw for r in readings],
            )
            for row, at in later.items():
                wires[row] = _wire(readings[row], known[row], at)
        except ValueError:
            wires = self._one_by_one(readings, known, now, later, rejects)
        if max(map(len, wires), default=0) > RECORD_BYTES:
            wires = _within_bounds(readings, known, wires, rejects)
        return wires

    def _one_by_one(
        self, readings: list[Reading], known: list[Known], now: int, later: dict[int, int], rejects: list[Reject]
    ) -> list[bytes]:
        wires, kept = [], []
        for row, (reading, entry) in enumerate(zip(readings, known, strict=True)):
            try:
                wire = _wire(reading, entry, later.get(row, now))
            except ValueError as wrong:
                rejects.append(_unwritable(reading, str(wrong)))
            else:
                wires.append(wire)
                kept.append((reading, entry))
        readings[:], known[:] = [r for r, _ in kept], [k for _, k in kept]
        return wires

    def _dead_letter(self, reject: Reject, now: int) -> Parcel:
        payload, reason = reject.payload, reject.reason
        if len(payload) > _PAYLOAD_MAX:
            payload, reason = (
                payload[:_PAYLOAD_MAX],
                f"{reason} (only the first {_PAYLOAD_MAX} of {len(payload)} bytes are kept)",
            )
        letter = dead_letter(
            DEAD_LETTERS,
            stage=self._stage,
            rule=reject.rule,
            reason=_text(reason),
            source=("", -1, -1),
            arrived_at=now,
            original=payload,
            asset=None if reject.asset is None else _text(reject.asset),
            parameter=None if reject.parameter is None else _text(reject.parameter),
            config_version=self._config_version,
        )
        return self._parcel(letter, now // 1000)

    def _parcel(self, document: Document, stamp: int) -> Parcel:
        key = document.key
        return Parcel(document.topic, self._partition(key), [key], [self._codec.encode_document(document)], stamp)


def _wire(reading: Reading, entry: Known, now: int) -> bytes:
    return entry.template.encode(reading.value, now, reading.device_time, reading.status, reading.reason, reading.raw)


def _told_apart(device_times: list[int | None], known: list[Known], now: int) -> dict[int, int]:
    """Row → gateway time of readings without a device time whose point had one at `now` already: a microsecond after it."""
    later = {}
    for row, (device_time, entry) in enumerate(zip(device_times, known, strict=True)):
        if device_time is None:
            entry.untimed = max(now, entry.untimed + 1)
            if entry.untimed != now:
                later[row] = entry.untimed
    return later


def _parcels(known: list[Known], wires: list[bytes], stamp: int) -> list[Parcel]:
    places: dict[Partition, list[tuple[bytes, bytes]]] = {}
    for entry, wire in zip(known, wires, strict=True):
        places.setdefault(entry.place, []).append((entry.template.key, wire))
    parcels = []
    for place, rows in places.items():
        keys, values = zip(*rows, strict=True)
        parcels.append(Parcel(*place, list(keys), list(values), stamp))
    return parcels


def _same(a: Value, b: Value) -> bool:
    """Equal in value and kind; a NaN equals a NaN, or it would be an event for ever."""
    return type(a) is type(b) and (a == b or (a != a and b != b))  # noqa: PLR0124 - that is how a NaN is known


def _unwritable(reading: Reading, reason: str) -> Reject:
    payload = reading.raw if reading.raw is not None else repr(reading.value).encode(errors="backslashreplace")
    return Reject("encode", reason, payload, reading.point.asset, reading.point.parameter)


def _within_bounds(
    readings: list[Reading], known: list[Known], wires: list[bytes], rejects: list[Reject]
) -> list[bytes]:
    fits = [len(wire) <= RECORD_BYTES for wire in wires]
    for reading, wire, fit in zip(readings, wires, fits, strict=True):
        if not fit:
            reason = f"a record of {len(wire)} bytes; at most {RECORD_BYTES} fit the stream"
            rejects.append(Reject("too_large", reason, wire, reading.point.asset, reading.point.parameter))
    known[:] = compress(known, fits)
    return list(compress(wires, fits))


def _text(given: str) -> str:
    """What Avro takes: lone surrogates, as they come from broken payloads, are shown as their escape."""
    return given.encode(errors="backslashreplace").decode()
