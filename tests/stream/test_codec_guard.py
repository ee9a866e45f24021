"""Records nobody should be able to hurt us with, records of other times, and tables that must not grow for ever."""

from __future__ import annotations

import copy
import io
import json
import time

import fastavro
import numpy as np
import pytest

from schemas.records import Classification, Quality, Series
from stream.codec import Codec, SchemaIds, Template, Undecodable, dead_letter
from stream.codec.avro import FRAME, decode, parse, parsed
from stream.schema_ids import own_schema
from tests.kit.messages import messages

NOW = 1_700_000_000_000_000


def series(n: int = 0) -> Series:
    return Series(f"press_{n}", "force", "kN", Classification.TELEMETRY, "modbus", "1.0.0", None, "gateway")


def reading(n: int = 0, value: object = 1.5) -> bytes:
    return Template(series(n), 1).encode(value, NOW, NOW)


RECURSIVE = {
    "type": "record",
    "name": "Tree",
    "fields": [{"name": "next", "type": ["null", "Tree"]}],
}
ARRAY_OF_NOTHING = {
    "type": "record",
    "name": "Empty",
    "fields": [{"name": "a", "type": {"type": "array", "items": "null"}}],
}
BODIES = {
    "huge string": b"\0" * 8 + b"\xfe\xff\xff\xff\x0f",
    "negative length": b"\0" * 8 + b"\x01",
    "endless varint": b"\0" * 8 + b"\xff" * 400,
    "500 kB of 0x02": b"\x02" * 500_000,
    "nothing": b"",
}


@pytest.mark.parametrize("schema_id", [1, 2, 3, 4, 99, 2**31])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_poison_is_poison_at_once(schema_id, body):
    wire = FRAME.pack(0, schema_id) + body
    start = time.perf_counter()
    decoded = Codec(SchemaIds()).decode("t", 7, messages([wire]))
    assert time.perf_counter() - start < 1
    poison = decoded.poison[0]
    assert (poison.topic, poison.partition, poison.offset, poison.wire) == ("t", 7, 0, wire)
    assert poison.reason


@pytest.mark.parametrize("wire", [b"", b"\0", b"{}", b"\1\0\0\0\1abc", None])
def test_no_framing_is_poison(wire):
    assert "framing" in Codec(SchemaIds()).decode("t", 0, messages([wire])).poison[0].reason


@pytest.mark.parametrize("schema", [RECURSIVE, ARRAY_OF_NOTHING], ids=["recursive", "array of nothing"])
def test_a_writer_schema_that_could_be_used_against_us_is_refused(tmp_path, schema):
    ids = SchemaIds(tmp_path / "schemas.json")
    given = ids.register("reading", schema)
    wire = FRAME.pack(0, given) + b"\x02" * 500_000
    assert "writer's schema" in Codec(ids).decode("t", 0, messages([wire])).poison[0].reason
    with pytest.raises(Undecodable):
        parse(schema)


def test_trailing_bytes_and_giants_are_refused():
    with pytest.raises(Undecodable, match="2 bytes too many"):
        decode(reading() + b"xx", parsed("reading"), parsed("reading"))
    with pytest.raises(Undecodable, match="at most"):
        decode(bytes(9 * 2**20), parsed("reading"), parsed("reading"))


def older() -> dict:
    """Our schema as it may have been once: without raw, and with another field that is gone now."""
    schema = copy.deepcopy(own_schema("reading"))
    schema["fields"] = [f for f in schema["fields"] if f["name"] != "raw"] + [{"name": "gone", "type": "string"}]
    return schema


def written_under(schema: dict, schema_id: int) -> bytes:
    fields = decode(reading(), parsed("reading"), parsed("reading")) | {"gone": "x"}
    out = io.BytesIO(FRAME.pack(0, schema_id))
    out.seek(FRAME.size)
    fastavro.schemaless_writer(out, parse(schema), fields)
    return out.getvalue()


def test_records_of_an_older_schema_stay_readable_among_new_ones(tmp_path):
    ids = SchemaIds(tmp_path / "schemas.json")
    old = written_under(older(), ids.register("reading", older()))
    codec = Codec(SchemaIds(tmp_path / "schemas.json"))
    records = codec.decode("t", 0, messages([reading(), old, reading(value="text")])).records[0]
    assert records.offsets.tolist() == [0, 1, 2]
    assert [records.value(row) for row in range(3)] == [1.5, 1.5, "text"]
    assert {records.table[i] for i in records.series} == {series()}
    bad = np.full(3, Quality.BAD, np.uint8)
    passed_on = codec.judged(records, np.arange(3), bad, {1: "too old"})
    again = codec.decode("t", 0, messages(passed_on)).records[0]
    assert again.quality.tolist() == [3, 3, 3]
    assert again.reason == {1: "too old"}
    assert [again.value(row) for row in range(3)] == [1.5, 1.5, "text"]


def test_a_wrong_series_key_is_read_by_its_fields():
    """A writer that hashed otherwise, or a collision: the static part is compared, not trusted."""
    codec = Codec(SchemaIds())
    forged = reading(1)[:5] + reading(2)[5:13] + reading(1)[13:]
    for _ in range(2):
        records = codec.decode("t", 0, messages([reading(2), forged, reading(1)])).records[0]
        assert [records.table[i].asset for i in records.series] == ["press_2", "press_1", "press_1"]


def test_the_table_of_series_is_bounded_and_old_records_keep_theirs():
    codec = Codec(SchemaIds(), series_max=10)
    first = codec.decode("t", 0, messages(reading(n) for n in range(11))).records[0]
    second = codec.decode("t", 0, messages([reading(5)])).records[0]
    assert len(second.table) == 1
    assert first.table[first.series[7]] == series(7)


def test_documents_and_readings_of_one_topic_are_told_apart():
    codec = Codec(SchemaIds())
    letter = dead_letter(
        "dlq.telemetry",
        stage="validator-0",
        rule="range",
        reason="85 is over 80",
        source=("telemetry.raw", 3, 42),
        arrived_at=NOW,
        original=reading(),
        asset="press_0",
        parameter="force",
    )
    assert letter.key == b"press_0"
    wire = codec.encode_document(letter)
    decoded = codec.decode("t", 0, messages([reading(), wire, b"junk", reading()]))
    assert decoded.records[0].offsets.tolist() == [0, 3]
    assert [(d.schema, d.offset, d.wire) for d in decoded.documents] == [("dead_letter", 1, wire)]
    assert decoded.documents[0].arrived == decoded.records[0].arrived[0]
    assert decoded.documents[0].fields == letter.fields
    assert [p.offset for p in decoded.poison] == [2]


@pytest.mark.parametrize("schema", ["event", "dead_letter", "aggregate"])
def test_a_document_that_does_not_fit_is_refused_in_words(schema):
    letter = dead_letter("t", stage="s", rule="r", reason="x", source=("", -1, -1), arrived_at=0, original=b"")
    letter.schema = schema
    letter.fields = {**letter.fields, "arrived_at": "yesterday"}
    with pytest.raises(ValueError, match=f"does not fit the schema {schema}"):
        Codec(SchemaIds()).encode_document(letter)


def test_an_empty_batch_is_nothing():
    decoded = Codec(SchemaIds()).decode("t", 0, [])
    assert (decoded.records, decoded.documents, decoded.poison) == ([], [], [])


def test_events_carry_their_details():
    details = {"expected": 1.0, "missing": 3, "why": "gone", "known": True, "none": None}
    fields = json.loads(json.dumps({"asset_id": "a", "parameter": "p", "kind": "gap", "message": "m"}))
    fields |= {"device_time": NOW, "gateway_time": NOW, "details": details}
    codec = Codec(SchemaIds())
    letter = dead_letter("t", stage="s", rule="r", reason="x", source=("", -1, -1), arrived_at=0, original=b"")
    letter.schema, letter.fields = "event", fields
    read = codec.decode("events.clean", 0, messages([codec.encode_document(letter)])).documents[0].fields
    assert read == fields
    assert [type(v) for v in read["details"].values()] == [type(v) for v in details.values()]
