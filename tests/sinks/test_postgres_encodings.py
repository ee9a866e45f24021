"""Databases that are not in UTF-8, and roles with limits of their own: what they can hold arrives, what they cannot is said."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest

from sinks.contract import Batch
from sinks.postgres.session import Session
from tests.kit.postgres import Postgres, query
from tests.kit.records import NOON, aggregate, event, readings, series
from tests.sinks.postgres_kit import AT, batch, sink_for, stored


def database_in(postgres: Postgres, encoding: str) -> str:
    name = f"t_{uuid.uuid4().hex[:12]}"
    with closing(psycopg2.connect(postgres.dsn())) as connection:
        connection.autocommit = True
        connection.cursor().execute(
            f"CREATE DATABASE {name} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        )
    return postgres.dsn(name)


@pytest.fixture(params=["LATIN1", "SQL_ASCII", "WIN1252"])
def encoded(request: pytest.FixtureRequest, postgres: Postgres) -> Iterator[str]:
    dsn = database_in(postgres, request.param)
    yield dsn
    postgres.drop(dsn)


async def test_degrees_and_micrometres_arrive_in_every_encoding(encoded: str) -> None:
    sink = sink_for(encoded)
    await sink.connect()
    hot, thin = series("Öfen", "température", "°C"), series("Öfen", "µ", "µm")
    rows = readings([(hot, NOON, 1.5), (thin, NOON, "± 3 µm")], reason="über 80 °C")
    documents = [aggregate(2, asset_id="Öfen", unit="°C"), event(3, message="zu heiß: 90 °C", details={"wo": "Öfen"})]
    assert await sink.write(Batch([rows], documents), {AT: 4}) == []
    await sink.close()
    utf8 = f"{encoded}?client_encoding=UTF8"
    found = query(utf8, "SELECT asset_id, unit, value_text, quality_reason FROM readings_view ORDER BY parameter")
    assert found == [("Öfen", "°C", "1.5", "über 80 °C"), ("Öfen", "µm", "± 3 µm", "über 80 °C")]
    assert query(utf8, "SELECT message, details->>'wo' FROM events_view") == [("zu heiß: 90 °C", "Öfen")]
    assert query(utf8, "SELECT asset_id, unit FROM aggregates_view") == [("Öfen", "°C")]


async def test_what_an_encoding_cannot_hold_goes_to_the_dead_letters_with_the_cure(postgres: Postgres) -> None:
    dsn = database_in(postgres, "LATIN1")
    sink = sink_for(dsn)
    await sink.connect()
    rows = readings(
        [(series(), NOON, 1.0), (series("oven", "resistance", "Ω"), NOON, 2.0), (series(), NOON + 1, "10 kΩ")]
    )
    refused = await sink.write(Batch([rows]), {AT: 3})
    await sink.close()
    assert [r.offset for r in refused] == [1, 2]
    assert all('has no equivalent in encoding "LATIN1"; right would be a database in UTF8' in r.reason for r in refused)
    assert query(dsn, "SELECT value FROM readings") == [(1.0,)]
    postgres.drop(dsn)


async def test_a_roles_own_limits_do_not_hold_for_the_sink(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    role = f"r{uuid.uuid4().hex[:10]}"
    query(database, f"CREATE ROLE {role} LOGIN SUPERUSER")
    for limit in ("idle_in_transaction_session_timeout", "lock_timeout", "statement_timeout"):
        query(database, f"ALTER ROLE {role} SET {limit} = '200ms'")
    query(database, f"ALTER ROLE {role} SET search_path = nonsense")
    run = Session._run

    def slowly(self: Session, statement: str, *values: object) -> list[tuple[object, ...]]:
        time.sleep(0.25)  # a machine under load
        return run(self, statement, *values)

    monkeypatch.setattr(Session, "_run", slowly)
    sink = sink_for(database.replace("postgres@", f"{role}@"))
    await sink.connect()
    await sink.write(batch(0), {AT: 10})
    await sink.close()
    assert stored(database) == (10, 10, 10)
    query(database, f"DROP OWNED BY {role}; DROP ROLE {role}")
