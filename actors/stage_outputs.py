"""From what a stage brought forth to what a transaction writes. Readings stay in their partition and keep their arrival time."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.contract import Judged, Outputs, Refused
from schemas.records import Document, Poison
from stream.codec import Codec, dead_letter
from stream.partitions import Partitioner
from stream.producer import Parcel

WIRE_MAX = 900_000
"""A dead letter holds the whole record; of a larger one only so many bytes, and says so."""


class Writer:
    """Makes parcels for one component. `stage` stands in its dead letters."""

    def __init__(self, codec: Codec, partitions: int, stage: str, config_version: str) -> None:
        self._codec, self._stage, self._version = codec, stage, config_version
        self._partition = Partitioner(partitions)
        self._keys: dict[str, bytes] = {}

    def parcels(self, outputs: Iterable[Outputs], poison: Iterable[Poison], now_ms: int) -> list[Parcel]:
        """Everything one transaction writes, in order within each topic and partition."""
        made: list[Parcel] = []
        letters: list[Document] = [self._poison_letter(each) for each in poison]
        documents: list[Document] = []
        for each in outputs:
            made += [self._readings(judged) for judged in each.readings if len(judged.rows)]
            documents += each.documents
            letters += [self._letter(refused) for refused in each.refused]
        return made + self._documents([*documents, *letters], now_ms)

    def _readings(self, judged: Judged) -> Parcel:
        records = judged.records
        values = self._codec.judged(records, judged.rows, judged.quality, judged.reasons)
        assets = [records.table[i].asset for i in records.series[judged.rows].tolist()]
        stamps: list[int] = (records.arrived[judged.rows] // 1000).tolist()
        return Parcel(judged.topic, records.partition, [self._key(asset) for asset in assets], values, stamps)

    def _key(self, asset: str) -> bytes:
        key = self._keys.get(asset)
        if key is None:
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
        return dead_letter(
            refused.topic, stage=self._stage, rule=refused.rule, reason=refused.reason,
            source=(records.topic, records.partition, int(records.offsets[row])), arrived_at=int(records.arrived[row]),
            original=records.wire[row], asset=series.asset, parameter=series.parameter, config_version=self._version,
        )  # fmt: skip

    def _poison_letter(self, found: Poison) -> Document:
        topic = "dlq.events" if found.topic.startswith("events.") else "dlq.telemetry"
        rule, _, words = found.reason.partition(": ")
        reason = found.reason if rule != "poison" else words
        if len(found.wire) > WIRE_MAX:
            reason += f"; of its {len(found.wire)} bytes the first {WIRE_MAX} are kept"
        return dead_letter(
            topic, stage=self._stage, rule="poison" if rule == "poison" else "decode", reason=reason,
            source=(found.topic, found.partition, found.offset), arrived_at=found.arrived,
            original=found.wire[:WIRE_MAX], config_version=self._version,
        )  # fmt: skip
