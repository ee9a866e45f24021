"""Rows the database refuses: found among the others, reported in its own words, kept until their dead letters are written."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import Records, Rows
from sinks.contract import Batch, NeedsPerson
from sinks.postgres.isolate import Failure, isolate
from sinks.postgres.sink import PostgresSink
from tests.kit.postgres import query
from tests.kit.records import NOON, aggregate, event, readings, series
from tests.sinks.postgres_kit import sink_for


@pytest.fixture
async def sink(database: str) -> AsyncIterator[PostgresSink]:
    sink = sink_for(database)
    await sink.connect()
    yield sink
    await sink.close()


@given(st.sets(st.integers(0, 60)), st.integers(0, 60), st.booleans())
def test_exactly_the_bad_rows_are_refused_and_the_others_written_once(bad: set[int], n: int, named: bool) -> None:
    written: list[int] = []

    def attempt(rows: Rows) -> Failure | None:
        wrong = [at for at, row in enumerate(rows.tolist()) if row in bad]
        if wrong:
            return Failure(f"row {rows[wrong[0]]}", wrong[0] if named else None)
        written.extend(rows.tolist())
        return None

    refused = isolate(np.arange(n), attempt)
    assert sorted(written) == [row for row in range(n) if row not in bad]
    assert refused == [(row, f"row {row}") for row in range(n) if row in bad]


def test_a_row_that_the_database_names_costs_three_attempts() -> None:
    attempts = []

    def attempt(rows: Rows) -> Failure | None:
        attempts.append(len(rows))
        at = np.flatnonzero(rows == 700)
        return Failure("no", int(at[0])) if len(at) else None

    isolate(np.arange(10_000), attempt)
    assert attempts == [10_000, 700, 1, 9_299]


def test_where_every_row_is_bad_none_is_sent_thousands_of_times() -> None:
    sent = []

    def attempt(rows: Rows) -> Failure:
        sent.append(len(rows))
        return Failure("no", 0)

    assert len(isolate(np.arange(5000), attempt)) == 5000
    assert sum(sent) < 5000 * 150


def many(n: int, odd: dict[int, object]) -> Records:
    """n readings, some with other values."""
    return readings([(series(), NOON + i, odd.get(i, float(i))) for i in range(n)])  # type: ignore[misc]


async def test_a_row_refused_by_a_constraint_of_the_user_is_isolated(sink: PostgresSink, database: str) -> None:
    query(database, "ALTER TABLE readings ADD CONSTRAINT plausible CHECK (value < 1000)")
    refused = await sink.write(Batch([many(500, {17: 2000.0, 480: 3000.0})]), {("telemetry.clean", 0): 500})
    assert [(r.offset, r.wire, r.asset, r.parameter) for r in refused] == [
        (17, b"telemetry.clean/0/17", "press", "speed"), (480, b"telemetry.clean/0/480", "press", "speed"),
    ]  # fmt: skip
    assert 'violates check constraint "plausible"' in refused[0].reason
    assert query(database, "SELECT count(*), max(value) FROM readings") == [(498, 499.0)]
    assert query(database, 'SELECT "offset" FROM streamforge_offsets') == [(500,)]


async def test_refused_records_that_cannot_be_kept_undo_the_batch(sink: PostgresSink, database: str) -> None:
    """They are of one transaction with the rows and the offsets: else a crash in between would lose them without a word."""
    query(
        database, "ALTER TABLE readings ADD CONSTRAINT plausible CHECK (value < 1000); DROP TABLE streamforge_refused"
    )
    with pytest.raises(NeedsPerson, match="streamforge_refused"):
        await sink.write(Batch([many(10, {7: 2000.0})]), {("telemetry.clean", 0): 10})
    assert query(database, "SELECT count(*) FROM readings") == [(0,)]
    assert query(database, "SELECT count(*) FROM streamforge_offsets") == [(0,)]


async def test_a_row_refused_by_a_trigger_on_the_staging_way_is_isolated(sink: PostgresSink, database: str) -> None:
    query(
        database,
        """CREATE FUNCTION no_42() RETURNS trigger LANGUAGE plpgsql AS
        $$BEGIN IF NEW.value = 42 THEN RAISE EXCEPTION 'not 42 please'; END IF; RETURN NEW; END$$;
        CREATE TRIGGER no_42 BEFORE INSERT OR UPDATE ON readings FOR EACH ROW EXECUTE FUNCTION no_42()""",
    )
    await sink.write(Batch([readings([(series(), NOON, 0.5)])]), {})
    refused = await sink.write(Batch([many(100, {0: 1.5})]), {})
    assert [(r.offset, r.reason) for r in refused] == [(42, "not 42 please")]
    assert query(database, "SELECT count(*), min(value) FROM readings") == [(99, 1.0)]


async def test_a_deferred_constraint_of_the_user_refuses_only_its_row(sink: PostgresSink, database: str) -> None:
    query(database, "ALTER TABLE readings ADD CONSTRAINT once UNIQUE (value) DEFERRABLE INITIALLY DEFERRED")
    refused = await sink.write(Batch([many(50, {9: 8.0})]), {})
    assert [r.offset for r in refused] in ([8], [9])
    assert query(database, "SELECT count(*) FROM readings") == [(49,)]


async def test_texts_the_database_cannot_hold_are_refused_in_its_words(sink: PostgresSink, database: str) -> None:
    records = many(100, {5: "null\0byte", 50: "half \ud800 a pair", 60: "fine"})
    refused = await sink.write(Batch([records]), {})
    assert [r.offset for r in refused] == [5, 50]
    assert all("invalid byte sequence for encoding" in r.reason for r in refused)
    assert query(database, "SELECT count(*) FROM readings") == [(98,)]


async def test_times_the_database_cannot_hold_are_refused_and_far_ones_kept(sink: PostgresSink, database: str) -> None:
    year_10_000 = 253_402_300_800_000_000
    times = [NOON, -(2**63) + 1, 0, year_10_000, -62_135_596_800_000_000]
    refused = await sink.write(Batch([readings([(series(), t, 1.0) for t in times])]), {})
    assert [(r.offset, r.reason) for r in refused] == [(1, "timestamp out of range")]
    in_micros = "extract(epoch FROM device_time) * 1000000"
    assert query(database, f"SELECT {in_micros} FROM readings ORDER BY 1") == [(t,) for t in sorted(times)[1:]]


async def test_a_name_that_can_have_no_id_refuses_its_readings_only(sink: PostgresSink, database: str) -> None:
    nul, endless, fine = series("a\0b"), series("".join(chr(0x4E00 + i * 7919 % 20_000) for i in range(4000))), series()
    records = readings([(nul, NOON, 1.0), (endless, NOON, 1.0), (fine, NOON, 1.0), (nul, NOON + 1, 1.0)])
    for _ in range(2):
        refused = await sink.write(Batch([records]), {})
        assert [r.offset for r in refused] == [0, 1, 3]
        assert "NUL" in refused[0].reason
        assert "index row" in refused[1].reason
    assert query(database, "SELECT count(*) FROM readings") == [(1,)]
    assert [r.asset for r in await sink.unsent()] == ["a\\0b", endless.asset, "a\\0b"]


async def test_documents_are_isolated_too(sink: PostgresSink, database: str) -> None:
    query(database, "ALTER TABLE aggregates ADD CHECK (avg < 100)")
    several = [aggregate(0), aggregate(1, NOON + 10**6, avg=500.0), aggregate(2, NOON + 2 * 10**6)]
    events = [
        event(3, message="bad\0"),
        event(4, NOON + 1),
        event(5, NOON + 2, details={"why": "\0"}),
        event(6, asset_id="a\0"),
    ]
    refused = await sink.write(Batch(documents=[*several, *events]), {})
    assert [(r.topic, r.offset) for r in refused] == [
        ("events.clean", 3),
        ("events.clean", 5),
        ("events.clean", 6),
        ("telemetry.1s", 1),
    ]
    assert query(database, "SELECT (SELECT count(*) FROM aggregates), (SELECT count(*) FROM events)") == [(2, 1)]


async def test_refusals_outlive_a_crash_until_they_are_sent(sink: PostgresSink, database: str) -> None:
    query(database, "ALTER TABLE readings ADD CHECK (value < 1000)")
    refused = await sink.write(Batch([many(10, {3: 2000.0, 7: 3000.0})]), {("telemetry.clean", 0): 10})
    again = sink_for(database)
    await again.connect()
    assert await again.unsent() == refused
    await again.sent(refused[:1])
    assert await again.unsent() == refused[1:]
    await again.close()


async def test_everything_refused_still_moves_on(sink: PostgresSink, database: str) -> None:
    query(database, "ALTER TABLE readings ADD CHECK (value < -1)")
    refused = await sink.write(Batch([many(1000, {})]), {("telemetry.clean", 0): 1000})
    assert len(refused) == 1000
    assert query(database, 'SELECT "offset" FROM streamforge_offsets') == [(1000,)]
