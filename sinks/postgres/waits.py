"""Who or what the sink waits for in the database: asked on a connection of its own, when the usual one waited in vain.

Blocking. What it finds is for people: "took longer than 60 s" and "lock timeout" tell nobody whom to ring up.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

from sinks.contract import Origin
from sinks.postgres.config import PostgresConfig
from sinks.postgres.dial import application_name, dial
from sinks.postgres.tables import Names

_PATIENCE_MS = 2000
_STANDBY = (
    "SELECT 1 FROM pg_stat_activity WHERE usename = current_user AND application_name = %s AND wait_event = 'SyncRep'"
)
_HOLDERS = """SELECT l.pid, a.usename::text, a.application_name, a.state, a.backend_type, l.mode, c.relname::text,
    extract(epoch FROM now() - a.xact_start)::int
    FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.granted AND l.pid <> pg_backend_pid() AND a.datname = current_database()
    AND n.nspname = %s AND c.relname = ANY(%s) AND l.mode NOT IN ('AccessShareLock', 'ShareUpdateExclusiveLock')
    AND (l.mode NOT IN ('RowShareLock', 'RowExclusiveLock') OR a.xact_start < now() - interval '2 s')
    ORDER BY l.mode IN ('RowShareLock', 'RowExclusiveLock'), a.xact_start LIMIT 1"""
"""A lock on rows alone holds up only whoever wants the same rows, so it is named last, and only if it is an old one."""


@dataclass(frozen=True, slots=True)
class Hindrance:
    """What stands in the way, and what to do about it."""

    words: str
    next_step: str


def hindrance(config: PostgresConfig, origin: Origin) -> Hindrance | None:
    """None where nothing is found. Raises psycopg2.Error."""
    names = Names(config.schema_name, config.table_prefix)
    with closing(dial(config, origin)) as connection, connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL statement_timeout = {_PATIENCE_MS}")
        cursor.execute(_STANDBY, (application_name(config, origin),))
        if cursor.fetchall():
            return Hindrance(
                "a COMMIT waits there for a synchronous standby that does not answer",
                "bring the standby back, or take it out of `synchronous_standby_names` there; the sink goes on by itself",
            )
        cursor.execute(_HOLDERS, (names.schema, names.ours()))
        found = cursor.fetchall()
        return _holder(*found[0]) if found else None


def _holder(
    pid: int,
    user: str | None,
    program: str,
    state: str | None,
    kind: str | None,
    mode: str,
    table: str,
    age_s: int | None,
) -> Hindrance:
    who = ", ".join(word for word in (f"user {user}" if user else kind, program, state) if word)
    since = "" if age_s is None else f" for {age_s} s"
    return Hindrance(
        f"process {pid} there ({who}) holds {mode} on {table}{since}",
        f"let it end its transaction, or end it there with: SELECT pg_terminate_backend({pid}); the sink goes on by itself",
    )
