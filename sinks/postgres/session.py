"""One connection to one database, with blocking calls: `sink.py` calls them in a thread of its own, one at a time.

A batch, its offsets and its refused records are one transaction. Two workers of the same sink cannot both write (the old one may
still live, or its last transaction may, when the new one starts): each new session raises the sink's epoch, which waits for an
unfinished transaction, and each transaction checks it. With it the stored offsets are checked: a backup that is restored into the
tables under an open connection puts them back, and the ids we remember may then stand for other points.

Behind a pooler (PgBouncer in transaction mode) each transaction may be served by another connection, which others use as well.
There nothing is expected or left to last: settings and staging tables are those of one transaction.
"""

from __future__ import annotations

import select
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from psycopg2.extensions import ISOLATION_LEVEL_READ_COMMITTED
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class with a small name
from psycopg2.extras import execute_values

from schemas.records import Document, Rows
from sinks.contract import Batch, NotConnected, Offsets, Origin, RefusedRecord
from sinks.postgres import documents
from sinks.postgres.catalog import Catalog
from sinks.postgres.check import check
from sinks.postgres.config import PostgresConfig
from sinks.postgres.isolate import Failure, isolate
from sinks.postgres.pace import Pace
from sinks.postgres.readings import upserted, write_readings
from sinks.postgres.tables import Names, prepare

LOCK_SHARE = 0.8
"""Part of `connect_timeout` for which a lock is waited for while preparing: it shall be the lock that is told, not the deadline."""
_SET = "SELECT set_config(name, value, %s) FROM unnest(%s::text[], %s::text[]) AS s(name, value)"
_TAKE_OVER = """INSERT INTO {sinks} AS s (gateway, sink, epoch) VALUES (%s, %s, 1)
    ON CONFLICT (gateway, sink) DO UPDATE SET epoch = s.epoch + 1 RETURNING epoch"""
_FILES = "SELECT pg_relation_filenode('{points}'), pg_relation_filenode('{series}')"
"""Others as soon as one is emptied (TRUNCATE), restored or rewritten: the ids we remember may then be those of others, or of nobody."""
_STILL_OURS = """SELECT epoch, (SELECT coalesce(sum("offset"), 0) FROM {offsets} WHERE gateway = %s AND sink = %s AND stream = %s),
    pg_relation_filenode('{points}'), pg_relation_filenode('{series}')
    FROM {sinks} WHERE gateway = %s AND sink = %s FOR UPDATE"""
_OFFSETS = 'SELECT topic, partition, "offset" FROM {offsets} WHERE gateway = %s AND sink = %s AND stream = %s'
_STORE_OFFSETS = """INSERT INTO {offsets} (gateway, sink, stream, topic, partition, "offset", written)
    SELECT %s, %s, %s, n.*, now() FROM unnest(%s::text[], %s::int[], %s::bigint[]) AS n
    ON CONFLICT (gateway, sink, stream, topic, partition)
    DO UPDATE SET "offset" = excluded."offset", written = excluded.written"""
_KEEP_REFUSED = """INSERT INTO {refused}
    (gateway, sink, topic, partition, "offset", arrived, asset_id, parameter, reason, wire) VALUES %s ON CONFLICT DO NOTHING"""
_REFUSED = """SELECT topic, partition, "offset", wire, reason, asset_id, parameter, arrived FROM {refused}
    WHERE gateway = %s AND sink = %s ORDER BY topic, partition, "offset" """
_FORGET_REFUSED = """DELETE FROM {refused} WHERE gateway = %s AND sink = %s AND (topic, partition, "offset") IN
    (SELECT * FROM unnest(%s::text[], %s::int[], %s::bigint[]))"""


class Session:
    """`start` first, then the rest in any order; after any error the session is only good for `close`."""

    def __init__(self, connection: Connection, config: PostgresConfig, origin: Origin, pace: Pace) -> None:
        self._connection, self._config, self._origin, self._pace = connection, config, origin, pace
        self._names = Names(config.schema_name, config.table_prefix)
        self._who = (origin.gateway, config.id)
        self._catalog = Catalog(connection, self._names)
        self._epoch = 0
        self._stored: Offsets = {}
        """What stands in the database, as far as this session knows."""
        self._files: tuple[Any, ...] = ()
        self._each_time: list[list[str]] = []
        """Names and values of settings that each transaction begins with."""
        self._pooled = False

    def start(self) -> Offsets:
        """Make what is missing, put an older session out of force, return the offsets stored with the data."""
        self._set_bounds()
        short = self._lock_ms(LOCK_SHARE * self._config.connect_timeout)
        with self._transaction(), self._connection.cursor() as cursor:
            self._run(_SET, True, ["lock_timeout"], [short])
            prepare(cursor, self._names)
            check(cursor, self._names, self._config.topics)
        with self._transaction():
            self._run(_SET, True, ["lock_timeout"], [short])
            self._epoch = int(self._run(_TAKE_OVER, *self._who)[0][0])
            rows = self._run(_OFFSETS, *self._who, self._origin.stream)
            self._files = self._run(_FILES)[0]
        self._stored = {(topic, partition): offset for topic, partition, offset in rows}
        return dict(self._stored)

    def write(self, batch: Batch, offsets: Offsets) -> list[RefusedRecord]:
        """One transaction. Returns what the database refused, in the order of the stream."""
        readings = [records for records in batch.readings if len(records)]
        self._catalog.make_room()
        with self._transaction():
            ids = [self._catalog.of_table(records.table) for records in readings]
            points = self._catalog.of_points(
                documents.point_of(d) for d in batch.documents if d.schema in documents.TABLES
            )
        with self._transaction():
            self._check_unchanged()
            refused = self._write_documents(batch.documents, points)
            if readings:
                refused += write_readings(
                    self._connection, self._names, self._catalog, self._pace, readings, ids, self._pooled
                )
            refused.sort(key=lambda r: (r.topic, r.partition, r.offset))
            self._store(offsets, refused)
        self._stored |= offsets
        return refused

    def unsent(self) -> list[RefusedRecord]:
        with self._transaction():
            rows = self._run(_REFUSED, *self._who)
        return [
            RefusedRecord(topic, partition, offset, bytes(wire), reason, asset, parameter, arrived)
            for topic, partition, offset, wire, reason, asset, parameter, arrived in rows
        ]

    def forget(self, refused: list[RefusedRecord]) -> None:
        with self._transaction():
            self._run(_FORGET_REFUSED, *self._who, *_places([(r.topic, r.partition, r.offset) for r in refused]))

    def has_news(self) -> bool:
        """Whether the server sent something unasked, or hung up. Does not block."""
        return bool(select.select([self._connection], [], [], 0)[0])

    def ask(self) -> None:
        with self._transaction():
            self._run("SELECT 1")

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Everything within is committed, or nothing: after an error the connection is closed, which rolls back. To do it here
        would put "connection already closed" in the place of the reason."""
        if self._each_time:
            self._run(_SET, True, *self._each_time)
        yield
        self._connection.commit()

    def _set_bounds(self) -> None:
        """On the server's side, so that nothing of ours lives on there when we are gone."""
        wanted = self._bounds()
        # Without a transaction: a role's own idle_in_transaction_session_timeout, however short, must not end us before ours is in force.
        self._connection.autocommit = True
        known = dict(self._run("SELECT name, 1 FROM pg_settings WHERE name = ANY(%s)", list(wanted)))
        settings = [(name, value) for name, value in wanted.items() if name in known]
        columns = [list(column) for column in zip(*settings, strict=True)]
        self._pooled = self._run("SELECT pg_backend_pid()") != [(self._connection.info.backend_pid,)]
        if self._pooled:  # it names another process than the one that answers
            self._each_time = columns
        else:
            self._run(_SET, False, *columns)
        self._connection.autocommit = False
        # A server or role may begin with a stricter level: what another connection committed while we waited for its lock
        # would then be an error instead of being seen.
        self._connection.isolation_level = ISOLATION_LEVEL_READ_COMMITTED

    def _bounds(self) -> dict[str, str]:
        write_ms = int(self._config.write_timeout * 1000)
        return {
            "statement_timeout": str(write_ms),
            "lock_timeout": self._lock_ms(self._config.write_timeout),
            "idle_in_transaction_session_timeout": str(write_ms),
            "idle_session_timeout": "0",
            "transaction_timeout": "0",
            "client_connection_check_interval": "5000",
            "tcp_keepalives_idle": "30",
            "tcp_keepalives_interval": "10",
            "tcp_keepalives_count": "3",
        }

    def _lock_ms(self, most_s: float) -> str:
        return str(int(min(self._config.lock_timeout, most_s) * 1000))

    def _check_unchanged(self) -> None:
        statement = "SET CONSTRAINTS ALL IMMEDIATE; " + _STILL_OURS
        rows = self._run(statement, *self._who, self._origin.stream, *self._who)
        epoch, offsets, *files = rows[0] if rows else (0, 0)
        if epoch > self._epoch:
            raise NotConnected(
                f"database {self._config.place()}: another worker of gateway {self._origin.gateway} and sink {self._config.id} took over",
                next_step="if it comes again and again: another gateway that runs has the same `gateway.id` and sink `id`, as a copy of "
                "this file has; give each its own `gateway.id`",
            )
        if (epoch, offsets) != (self._epoch, sum(self._stored.values())):
            raise NotConnected(
                f"database {self._config.place()}: how far the stream is delivered stands there otherwise than this sink left it: "
                "a backup was restored, or somebody changed streamforge_offsets. Delivers again from what stands there now",
                next_step="nothing need be done: what the stream still holds is delivered again by itself",
            )
        if tuple(files) != self._files:
            raise NotConnected(
                f"database {self._config.place()}: points or series were emptied, restored or rewritten there",
                next_step="nothing need be done: the sink looks its points up again by itself",
            )

    def _write_documents(self, several: list[Document], points: dict[tuple[str, str], int]) -> list[RefusedRecord]:
        refused = [
            documents.refused(d, f"has the schema {d.schema}, for which there is no table")
            for d in several if d.schema not in documents.TABLES
        ]  # fmt: skip
        for schema, table in documents.TABLES.items():
            of_schema = [d for d in several if d.schema == schema]
            there = [d for d in of_schema if documents.point_of(d) in points]
            refused += [
                documents.refused(d, self._catalog.why(documents.point_of(d)))
                for d in of_schema if documents.point_of(d) not in points
            ]  # fmt: skip
            refused += self._write_table(table, documents.newest_of_each_key(table, there), points)
        return refused

    def _write_table(
        self, table: documents.Table, newest: list[Document], points: dict[tuple[str, str], int]
    ) -> list[RefusedRecord]:
        encoded = [table.row(points[documents.point_of(d)], d.fields) for d in newest]

        def attempt(rows: Rows) -> Failure | None:
            stream = documents.encode([encoded[row] for row in rows])
            return upserted(self._connection, self._names, table.name, table.key, table.columns, stream, self._pooled)

        return [documents.refused(newest[row], reason) for row, reason in isolate(np.arange(len(newest)), attempt)]

    def _store(self, offsets: Offsets, refused: list[RefusedRecord]) -> None:
        places = [(topic, partition, offset) for (topic, partition), offset in sorted(offsets.items())]
        if places:
            self._run(_STORE_OFFSETS, *self._who, self._origin.stream, *_places(places))
        if refused:
            rows = [
                (
                    *self._who,
                    r.topic,
                    r.partition,
                    r.offset,
                    r.arrived,
                    _text(r.asset),
                    _text(r.parameter),
                    _text(r.reason),
                    r.wire,
                )
                for r in refused
            ]
            with self._connection.cursor() as cursor:
                execute_values(cursor, self._names.fill(_KEEP_REFUSED), rows)

    def _run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(self._names.fill(statement), values)
            return cursor.fetchall() if cursor.description else []


def _places(places: list[tuple[str, int, int]]) -> list[list[Any]]:
    """Topic, partition, offset as columns, for unnest."""
    return [list(column) for column in zip(*places, strict=True)] or [[], [], []]


def _text(value: str | None) -> str | None:
    """What PostgreSQL can hold of a text that it may have refused."""
    return value and value.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
