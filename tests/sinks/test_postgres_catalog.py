"""What the sink remembers of the database's ids is bounded, whatever it is given, and forgetting costs no row."""

from __future__ import annotations

import pytest

from sinks.contract import Batch
from sinks.postgres import catalog
from tests.kit.postgres import query
from tests.kit.records import NOON, aggregate, readings, series
from tests.sinks.postgres_kit import AT, sink_for

POINTS, EACH = 60, 5


def documents_only(first: int) -> Batch:
    return Batch([], [aggregate(n, parameter=f"p{n}") for n in range(first, first + EACH)])


def readings_of_a_new_table(first: int) -> Batch:
    """The same two series each time, as a decoder's table that is begun again has them."""
    return Batch([readings([(series(parameter=f"p{n % 2}"), NOON + n, float(n)) for n in range(first, first + EACH)])])


@pytest.mark.parametrize("given", [documents_only, readings_of_a_new_table])
async def test_what_is_remembered_stays_bounded_and_every_row_is_stored(given, database, monkeypatch) -> None:
    monkeypatch.setattr(catalog, "KEPT_MOST", 10)
    sink = sink_for(database)
    await sink.connect()
    most = 0
    for first in range(0, POINTS, EACH):
        assert await sink.write(given(first), {AT: first + EACH}) == []
        most = max(most, sink._session._catalog.kept)
    await sink.close()
    assert most <= 10 + 2 * EACH
    rows = query(database, "SELECT (SELECT count(*) FROM aggregates) + (SELECT count(*) FROM readings)")
    assert rows == [(POINTS,)]
