"""A PostgreSQL sink as the tests configure it, what they give it, and what is then in the database."""

from __future__ import annotations

from sinks.contract import Batch, Origin
from sinks.postgres.config import PostgresConfig
from sinks.postgres.sink import PostgresSink
from tests.kit.postgres import query
from tests.kit.records import NOON, aggregate, event, readings, series

ORIGIN = Origin("g1", "stream-1")
AT = ("telemetry.clean", 0)


def sink_for(dsn: str, origin: Origin = ORIGIN, **other: object) -> PostgresSink:
    config = {"id": "historian", "type": "postgres", "dsn": dsn, "topics": ["telemetry.clean"], **other}
    return PostgresSink(PostgresConfig.model_validate(config), origin)


def batch(first: int = 0, n: int = 10) -> Batch:
    """n readings whose device time and value follow from the offset."""
    return Batch([readings([(series(), NOON + i, float(i)) for i in range(first, first + n)], first=first)])


def mixed(first: int = 0, n: int = 10) -> Batch:
    """The same with an aggregate and an event."""
    return Batch(batch(first, n).readings, [aggregate(first), event(first + 1, NOON + first)])


def stored(dsn: str) -> tuple[int, int, int]:
    """Rows, distinct values, offset."""
    found = query(
        dsn, 'SELECT count(*), count(DISTINCT value), (SELECT max("offset") FROM streamforge_offsets) FROM readings'
    )
    return found[0]  # type: ignore[return-value]
