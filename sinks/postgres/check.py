"""Whether the tables that stand in a database are those we write to. Somebody may have changed them, or made them by hand.

Columns and indexes of other people are welcome. But bytes for a column of another type would be taken for something else, and
without its unique index a key that comes again would be doubled; so both are looked at before the first row.
"""

from __future__ import annotations

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class with a small name

from sinks.contract import NeedsPerson
from sinks.postgres.tables import COLUMNS, KEYS, Names

_COLUMNS = """SELECT c.relname::text, a.attname::text, format_type(CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END, NULL)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
    JOIN pg_type t ON t.oid = a.atttypid
    WHERE n.nspname = %s AND c.relname = ANY(%s) AND a.attnum > 0 AND NOT a.attisdropped"""
_UNIQUE = """SELECT c.relname::text, array_agg(a.attname::text)
    FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY((i.indkey::int2[])[0:i.indnkeyatts - 1])
    WHERE n.nspname = %s AND c.relname = ANY(%s) AND i.indisunique AND i.indisvalid AND i.indimmediate
    AND i.indpred IS NULL AND i.indexprs IS NULL GROUP BY c.relname, i.indexrelid"""

_AS_GOOD = {"character varying": "text"}
"""Types whose bytes are the same."""


def check(cursor: Cursor, names: Names) -> None:
    """Raises NeedsPerson with everything that is wrong."""
    tables = {names.bare(table): table for table in COLUMNS}
    cursor.execute(_COLUMNS, (names.schema, list(tables)))
    there = {(table, column): _AS_GOOD.get(kind, kind) for table, column, kind in cursor.fetchall()}
    cursor.execute(_UNIQUE, (names.schema, list(tables)))
    unique = {(table, frozenset(columns)) for table, columns in cursor.fetchall()}
    wrong: list[str] = []
    for bare, table in tables.items():
        for column, kind in COLUMNS[table].items():
            found = there.get((bare, column))
            if found is None:
                wrong.append(f"{bare}.{column} is missing")
            elif found != kind:
                wrong.append(f"{bare}.{column} has the type {found}, right would be {kind}")
        key = KEYS[table].split()
        if (bare, frozenset(key)) not in unique and all((bare, column) in there for column in key):
            wrong.append(f"{bare} has no unique index on ({', '.join(key)})")
    if wrong:
        raise NeedsPerson(
            f"schema {names.schema}: {'; '.join(wrong)}. Somebody changed or dropped it: restore it there, "
            "or let StreamForge make its tables in another `schema_name`"
        )
