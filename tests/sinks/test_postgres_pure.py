"""The sink's pure parts: rows of a batch, the COPY format, the pace, configuration, what errors mean."""

from __future__ import annotations

import struct

import numpy as np
import psycopg2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.records import Value
from sinks.postgres.config import PostgresConfig
from sinks.postgres.copy import HEADER, TRAILER, encode, plain_first
from sinks.postgres.errors import Meaning, meaning
from sinks.postgres.pace import LONGEST, Pace
from sinks.postgres.rows import columns, newest_of_each_key
from tests.kit.records import NOON, readings, series

EPOCH_2000 = 946_684_800_000_000
values = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.text(max_size=5))


def ids(table: list, point: int = 7, number: int = 9):
    return np.full(len(table), point, np.int32), np.full(len(table), number, np.int32)


def fields_of(stream: bytes) -> list[list[bytes | None]]:
    """A COPY stream, read as the manual says."""
    assert stream.startswith(HEADER)
    assert stream.endswith(TRAILER)
    at, rows = len(HEADER), []
    while (n := struct.unpack_from(">h", stream, at)[0]) >= 0:
        at += 2
        row: list[bytes | None] = []
        for _ in range(n):
            size = struct.unpack_from(">i", stream, at)[0]
            row.append(None if size < 0 else stream[at + 4 : at + 4 + size])
            at += 4 + max(size, 0)
        rows.append(row)
    assert at == len(stream) - 2
    return rows


@given(st.lists(st.tuples(values, st.one_of(st.none(), st.text(max_size=3))), min_size=1, max_size=30))
def test_the_copy_stream_holds_every_row_in_order(given_rows: list[tuple[Value, str | None]]) -> None:
    records = readings([(series(), NOON + i, v) for i, (v, _) in enumerate(given_rows)])
    records.reason = {i: reason for i, (_, reason) in enumerate(given_rows) if reason is not None}
    joined = columns([records], [ids(records.table)])
    rows = plain_first(joined, np.arange(len(records)))
    assert sorted(rows.tolist()) == list(range(len(records)))
    for row, fields in zip(rows.tolist(), fields_of(encode(joined, rows)), strict=True):
        value, reason = given_rows[row]
        point, number, device, gateway, quality, kind, double, whole, text, why = fields
        assert (point, number, quality) == (struct.pack(">i", 7), struct.pack(">i", 9), b"\0\0")
        assert struct.unpack(">q", device) == (NOON + row - EPOCH_2000,)
        assert struct.unpack(">q", gateway) == (NOON + row - EPOCH_2000,)
        assert struct.unpack(">h", kind)[0] == records.kind[row]
        is_number = isinstance(value, bool | int | float)
        assert double == (struct.pack(">d", float(value)) if is_number else None)
        exact = type(value) is int and abs(value) > 2**53
        assert whole == (struct.pack(">q", value) if exact else None)
        assert text == (value.encode("utf-8", "surrogatepass") if isinstance(value, str) else None)
        assert why == (None if reason is None else reason.encode())


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=40))
def test_of_the_same_key_the_last_stays_and_rows_are_sorted_by_key(keys: list[tuple[int, int]]) -> None:
    points = [series(f"a{n}") for n in range(4)]
    records = readings([(points[p], NOON + t, 1.0) for p, t in keys], table=points)
    joined = columns([records], [(np.arange(4, dtype=np.int32), np.zeros(4, np.int32))])
    kept = newest_of_each_key(joined).tolist()
    assert [keys[row] for row in kept] == sorted(set(keys))
    assert all(row == max(r for r, key in enumerate(keys) if key == keys[row]) for row in kept)


def test_rows_of_many_partitions_know_where_they_came_from() -> None:
    one, two = readings([(series(), NOON, 1.0)] * 3), readings([(series(), NOON + 9, "x")] * 2, first=50, partition=4)
    joined = columns([one, two], [ids(one.table), ids(two.table)])
    assert joined.text == {3: "x", 4: "x"}
    refused = joined.refused(4, "why")
    assert (refused.partition, refused.offset, refused.wire, refused.reason) == (4, 51, b"telemetry.clean/4/51", "why")


def test_a_partition_that_clashes_goes_by_staging_ever_longer_and_comes_back() -> None:
    pace, at, other = Pace(), ("t", 0), ("t", 1)
    assert pace.straight(at)
    staged = []
    for _ in range(3):
        pace.clashed(at)
        n = 0
        while not pace.straight(at):
            n += 1
        staged.append(n)
        assert pace.straight(other)
    assert staged == [2, 4, 8]
    for _ in range(20):
        pace.clashed(at)
    assert sum(not pace.straight(at) for _ in range(2 * LONGEST)) == LONGEST
    for _ in range(10):
        pace.went_well(at)
    pace.clashed(at)
    assert sum(not pace.straight(at) for _ in range(10)) == 2


BASE = {"id": "h", "type": "postgres", "dsn": "postgresql://u@h/d", "topics": ["telemetry.clean"]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dsn": "postgresql://u:secret@h/d"}, "contains the password"),
        ({"dsn": "not a dsn"}, "is not a connection string"),
        ({"topics": ["audit_trail"]}, "has no table here"),
        ({"topics": []}, "at least 1 item"),
        ({"topics": ["telemetry.raw", "telemetry.clean"]}, "hold the same readings"),
        ({"schema_name": 'a"b'}, "is not a plain name"),
        ({"table_prefix": "a-b"}, "is not a plain name"),
        ({"write_timeout": 5}, "has no unit"),
        ({"surprise": 1}, "Extra inputs are not permitted"),
    ],
)
def test_a_wrong_configuration_is_refused_in_words(change: dict, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        PostgresConfig.model_validate({**BASE, **change})
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("dsn", "place"),
    [
        ("postgresql://u@h:6000/d", "h:6000/d"),
        ("host=h dbname=d user=u", "h:5432/d"),
        ("postgresql:///d?host=/run/pg", "/run/pg:5432/d"),
        ("dbname=d", "localhost:5432/d"),
        ("host=a,b port=6000,6001 dbname=d", "a:6000,b:6001/d"),
        ("postgresql://u@a,b/d", "a:5432,b:5432/d"),
    ],
)
def test_messages_name_the_place_only(dsn: str, place: str) -> None:
    assert PostgresConfig.model_validate({**BASE, "dsn": dsn}).place() == place


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("fe_sendauth: no password supplied", Meaning.PERSON),
        ("server does not support SSL, but SSL was required", Meaning.PERSON),
        ("SSL error: certificate verify failed", Meaning.PERSON),
        ('server certificate for "db" does not match host name "10.0.0.7"', Meaning.PERSON),
        ('invalid sslmode value: "often"', Meaning.PERSON),
        ("FATAL:  no such user: u", Meaning.PERSON),
        ("FATAL:  pgbouncer cannot connect to server", Meaning.WAIT),
        ("SSL SYSCALL error: EOF detected", Meaning.WAIT),
        ("connection refused", Meaning.WAIT),
        ("server closed the connection unexpectedly", Meaning.WAIT),
        ("could not translate host name", Meaning.WAIT),
    ],
)
def test_errors_without_a_code_are_told_by_their_words(text: str, what: Meaning) -> None:
    assert meaning(psycopg2.OperationalError(text)) is what


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("22P02", Meaning.REFUSED), ("38000", Meaning.REFUSED), ("21000", Meaning.REFUSED), ("22P03", Meaning.PERSON), ("54001", Meaning.WAIT),
        ("57P03", Meaning.WAIT), ("57P05", Meaning.WAIT), ("25P03", Meaning.WAIT), ("58030", Meaning.WAIT), ("28000", Meaning.PERSON),
        ("22021", Meaning.REFUSED), ("23514", Meaning.REFUSED), ("P0001", Meaning.REFUSED), ("54000", Meaning.REFUSED),
        ("40P01", Meaning.WAIT), ("40001", Meaning.WAIT), ("53100", Meaning.WAIT), ("53300", Meaning.WAIT), ("55P03", Meaning.WAIT),
        ("57P01", Meaning.WAIT), ("57014", Meaning.WAIT), ("25006", Meaning.WAIT), ("08006", Meaning.WAIT), ("XX000", Meaning.WAIT),
        ("28P01", Meaning.PERSON), ("3D000", Meaning.PERSON), ("42703", Meaning.PERSON), ("42P01", Meaning.PERSON), ("42501", Meaning.PERSON),
    ],
)  # fmt: skip
def test_every_class_of_error_has_a_meaning(database: str, code: str, what: Meaning) -> None:
    with (
        psycopg2.connect(database) as connection,
        connection.cursor() as cursor,
        pytest.raises(psycopg2.Error) as caught,
    ):
        cursor.execute(f"DO $$BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{code}'; END$$")
    connection.close()
    assert caught.value.pgcode == code
    assert meaning(caught.value) is what
