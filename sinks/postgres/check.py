"""Whether the tables that stand in a database are those we write to, and may be written to. Somebody may have changed them, or
made them by hand.

Columns and indexes of other people are welcome. But bytes for a column of another type would be taken for something else, and
without its unique index a key that comes again would be doubled; and a right that is missing may only be missed hours later, by the
first row that comes twice. So all this is looked at before the first row.
"""

from __future__ import annotations

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class with a small name

from sinks.contract import NeedsPerson
from sinks.postgres.config import AGGREGATES
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

_NUMBERED = """SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid WHERE n.nspname = %s AND c.relname = ANY(%s) AND a.attname = 'id'
    AND (a.atthasdef OR a.attidentity <> '')"""
_LACKING = """SELECT r.relname, array_agg(r.privilege) FROM unnest(%s::text[], %s::text[]) AS r(relname, privilege)
    JOIN pg_class c ON c.relname = r.relname JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %s AND NOT CASE r.privilege WHEN 'DELETE' THEN has_table_privilege(c.oid, 'DELETE')
    ELSE has_any_column_privilege(c.oid, r.privilege) END GROUP BY r.relname ORDER BY r.relname"""
_MAY_STAGE = "SELECT has_database_privilege(current_database(), 'TEMPORARY'), quote_ident(current_database()), quote_ident(current_user)"

_RIGHTS = {
    "points": "SELECT INSERT",
    "series": "SELECT INSERT",
    "readings": "SELECT INSERT UPDATE",
    "aggregates": "SELECT INSERT UPDATE",
    "events": "SELECT INSERT UPDATE",
    "sinks": "SELECT INSERT UPDATE",
    "offsets": "SELECT INSERT UPDATE",
    "refused": "SELECT INSERT DELETE",
}
_AS_GOOD = {"character varying": "text"}
"""Types whose bytes are the same."""


def check(cursor: Cursor, names: Names, topics: list[str]) -> None:
    """Raises NeedsPerson with everything that is wrong."""
    if wrong := _wrong(cursor, names):
        raise NeedsPerson(
            f"schema {names.schema}: {'; '.join(wrong)}. Somebody changed or dropped it: restore it there "
            f"(`./run -- python -m sinks.postgres.ddl {names.schema} {names.prefix}".rstrip()
            + "` prints how it was made), or let StreamForge make its tables in another `schema_name`"
        )
    lacking, grants = _lacking(cursor, names, topics)
    if lacking:
        raise NeedsPerson(
            f"schema {names.schema}: {'; '.join(lacking)}. Their owner should run there: {'; '.join(grants)}"
        )


def _wrong(cursor: Cursor, names: Names) -> list[str]:
    tables = {names.bare(table): table for table in COLUMNS}
    cursor.execute(_COLUMNS, (names.schema, list(tables)))
    there = {(table, column): _AS_GOOD.get(kind, kind) for table, column, kind in cursor.fetchall()}
    cursor.execute(_UNIQUE, (names.schema, list(tables)))
    unique = {(table, frozenset(columns)) for table, columns in cursor.fetchall()}
    cursor.execute(_NUMBERED, (names.schema, list(tables)))
    numbered = {table for (table,) in cursor.fetchall()}
    wrong: list[str] = []
    for bare, table in tables.items():
        if not any((bare, column) in there for column in COLUMNS[table]):
            wrong.append(f"table {bare} is missing")
            continue
        for column, kind in COLUMNS[table].items():
            found = there.get((bare, column))
            if found is None:
                wrong.append(f"{bare}.{column} is missing")
            elif found != kind:
                wrong.append(f"{bare}.{column} has the type {found}, right would be {kind}")
        if (bare, "id") in there and bare not in numbered:
            wrong.append(f"{bare}.id counts no more, right would be GENERATED ALWAYS AS IDENTITY")
        key = KEYS[table].split()
        if (bare, frozenset(key)) not in unique and all((bare, column) in there for column in key):
            wrong.append(f"{bare} has no unique index on ({', '.join(key)})")
    return wrong


def _lacking(cursor: Cursor, names: Names, topics: list[str]) -> tuple[list[str], list[str]]:
    """What the role may not do there, and what would let it."""
    used = {
        table: rights.split() for table, rights in _RIGHTS.items() if table != "aggregates" or {*topics} & {*AGGREGATES}
    }
    pairs = [(names.bare(table), right) for table, rights in used.items() for right in rights]
    cursor.execute(_LACKING, ([table for table, _ in pairs], [right for _, right in pairs], names.schema))
    missing = {table: ", ".join(sorted(rights)) for table, rights in cursor.fetchall()}
    cursor.execute(_MAY_STAGE)
    may_stage, database, role = cursor.fetchall()[0]
    lacking = [f"the role {role} may not {rights} on {table}" for table, rights in missing.items()]
    grants = [f'GRANT {rights} ON "{names.schema}"."{table}" TO {role}' for table, rights in missing.items()]
    if not may_stage:
        lacking.append(
            f"the role {role} may not make temporary tables, by which rows that come again overwrite the first"
        )
        grants.append(f"GRANT TEMPORARY ON DATABASE {database} TO {role}")
    return lacking, grants
