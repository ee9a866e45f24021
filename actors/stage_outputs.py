"""From what a stage brought forth to what a transaction writes. Readings stay in their partition and keep their arrival time."""

from __future__ import annotations

from actors import refusals
from pipeline.contract import Judged, Outputs, Refused
from schemas.records import Document, Poison
from stream.codec import Codec, dead_letter
from stream.partitions import Partitioner
from stream.producer import RECORD_BYTES, Parcel

POISON = "poison: "
"""Begins the reason of a record that ended its worker; the reasons of other poison come from the decoder."""
ORIGINAL_MAX = 900_000
REASON_MAX = 4000
"""A dead letter holds the whole record and the reason; of larger ones the beginning, and says so."""
_KEYS_KEPT = 200_000

Refusal = tuple[str, str, str, str | None, str | None]
"""Topic of the dead letter, rule, reason, asset, parameter."""


class Writer:
    """Makes parcels for one component. `stage` stands in its dead letters."""

    def __init__(self, codec: Codec, partitions: int, stage: str, config_version: str) -> None:
        self._codec, self._stage, self._version = codec, stage, config_version
        self._partition = Partitioner(partitions)
        self._keys: dict[str, bytes] = {}

    def parcels(self, outputs: Outputs, now_ms: int) -> list[Parcel]:
        """Everything a step or tick brought forth, in order within each topic and partition. Readings that have become too
        large for the stream with their reasons are moved to `outputs.refused`."""
        made = [self._readings(judged, outputs) for judged in outputs.readings if len(judged.rows)]
        letters = [self._letter(refused) for refused in outputs.refused]
        return made + self._documents([*outputs.documents, *letters], now_ms)

    def poison(self, found: list[Poison], now_ms: int) -> list[Parcel]:
        """Dead letters for records that could not be decoded, or must not be."""
        return self._documents([self._poison_letter(each) for each in found], now_ms)

    def _readings(self, judged: Judged, outputs: Outputs) -> Parcel:
        records, rows = judged.records, judged.rows
        values = self._codec.judged(records, rows, judged.quality, judged.reasons)
        assets = [records.table[i].asset for i in records.series[rows].tolist()]
        stamps: list[int] = (records.arrived[rows] // 1000).tolist()
        parcel = Parcel(judged.topic, records.partition, [self._key(asset) for asset in assets], values, stamps)
        if max(map(len, values)) <= RECORD_BYTES:
            return parcel
        fits = [at for at, value in enumerate(values) if len(value) <= RECORD_BYTES]
        for at, value in enumerate(values):
            if len(value) > RECORD_BYTES:
                reason = f"too_large: {len(value)} bytes with its reasons; at most {RECORD_BYTES} fit the stream"
                outputs.refused.append(
                    Refused(refusals.letters_of(records.topic), records, int(rows[at]), "too_large", reason)
                )
        keys = [parcel.keys[at] for at in fits]
        return Parcel(parcel.topic, parcel.partition, keys, [values[at] for at in fits], [stamps[at] for at in fits])

    def _key(self, asset: str) -> bytes:
        key = self._keys.get(asset)
        if key is None:
            if len(self._keys) >= _KEYS_KEPT:
                self._keys.clear()
            key = self._keys[asset] = asset.encode()
        return key

    def _documents(self, documents: list[Document], now_ms: int) -> list[Parcel]:
        by_place: dict[tuple[str, int], Parcel] = {}
        for document in documents:
            place = document.topic, self._partition(document.key)
            parcel = by_place.setdefault(place, Parcel(*place, [], [], now_ms))
            parcel.keys.append(document.key)
            parcel.values.append(self._codec.encode_document(document))
        return list(by_place.values())

    def _letter(self, refused: Refused) -> Document:
        records, row = refused.records, refused.row
        series = records.table[int(records.series[row])]
        original, reason = _cut(records.wire[row], refused.reason)
        return dead_letter(
            refused.topic, stage=self._stage, rule=refused.rule, reason=reason,
            source=(records.topic, records.partition, int(records.offsets[row])), arrived_at=int(records.arrived[row]),
            original=original, asset=series.asset, parameter=series.parameter, config_version=self._version,
        )  # fmt: skip

    def _poison_letter(self, found: Poison) -> Document:
        original, reason = _cut(found.wire, found.reason.removeprefix(POISON))
        return dead_letter(
            refusals.letters_of(found.topic), stage=self._stage, rule=poison_rule(found), reason=reason,
            source=(found.topic, found.partition, found.offset), arrived_at=found.arrived,
            original=original, config_version=self._version,
        )  # fmt: skip


def refusal(refused: Refused) -> Refusal:
    series = refused.records.table[int(refused.records.series[refused.row])]
    return refused.topic, refused.rule, refused.reason, series.asset, series.parameter


def poison_refusal(found: Poison) -> Refusal:
    return refusals.letters_of(found.topic), poison_rule(found), found.reason.removeprefix(POISON), None, None


def poison_rule(found: Poison) -> str:
    """poison: it ended its worker. decode: it could not be decoded."""
    return "poison" if found.reason.startswith(POISON) else "decode"


def _cut(original: bytes, reason: str) -> tuple[bytes, str]:
    if len(reason) > REASON_MAX:
        reason = reason[:REASON_MAX] + " ..."
    if len(original) > ORIGINAL_MAX:
        reason += f"; of its {len(original)} bytes the first {ORIGINAL_MAX} are kept"
    return original[:ORIGINAL_MAX], reason
