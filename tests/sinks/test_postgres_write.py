"""What the sink writes into a real database, and what one reads there."""

from __future__ import annotations

import asyncio
import datetime as dt
import math
from collections.abc import AsyncIterator

import pytest

from schemas.records import NO_TIME, Classification, Quality, Value
from sinks.contract import Batch, Origin
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


async def test_a_reading_reads_as_in_the_stream(sink: PostgresSink, database: str) -> None:
    records = readings([(series(), NOON - 333_000, 85.4)], quality=Quality.SUSPECT, reason="rate_of_change: 9 rpm/s")
    await sink.write(Batch([records]), {("telemetry.clean", 0): 1})
    row = query(database, "SELECT * FROM readings_view")[0]
    noon = dt.datetime(2026, 1, 29, 12, tzinfo=dt.UTC)
    assert row == (
        "press", "speed", 85.4, "85.4", "double", "rpm", "SUSPECT", "rate_of_change: 9 rpm/s", "TELEMETRY",
        noon - dt.timedelta(milliseconds=333), noon, 333, "plc", "1.0.0", None, "g1",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("value", "number", "text", "kind"),
    [
        (1.5, 1.5, "1.5", "double"),
        (-0.0, -0.0, "-0", "double"),
        (5e-324, 5e-324, "5e-324", "double"),
        (math.inf, math.inf, "Infinity", "double"),
        (7, 7.0, "7", "long"),
        (2**63 - 1, 9.223372036854775807e18, "9223372036854775807", "long"),
        (-(2**63), -9.223372036854775808e18, "-9223372036854775808", "long"),
        (2**53 + 1, 9007199254740992.0, "9007199254740993", "long"),
        (True, 1.0, "true", "boolean"),
        (False, 0.0, "false", "boolean"),
        ("", None, "", "string"),
        ("Förderband läuft 😀 \u202e", None, "Förderband läuft 😀 \u202e", "string"),
        (None, None, None, "null"),
    ],
)
async def test_every_kind_of_value_comes_back(
    sink: PostgresSink, database: str, value: Value, number: float | None, text: str | None, kind: str
) -> None:
    await sink.write(Batch([readings([(series(), NOON, value), (series("other"), NOON, 1.0)])]), {})
    got = query(database, "SELECT value, value_text, value_type FROM readings_view WHERE asset_id = 'press'")
    assert got == [(number, text, kind)]
    assert str(got[0][0]) == str(number)


async def test_not_a_number_stays_not_a_number(sink: PostgresSink, database: str) -> None:
    await sink.write(Batch([readings([(series(), NOON, math.nan)])]), {})
    assert query(database, "SELECT value = 'NaN' FROM readings_view") == [(True,)]


async def test_a_reading_without_device_time_stands_at_its_gateway_time(sink: PostgresSink, database: str) -> None:
    records = readings([(series(), None, 1.0)])
    assert records.device_time[0] == NO_TIME
    await sink.write(Batch([records]), {})
    assert query(database, "SELECT device_time = gateway_time, clock_skew_ms FROM readings_view") == [(True, 0)]


async def test_the_same_key_again_is_overwritten_and_the_last_of_a_batch_wins(
    sink: PostgresSink, database: str
) -> None:
    first = readings([(series(), NOON, 1.0), (series(), NOON, 2.0), (series(), NOON + 1, 3.0)])
    await sink.write(Batch([first]), {})
    assert query(database, "SELECT value FROM readings ORDER BY device_time") == [(2.0,), (3.0,)]
    again = readings([(series(), NOON + 1, 4.0), (series(), NOON + 2, "five")], first=3)
    await sink.write(Batch([again]), {})
    assert query(database, "SELECT value, text FROM readings ORDER BY device_time") == [
        (2.0, None),
        (4.0, None),
        (None, "five"),
    ]


async def test_a_later_adapter_version_is_the_same_point(sink: PostgresSink, database: str) -> None:
    await sink.write(Batch([readings([(series(), NOON, 1.0)])]), {})
    newer = series(adapter_version="2.0.0", unit="1/min")
    await sink.write(Batch([readings([(newer, NOON, 1.0), (newer, NOON + 1, 2.0)])]), {})
    got = query(database, "SELECT value, unit, adapter_version FROM readings_view ORDER BY device_time")
    assert got == [(1.0, "1/min", "2.0.0"), (2.0, "1/min", "2.0.0")]
    assert query(database, "SELECT count(*) FROM points") == [(1,)]


async def test_a_change_of_unit_does_not_rewrite_the_past(sink: PostgresSink, database: str) -> None:
    await sink.write(Batch([readings([(series(unit="bar"), NOON, 1.0)])]), {})
    await sink.write(Batch([readings([(series(unit=None), NOON + 1, 2.0)])]), {})
    assert query(database, "SELECT unit FROM readings_view ORDER BY device_time") == [("bar",), (None,)]


async def test_offsets_come_back_at_the_next_connect_for_the_same_stream_only(database: str) -> None:
    first = sink_for(database)
    assert await first.connect() == {}
    await first.write(
        Batch([readings([(series(), NOON, 1.0)])]), {("telemetry.clean", 0): 1, ("telemetry.clean", 3): 7}
    )
    await first.write(Batch(), {("telemetry.clean", 0): 2})
    await first.close()
    again = sink_for(database)
    assert await again.connect() == {("telemetry.clean", 0): 2, ("telemetry.clean", 3): 7}
    await again.close()
    for stranger in (sink_for(database, Origin("g1", "another stream")), sink_for(database, Origin("g2", "stream-1"))):
        assert await stranger.connect() == {}
        await stranger.close()


async def test_an_aggregate_emitted_again_replaces_the_first(sink: PostgresSink, database: str) -> None:
    await sink.write(Batch(documents=[aggregate(0), aggregate(1, NOON + 10**6, avg=None, unit=None)]), {})
    await sink.write(Batch(documents=[aggregate(2, count=11, avg=2.5), aggregate(3, count=12, avg=3.5)]), {})
    got = query(
        database,
        "SELECT asset_id, parameter, unit, interval, count, avg, percent_good FROM aggregates_view ORDER BY window_start",
    )
    assert got == [("press", "speed", "rpm", "1s", 12, 3.5, 100.0), ("press", "speed", None, "1s", 10, None, 100.0)]


async def test_events_and_changes_of_state_are_read_in_one_view(sink: PostgresSink, database: str) -> None:
    door = series("press", "door_open", None, classification=Classification.EVENT)
    gap = event(1, details={"expected": 1.0, "missing": 3, "worst": math.nan, "why": "cable"})
    states = readings([(door, NOON + 1, True)], topic="events.clean")
    await sink.write(Batch([states], [gap]), {})
    got = query(database, "SELECT parameter, kind, message, details FROM events_view ORDER BY device_time")
    assert got == [
        ("speed", "gap", "3 missing", {"expected": 1.0, "missing": 3, "worst": "NaN", "why": "cable"}),
        ("door_open", "event", "true", {"value": "true", "unit": None, "quality": "GOOD", "reason": None}),
    ]


async def test_tables_go_where_the_configuration_says(database: str) -> None:
    sink = sink_for(database, schema_name="plant", table_prefix="sf_")
    await sink.connect()
    await sink.write(Batch([readings([(series(), NOON, 1.0)])]), {})
    await sink.close()
    assert query(database, "SELECT count(*) FROM plant.sf_readings_view") == [(1,)]


async def test_two_gateways_starting_at_once_share_the_tables(database: str) -> None:
    sinks = [sink_for(database, Origin(f"g{i}", "s")) for i in range(4)]
    await asyncio.gather(*(s.connect() for s in sinks))
    records = [readings([(series(gateway_id=f"g{i}"), NOON + i, 1.0)]) for i in range(4)]
    await asyncio.gather(*(s.write(Batch([r]), {}) for s, r in zip(sinks, records, strict=True)))
    await asyncio.gather(*(s.close() for s in sinks))
    assert query(
        database, "SELECT count(*), count(DISTINCT gateway_id), count(DISTINCT asset_id) FROM readings_view"
    ) == [(4, 4, 1)]
