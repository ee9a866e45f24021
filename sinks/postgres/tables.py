"""The tables, as data: what each version of StreamForge adds, and what we write to. Whether that is what stands there: check.py.

Why they look like this: `readings` is narrow because it holds nearly everything; what never changes for a point stands once, in
`points` (the natural key) and `series` (unit, adapter and so on, as they were when the reading was made, so that a later change
of unit does not rewrite the past). There are no foreign keys from `readings`: checking them doubles the cost of a row, and only
the sink writes there. `readings_view` puts it all together again as SPEC section 4 shows a reading.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class with a small name

from sinks.contract import NeedsPerson

_TIME, _DOUBLE = "timestamp with time zone", "double precision"

MIGRATIONS: list[list[str]] = [
    [
        """CREATE TABLE {points} (
            id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            asset_id text NOT NULL, parameter text NOT NULL, UNIQUE (asset_id, parameter))""",
        """CREATE TABLE {series} (
            id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, point integer NOT NULL REFERENCES {points},
            unit text, classification text NOT NULL, adapter_id text NOT NULL, adapter_version text NOT NULL,
            pipeline_id text, gateway_id text NOT NULL, fingerprint text NOT NULL UNIQUE)""",
        """CREATE TABLE {readings} (
            device_time timestamptz NOT NULL, gateway_time timestamptz NOT NULL, value double precision,
            point integer NOT NULL, series integer NOT NULL, quality smallint NOT NULL, kind smallint NOT NULL,
            whole bigint, text text, reason text, PRIMARY KEY (point, device_time))""",
        "CREATE INDEX ON {readings} USING brin (device_time)",
        """CREATE TABLE {aggregates} (
            window_start timestamptz NOT NULL, window_end timestamptz NOT NULL, point integer NOT NULL,
            interval text NOT NULL, count bigint NOT NULL,
            avg double precision, min double precision, max double precision, stddev double precision,
            p50 double precision, p95 double precision, p99 double precision, first double precision, last double precision,
            good bigint NOT NULL, suspect bigint NOT NULL, uncertain bigint NOT NULL, bad bigint NOT NULL,
            percent_good double precision NOT NULL, unit text, gateway_id text NOT NULL,
            PRIMARY KEY (point, interval, window_start))""",
        """CREATE TABLE {events} (
            device_time timestamptz NOT NULL, gateway_time timestamptz NOT NULL, point integer NOT NULL, kind text NOT NULL,
            message text NOT NULL, details jsonb NOT NULL, PRIMARY KEY (point, device_time, kind))""",
        """CREATE TABLE {sinks} (
            gateway text NOT NULL, sink text NOT NULL, epoch bigint NOT NULL, PRIMARY KEY (gateway, sink))""",
        """CREATE TABLE {offsets} (
            gateway text NOT NULL, sink text NOT NULL, stream text NOT NULL, topic text NOT NULL, partition integer NOT NULL,
            "offset" bigint NOT NULL, written timestamptz NOT NULL,
            PRIMARY KEY (gateway, sink, stream, topic, partition)) WITH (fillfactor = 50)""",
        """CREATE TABLE {refused} (
            gateway text NOT NULL, sink text NOT NULL, topic text NOT NULL, partition integer NOT NULL,
            "offset" bigint NOT NULL, arrived bigint NOT NULL, asset_id text, parameter text, reason text NOT NULL, wire bytea NOT NULL,
            PRIMARY KEY (gateway, sink, topic, partition, "offset"))""",
        """CREATE VIEW {readings_view} AS SELECT
            p.asset_id, p.parameter, r.value,
            CASE r.kind WHEN 2 THEN coalesce(r.whole, r.value::bigint)::text WHEN 3 THEN (r.value <> 0)::text
                        WHEN 4 THEN r.text ELSE r.value::text END AS value_text,
            (ARRAY['null', 'double', 'long', 'boolean', 'string'])[r.kind + 1] AS value_type,
            s.unit, (ARRAY['GOOD', 'SUSPECT', 'UNCERTAIN', 'BAD'])[r.quality + 1] AS quality, r.reason AS quality_reason,
            s.classification, r.device_time, r.gateway_time,
            round(extract(epoch FROM r.gateway_time - r.device_time) * 1000)::bigint AS clock_skew_ms,
            s.adapter_id, s.adapter_version, s.pipeline_id, s.gateway_id
            FROM {readings} r JOIN {series} s ON s.id = r.series JOIN {points} p ON p.id = r.point""",
        """CREATE VIEW {aggregates_view} AS SELECT
            p.asset_id, p.parameter, a.unit, a.interval, a.window_start, a.window_end, a.count, a.avg, a.min, a.max, a.stddev,
            a.p50, a.p95, a.p99, a.first, a.last, a.good, a.suspect, a.uncertain, a.bad, a.percent_good, a.gateway_id
            FROM {aggregates} a JOIN {points} p ON p.id = a.point""",
        """CREATE VIEW {events_view} AS
            SELECT p.asset_id, p.parameter, e.kind, e.device_time, e.gateway_time, e.message, e.details
            FROM {events} e JOIN {points} p ON p.id = e.point
            UNION ALL
            SELECT asset_id, parameter, lower(classification), device_time, gateway_time, coalesce(value_text, 'no value'),
                   jsonb_build_object('value', value_text, 'unit', unit, 'quality', quality, 'reason', quality_reason)
            FROM {readings_view} WHERE classification IN ('EVENT', 'ALARM')""",
    ],
]
"""One list of statements for each version of the tables; released ones are never edited, only followed by another."""
MAKE_VERSION = "CREATE TABLE {version} (version integer PRIMARY KEY, applied timestamptz NOT NULL)"
MARK_VERSION = "INSERT INTO {version} VALUES (%s, now())"

COLUMNS: dict[str, dict[str, str]] = {
    "points": {"id": "integer", "asset_id": "text", "parameter": "text"},
    "series": {
        "id": "integer", "point": "integer", "unit": "text", "classification": "text", "adapter_id": "text",
        "adapter_version": "text", "pipeline_id": "text", "gateway_id": "text", "fingerprint": "text",
    },
    "readings": {
        "device_time": _TIME, "gateway_time": _TIME, "value": _DOUBLE, "point": "integer", "series": "integer",
        "quality": "smallint", "kind": "smallint", "whole": "bigint", "text": "text", "reason": "text",
    },
    "aggregates": {
        "window_start": _TIME, "window_end": _TIME, "point": "integer", "interval": "text", "count": "bigint",
        **dict.fromkeys(("avg", "min", "max", "stddev", "p50", "p95", "p99", "first", "last", "percent_good"), _DOUBLE),
        **dict.fromkeys(("good", "suspect", "uncertain", "bad"), "bigint"), "unit": "text", "gateway_id": "text",
    },
    "events": {
        "device_time": _TIME, "gateway_time": _TIME, "point": "integer", "kind": "text", "message": "text",
        "details": "jsonb",
    },
    "sinks": {"gateway": "text", "sink": "text", "epoch": "bigint"},
    "offsets": {
        "gateway": "text", "sink": "text", "stream": "text", "topic": "text", "partition": "integer",
        "offset": "bigint", "written": _TIME,
    },
    "refused": {
        "gateway": "text", "sink": "text", "topic": "text", "partition": "integer", "offset": "bigint", "arrived": "bigint",
        "asset_id": "text", "parameter": "text", "reason": "text", "wire": "bytea",
    },
}  # fmt: skip
"""What the sink writes to, table by table, with the types its bytes are made for."""

KEYS = {
    "points": "asset_id parameter",
    "series": "fingerprint",
    "readings": "point device_time",
    "aggregates": "point interval window_start",
    "events": "point device_time kind",
    "sinks": "gateway sink",
    "offsets": "gateway sink stream topic partition",
    "refused": "gateway sink topic partition offset",
}
"""By which a row is overwritten instead of doubled."""

_OURS = {"sinks", "offsets", "refused", "version"}
_VIEWS = {"readings_view", "aggregates_view", "events_view"}


@dataclass(frozen=True)
class Names:
    """Where the tables are and what they are called."""

    schema: str
    prefix: str

    def bare(self, table: str) -> str:
        return f"{self.prefix}streamforge_{table}" if table in _OURS else f"{self.prefix}{table}"

    def ours(self) -> list[str]:
        """All tables that the sink reads or writes, as they are called."""
        return [self.bare(table) for table in (*COLUMNS, "version")]

    def fill(self, statement: str) -> str:
        """Put the quoted names in place of `{readings}` and the like."""
        tables = {*COLUMNS, *_OURS, *_VIEWS}
        return statement.format_map({t: f'"{self.schema}"."{self.bare(t)}"' for t in tables})


def prepare(cursor: Cursor, names: Names) -> None:
    """Bring the tables to this program's version, in the caller's transaction; harmless when they are there already.

    Raises NeedsPerson for tables of a newer program or of somebody else.
    """
    cursor.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"streamforge {names.schema}.{names.prefix}",)
    )
    version = _version(cursor, names)
    if version > len(MIGRATIONS):
        raise NeedsPerson(
            f"schema {names.schema}: its tables are of version {version}, this program knows {len(MIGRATIONS)}; "
            "right would be a newer StreamForge here"
        )
    if version < len(MIGRATIONS):
        _refuse_strangers(cursor, names, version)
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                cursor.execute(names.fill(statement))
        cursor.execute(names.fill(MARK_VERSION), (len(MIGRATIONS),))


def _version(cursor: Cursor, names: Names) -> int:
    """The newest version applied; 0 for an empty schema, in which the table of versions is then made."""
    cursor.execute("SELECT to_regclass(%s)", (names.fill("{version}"),))
    if cursor.fetchall() == [(None,)]:
        cursor.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (names.schema,))
        if not cursor.fetchall():
            cursor.execute(f'CREATE SCHEMA "{names.schema}"')
        cursor.execute(names.fill(MAKE_VERSION))
    cursor.execute(names.fill("SELECT coalesce(max(version), 0) FROM {version}"))
    return int(cursor.fetchall()[0][0])


def _refuse_strangers(cursor: Cursor, names: Names, version: int) -> None:
    if version:
        return
    wanted = [names.bare(t) for t in (*COLUMNS, *sorted(_VIEWS))]
    cursor.execute(
        "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = ANY(%s)",
        (names.schema, wanted),
    )
    strangers = sorted(row[0] for row in cursor.fetchall())
    if strangers:
        raise NeedsPerson(
            f"schema {names.schema}: {', '.join(strangers)} is there already and not of StreamForge; "
            "right would be another `schema_name`, or a `table_prefix`"
        )
