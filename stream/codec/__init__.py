"""Records to bytes and back: what the rest of the gateway uses. The parts stand in this folder.

Writing    Template(series, ids.id_of("reading")).encode(value, gateway_time, ...)   one reading
           encode_columns(templates, values, gateway_time, ...)                      many, in one pass where they are alike
           DocumentEncoder(ids).encode(document)                                     aggregates, events, dead letters
           dead_letter(topic, stage=..., rule=..., reason=..., source=..., ...)      a refused record as a document
Reading    Codec(ids).decode(topic, partition, messages) -> Decoded(records, documents, poison)
Passing on Codec(ids).judged(records, rows, quality, reasons) -> wire bytes, patched
"""

from __future__ import annotations

from collections.abc import Mapping

from schemas.records import Codes, Document, Records, Rows
from stream.codec.avro import Undecodable, Writers
from stream.codec.columns import encode_columns
from stream.codec.document import DocumentEncoder, dead_letter
from stream.codec.judged import judged
from stream.codec.read import SERIES_MAX, Decoded, Decoder, Message
from stream.codec.template import Template
from stream.schema_ids import SchemaIds, UnknownSchema

__all__ = [
    "Codec",
    "Decoded",
    "Decoder",
    "DocumentEncoder",
    "Message",
    "SchemaIds",
    "Template",
    "Undecodable",
    "UnknownSchema",
    "dead_letter",
    "encode_columns",
]


class Codec:
    """Both ways for one process, with the schema ids of its gateway: `Codec(SchemaIds(data_dir / "schemas.json"))`."""

    def __init__(self, schema_ids: SchemaIds, series_max: int = SERIES_MAX) -> None:
        self._reading_id = schema_ids.id_of("reading")
        self._writers = Writers(schema_ids)
        self._decoder = Decoder(schema_ids, series_max)
        self._documents = DocumentEncoder(schema_ids)
        self.decode = self._decoder.decode
        """`decode(topic, partition, messages) -> Decoded`: aiokafka's records of one partition, in offset order. Never raises for
        what stands in a record: that becomes Poison."""

    def judged(self, records: Records, rows: Rows, quality: Codes, reasons: Mapping[int, str]) -> list[bytes]:
        """The wire bytes of `rows` with `quality` (one for each of `rows`) and `reasons` (keyed by row of `records`).

        A row whose quality stays and that is given no reason keeps its bytes; a new quality alone keeps the reason it had.
        """
        return judged(records, rows, quality, reasons, self._writers, self._reading_id)

    def encode_document(self, document: Document) -> bytes:
        """A framed record of `document.schema`. Raises ValueError for fields that do not fit it."""
        return self._documents.encode(document)
