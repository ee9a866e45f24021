"""What we write is byte for byte what fastavro writes, and what we read is what fastavro reads, for everything Avro can hold."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.records import NO_TIME, Classification, Document, Kind, Quality, Series
from stream.codec import Codec, SchemaIds, Template, encode_columns
from stream.codec.avro import decode as decode_avro
from stream.codec.avro import encode, parsed
from stream.codec.template import prefix
from tests.kit.messages import messages, series_fields

IDS = SchemaIds()
BRANCH = {float: "double", int: "long", bool: "boolean", str: "string"}

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(["", "a" * 300, "ä€😀\0"])
longs = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, 63, 64, -64, -65, 2**53 + 1, -(2**63), 2**63 - 1])
doubles = st.floats(width=64) | st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 5e-324])
values = st.none() | doubles | longs | st.booleans() | texts
times = (
    st.integers(1_500_000_000_000_000, 1_900_000_000_000_000)
    | st.integers(-(2**62), 2**62)
    | st.sampled_from([0, -1, 2**48 - 1, 2**48, 2**55 - 1, 2**55])
)
series = st.builds(
    Series,
    asset=texts,
    parameter=texts,
    unit=st.none() | texts,
    classification=st.sampled_from(Classification),
    adapter_id=texts,
    adapter_version=texts,
    pipeline_id=st.none() | texts,
    gateway_id=texts,
)


@dataclass
class Row:
    series: Series
    value: object
    gateway_time: int
    device_time: int | None
    quality: Quality
    reason: str | None
    raw: bytes | None


rows = st.builds(
    Row,
    series=series,
    value=values,
    gateway_time=times,
    device_time=st.none() | times,
    quality=st.sampled_from(Quality),
    reason=st.none() | texts,
    raw=st.none() | st.binary(max_size=100),
)


def by_fastavro(row: Row) -> bytes:
    return encode(
        "reading",
        1,
        {
            **series_fields(row.series, prefix(row.series, 1)[5:13]),
            "timestamps": {"device_time": row.device_time, "gateway_time": row.gateway_time},
            "value": None if row.value is None else (BRANCH[type(row.value)], row.value),
            "quality": row.quality.name,
            "quality_reason": row.reason,
            "raw": row.raw,
        },
    )


def by_template(row: Row) -> bytes:
    return Template(row.series, 1).encode(
        row.value, row.gateway_time, row.device_time, row.quality, row.reason, row.raw
    )


def same(a, b):
    """Equal, with every NaN and zero told apart by its bits."""
    if isinstance(a, float) and isinstance(b, float):
        return struct.pack("<d", a) == struct.pack("<d", b)
    return type(a) is type(b) and a == b


def assert_row(records, at, row: Row):
    assert records.table[records.series[at]] == row.series
    assert same(records.value(at), row.value)
    assert records.device_time[at] == (NO_TIME if row.device_time is None else row.device_time)
    assert records.gateway_time[at] == row.gateway_time
    assert records.quality[at] == row.quality
    assert records.reason.get(at) == row.reason


@given(rows)
def test_a_template_writes_what_fastavro_writes(row):
    assert by_template(row) == by_fastavro(row)


@given(st.lists(rows, max_size=20))
def test_a_batch_is_read_as_it_was_written(batch):
    codec = Codec(IDS)
    for _ in range(2):  # the second time every series is known
        decoded = codec.decode("telemetry.raw", 3, messages(map(by_fastavro, batch)))
        assert not decoded.poison
        assert not decoded.documents
        for at, row in enumerate(batch):
            assert_row(decoded.records[0], at, row)


shapes = st.tuples(
    st.integers(16, 40),
    st.sampled_from([None, 0, 4, 63, 64]),
    st.booleans(),
    st.sampled_from([1_700_000_000_000_000, 0, 2**55]),
)


@given(shapes, st.data())
def test_columns_write_what_templates_write(shape, data):
    """Whether the rows are alike (the NumPy way) or not."""
    n, raw_size, with_device_time, gateway_time = shape
    templates = [Template(one, 1) for one in data.draw(st.lists(series, min_size=1, max_size=3))]
    which = [templates[i % len(templates)] for i in range(n)]
    numbers = data.draw(st.lists(doubles, min_size=n, max_size=n))
    device = data.draw(st.lists(times, min_size=n, max_size=n)) if with_device_time else None
    qualities = data.draw(st.none() | st.lists(st.sampled_from(Quality), min_size=n, max_size=n))
    raws = None if raw_size is None else [bytes([i]) * raw_size for i in range(n)]
    got = encode_columns(which, numbers, gateway_time, device, qualities, None, raws)
    assert got == [
        t.encode(
            numbers[i],
            gateway_time,
            device[i] if device else None,
            qualities[i] if qualities else 0,
            None,
            raws[i] if raws else None,
        )
        for i, t in enumerate(which)
    ]


@given(st.lists(rows, min_size=1, max_size=10), st.data())
def test_judged_bytes_are_what_fastavro_writes(batch, data):
    codec = Codec(IDS)
    records = codec.decode("telemetry.raw", 0, messages(map(by_fastavro, batch))).records[0]
    chosen = sorted(data.draw(st.sets(st.sampled_from(range(len(batch))))))
    quality = [data.draw(st.sampled_from(Quality)) for _ in chosen]
    reasons = {row: data.draw(texts) for row in chosen if data.draw(st.booleans())}
    got = codec.judged(records, np.array(chosen, np.intp), np.array(quality, np.uint8), reasons)
    for row, code in zip(chosen, quality, strict=True):
        batch[row].quality, batch[row].reason = code, reasons.get(row, batch[row].reason)
    assert got == [by_fastavro(batch[row]) for row in chosen]


maybe = st.none() | doubles
aggregates = st.fixed_dictionaries(
    {
        "asset_id": texts,
        "parameter": texts,
        "unit": st.none() | texts,
        "interval": st.sampled_from(["1s", "10s", "1min", "1hour"]),
        "window_start": times,
        "window_end": times,
        **dict.fromkeys(("count", "good", "suspect", "uncertain", "bad"), longs),
        **dict.fromkeys(("avg", "min", "max", "stddev", "p50", "p95", "p99", "first", "last"), maybe),
        "percent_good": doubles,
        "gateway_id": texts,
    }
)


@given(aggregates)
def test_an_aggregate_is_written_as_fastavro_writes_it_and_read_back(fields):
    codec = Codec(IDS)
    wire = codec.encode_document(Document("telemetry.1s", b"k", "aggregate", fields))
    assert wire == encode("aggregate", 3, fields)
    read = codec.decode("telemetry.1s", 1, messages([wire])).documents[0]
    assert (read.schema, read.partition, read.offset) == ("aggregate", 1, 0)
    assert all(same(read.fields[name], value) for name, value in fields.items())


@settings(max_examples=300)
@given(st.data())
def test_damaged_records_never_raise_and_never_lie(data):
    """A flipped, cut or lengthened record is poison, or exactly what fastavro reads from the same bytes."""
    row = data.draw(rows)
    wire = bytearray(by_fastavro(row))
    codec = Codec(IDS)
    codec.decode("t", 0, messages([bytes(wire)]))
    for _ in range(data.draw(st.integers(1, 3))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(wire[: data.draw(st.integers(0, len(wire)))]) + data.draw(st.binary(max_size=3))
    good = by_fastavro(row)
    decoded = codec.decode("t", 0, messages([good, damaged, good]))
    assert [m for records in decoded.records for m in records.offsets if m != 1] == [0, 2]
    for records in decoded.records:
        for at in np.flatnonzero(records.offsets == 1):
            fields = decode_avro(damaged, parsed("reading"), parsed("reading"))
            assert same(records.value(at), fields["value"])
            assert Quality(records.quality[at]).name == fields["quality"]
            assert records.reason.get(int(at)) == fields["quality_reason"]
            assert records.gateway_time[at] == fields["timestamps"]["gateway_time"]
    count = sum(map(len, decoded.records)) + len(decoded.documents) + len(decoded.poison)
    assert count == 3


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, "\ud800", [1], b"bytes", 1j])
def test_what_cannot_be_written_is_refused_in_words(value):
    template = Template(Series("press", "force", None, Classification.TELEMETRY, "a", "1", None, "g"), 1)
    with pytest.raises(ValueError, match="press force: "):
        template.encode(value, 1_700_000_000_000_000)


@pytest.mark.parametrize(
    "value", [np.float32(1.5), np.int16(-7), np.bool_(True), np.float64(2.5), np.uint64(2**63 - 1)]
)
def test_numpy_values_are_written_as_their_python_kin(value):
    template = Template(Series("press", "force", None, Classification.TELEMETRY, "a", "1", None, "g"), 1)
    assert template.encode(value, 0) == template.encode(value.item(), 0)


def test_kinds_stand_in_the_order_of_the_union():
    assert [kind.name for kind in Kind] == ["NULL", "DOUBLE", "LONG", "BOOLEAN", "STRING"]
