"""The ids that stand for points and series in the database: looked up once, made where they are new, kept in memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class with a small name

from schemas.records import Rows, Series
from sinks.postgres.isolate import Failure, isolate
from sinks.postgres.rows import Ids
from sinks.postgres.tables import Names
from sinks.postgres.transaction import attempted

Point = tuple[str, str]
"""Asset and parameter."""

_FIND_POINTS = """SELECT asset_id, parameter, id FROM {points}
    WHERE (asset_id, parameter) IN (SELECT * FROM unnest(%s::text[], %s::text[]))"""
_ADD_POINTS = """INSERT INTO {points} (asset_id, parameter) SELECT * FROM unnest(%s::text[], %s::text[])
    ON CONFLICT (asset_id, parameter) DO NOTHING"""
_FIND_SERIES = "SELECT fingerprint, id FROM {series} WHERE fingerprint = ANY(%s)"
_ADD_SERIES = """INSERT INTO {series}
    (point, unit, classification, adapter_id, adapter_version, pipeline_id, gateway_id, fingerprint)
    SELECT * FROM unnest(%s::int[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[])
    ON CONFLICT (fingerprint) DO NOTHING"""

REFUSED = -1
"""Stands for the id of what the database refused."""
KEPT_MOST = 3_000_000
"""Points, series, their places in decoders' tables and refusals kept in memory; beyond that all are forgotten and looked up again."""

_Lookup = Callable[[list[Any]], None]


class Catalog:
    """What is known of one database. Made anew with each connection: another database may answer there the next time.

    The caller asks in a transaction of its own before the batch that needs the ids: an id without readings harms nobody, and
    what is kept in memory is true whatever becomes of the batch. Where that transaction fails the connection is given up.
    """

    def __init__(self, connection: Connection, names: Names) -> None:
        self._connection, self._names = connection, names
        self._points: dict[Point, int] = {}
        self._series: dict[Series, int] = {}
        self._refused: dict[Point | Series, str] = {}
        self._tables: dict[int, tuple[list[Series], Ids, Ids]] = {}

    @property
    def kept(self) -> int:
        in_tables = sum(len(table) for table, _, _ in self._tables.values())
        return len(self._points) + len(self._series) + len(self._refused) + in_tables

    def make_room(self) -> None:
        """Before a batch, so that within one nothing is forgotten: a sink that is given documents only has points and no series."""
        if self.kept > KEPT_MOST:
            for kept in (self._points, self._series, self._refused, self._tables):
                kept.clear()

    def of_table(self, table: list[Series]) -> tuple[Ids, Ids]:
        """For each series of a decoder's table its point id and series id, or REFUSED twice. The table may have grown."""
        _, points, series = self._tables.get(id(table), (table, np.empty(0, np.int32), np.empty(0, np.int32)))
        if len(points) == len(table):
            return points, series
        new = table[len(points) :]
        self._learn_series(new)
        ids = np.array([self._ids(s) for s in new], np.int32).reshape(-1, 2)
        points, series = np.append(points, ids[:, 0]), np.append(series, ids[:, 1])
        self._tables[id(table)] = (table, points, series)
        return points, series

    def of_points(self, points: Iterable[Point]) -> dict[Point, int]:
        """The ids of these points; those that can have none are left out, see `why`."""
        wanted = list(dict.fromkeys(points))
        self._learn_points(wanted)
        return {p: self._points[p] for p in wanted if p in self._points}

    def why(self, thing: Point | Series) -> str:
        """The database's words for a point or series that has no id."""
        if isinstance(thing, Series):
            return self._refused.get((thing.asset, thing.parameter)) or self._refused.get(thing, "")
        return self._refused.get(thing, "")

    def _ids(self, series: Series) -> tuple[int, int]:
        if series not in self._series:
            return REFUSED, REFUSED
        return self._points[series.asset, series.parameter], self._series[series]

    def _learn_points(self, points: Iterable[Point]) -> None:
        def find(some: list[Point]) -> None:
            rows = self._run(_FIND_POINTS, *_across(some, 2))
            self._points.update({(asset, parameter): number for asset, parameter, number in rows})

        def add(some: list[Point]) -> None:
            self._run(_ADD_POINTS, *_across(some, 2))

        self._learn(sorted({p for p in points if p not in self._refused}), self._points, find, add)

    def _learn_series(self, several: Iterable[Series]) -> None:
        several = list(dict.fromkeys(several))
        self._learn_points((s.asset, s.parameter) for s in several)
        possible = [s for s in several if (s.asset, s.parameter) in self._points and s not in self._refused]
        by_fingerprint = {_fingerprint(s): s for s in possible}

        def find(some: list[Series]) -> None:
            rows = self._run(_FIND_SERIES, [_fingerprint(s) for s in some])
            self._series.update({by_fingerprint[fingerprint]: number for fingerprint, number in rows})

        def add(some: list[Series]) -> None:
            self._run(_ADD_SERIES, *_across(map(self._row, some), 8))

        self._learn(possible, self._series, find, add)

    def _row(self, s: Series) -> tuple[Any, ...]:
        point = self._points[s.asset, s.parameter]
        described = (s.unit, s.classification.name, s.adapter_id, s.adapter_version, s.pipeline_id, s.gateway_id)
        return (point, *described, _fingerprint(s))

    def _learn(self, things: list[Any], known: dict[Any, int], find: _Lookup, add: _Lookup) -> None:
        """Find those not known yet, make those not found; remember what the database refuses to make."""
        unknown = [thing for thing in things if thing not in known]
        if not unknown:
            return

        def attempt(rows: Rows) -> Failure | None:
            some = [unknown[row] for row in rows]
            return attempted(self._connection, lambda _: _find_or_add(some, known, find, add))

        refused = isolate(np.arange(len(unknown)), attempt)
        self._refused.update({unknown[row]: reason for row, reason in refused})

    def _run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(self._names.fill(statement), values)
            return cursor.fetchall() if cursor.description else []


def _find_or_add(things: list[Any], known: dict[Any, int], find: _Lookup, add: _Lookup) -> None:
    find(things)
    if missing := [thing for thing in things if thing not in known]:
        add(missing)
        find(missing)


def _across(rows: Iterable[Sequence[Any]], width: int) -> list[list[Any]]:
    """Rows as columns, for unnest."""
    return [list(column) for column in zip(*rows, strict=True)] or [[]] * width


def _fingerprint(series: Series) -> str:
    """What tells two series apart, short enough for an index whatever the names are."""
    return hashlib.sha256(json.dumps(series).encode()).hexdigest()[:32]
