"""Readings into their table, by the quickest way that works: straight COPY, a staging table, or row by row around refused ones."""

from __future__ import annotations

import re
from io import BytesIO

import numpy as np
from psycopg2.extensions import connection as Connection  # noqa: N812 - classes with small names
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from schemas.records import Records, Rows
from sinks.contract import RefusedRecord
from sinks.postgres.catalog import Catalog
from sinks.postgres.copy import COLUMNS, encode, plain_first
from sinks.postgres.errors import UNIQUE_VIOLATION
from sinks.postgres.isolate import Failure, isolate
from sinks.postgres.pace import Pace, Partition
from sinks.postgres.rows import Columns, Ids, columns, newest_of_each_key
from sinks.postgres.tables import Names
from sinks.postgres.transaction import attempted

CHUNK = 1 << 20
KEY = "point, device_time"


def write_readings(
    connection: Connection,
    names: Names,
    catalog: Catalog,
    pace: Pace,
    sources: list[Records],
    ids: list[tuple[Ids, Ids]],
    pooled: bool = False,
) -> list[RefusedRecord]:
    """Write them within the caller's transaction; returns those the database refused. `ids[i]`: the catalog's for `sources[i]`."""
    joined = columns(sources, ids)
    refused = [joined.refused(int(row), _why(catalog, joined, int(row))) for row in np.flatnonzero(joined.series < 0)]
    rows = plain_first(joined, newest_of_each_key(joined))
    writer = _Writer(connection, names, pace, joined, pooled)
    straight = writer.straight_rows()[rows]
    bad = isolate(rows[straight], writer.straight) + isolate(rows[~straight], writer.staged)
    return refused + [joined.refused(row, reason) for row, reason in bad]


def _why(catalog: Catalog, joined: Columns, row: int) -> str:
    records, at = joined.source(row)
    return catalog.why(records.table[records.series[at]])


class _Writer:
    """The ways for one batch."""

    def __init__(self, connection: Connection, names: Names, pace: Pace, joined: Columns, pooled: bool) -> None:
        self._connection, self._names, self._pace, self._joined = connection, names, pace, joined
        self._pooled = pooled

    def straight_rows(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """For each row whether its partition may go straight."""
        sources = self._joined.sources
        may = {partition: self._pace.straight(partition) for partition in {_partition(r) for r in sources}}
        return np.repeat([may[_partition(r)] for r in sources], [len(r) for r in sources])

    def straight(self, rows: Rows) -> Failure | None:
        """COPY into the table itself; by staging after all if a key is there already."""
        stream = encode(self._joined, rows)
        failure = attempted(
            self._connection, lambda cursor: copy_in(cursor, self._names.fill("{readings}"), COLUMNS, stream)
        )
        if failure is None:
            for partition in self._partitions(rows):
                self._pace.went_well(partition)
        if failure is None or failure.code != UNIQUE_VIOLATION:
            return failure
        for partition in self._clashing(rows, failure.reason):
            self._pace.clashed(partition)
        return self.staged(rows)

    def staged(self, rows: Rows) -> Failure | None:
        stream = encode(self._joined, rows)
        return upserted(self._connection, self._names, "readings", KEY, COLUMNS, stream, self._pooled)

    def _partitions(self, rows: Rows) -> set[Partition]:
        ends = np.searchsorted(self._joined.starts, rows, side="right") - 1
        return {_partition(self._joined.sources[at]) for at in np.flatnonzero(np.bincount(ends))}

    def _clashing(self, rows: Rows, reason: str) -> set[Partition]:
        """The partition whose key the database named, or all of them if it named none."""
        found = re.search(r"=\((\d+), ", reason)
        named = rows[self._joined.point[rows] == int(found[1])] if found else rows
        return self._partitions(named if len(named) else rows)


def _partition(records: Records) -> Partition:
    return records.topic, records.partition


def copy_in(cursor: Cursor, table: str, column_names: str, stream: bytes) -> None:
    cursor.copy_expert(f"COPY {table} ({column_names}) FROM STDIN (FORMAT binary)", BytesIO(stream), CHUNK)


def upserted(
    connection: Connection,
    names: Names,
    table: str,
    key: str,
    column_names: str,
    stream: bytes,
    pooled: bool = False,
) -> Failure | None:
    """Bring a COPY stream into a table by way of a staging table: a key that is there already is overwritten, unless nothing
    would change. The staging table lasts as long as the connection, which makes it 2 times as quick; on a connection that is
    shared with others (pooled) as long as the transaction."""
    rest = [name for name in column_names.split(", ") if name not in key.split(", ")]
    old, new = (", ".join(f"{side}.{name}" for name in rest) for side in ("there", "excluded"))
    lasting = "ON COMMIT DROP" if pooled else ""
    stage, target = f"pg_temp.stage_{table}", names.fill(f"{{{table}}}")

    def make_stage(cursor: Cursor) -> None:
        like = f"SELECT {column_names} FROM {target} WITH NO DATA"  # noqa: S608 - our own names
        cursor.execute(f"CREATE TEMP TABLE IF NOT EXISTS stage_{table} {lasting} AS {like}")
        cursor.execute(f"TRUNCATE {stage}")

    def work(cursor: Cursor) -> None:
        copy_in(cursor, stage, column_names, stream)
        cursor.execute(
            f"INSERT INTO {target} AS there ({column_names}) SELECT {column_names} FROM {stage}"  # noqa: S608 - our own names
            f" ON CONFLICT ({key}) DO UPDATE SET ({', '.join(rest)}) = ({new}) WHERE ({old}) IS DISTINCT FROM ({new})"
        )

    return attempted(connection, work, make_stage)
