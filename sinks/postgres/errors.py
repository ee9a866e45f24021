"""What an error of PostgreSQL means for us: wait, ask a person, or refuse the record. Pure; the codes are those of the manual,
appendix A, so the language of the server plays no part.

Without a code are only the errors of libpq, our side of the line, and those of PgBouncer, whose codes say little: both are always
English (nothing here sets another locale for messages), so there their words are looked at.
"""

from __future__ import annotations

import re
from enum import Enum

import psycopg2

from sinks.postgres.tables import COLUMNS

UNIQUE_VIOLATION = "23505"
_NUMBER_TAKEN = re.compile(r"\(id\)=\(\d+\)")
_NOT_NULL = "23502"
_NO_SUCH_CHARACTER = "22P05"
_OUR_COLUMNS = {column for table in COLUMNS.values() for column in table}

_REFUSED_CLASSES = {"09", "20", "21", "22", "23", "27", "2F", "38", "39", "44", "54", "P0"}
"""Data exception, constraint violation, view check option, limit of the program (row or index entry too large), and what a
trigger of the user raises or trips over. They depend on the row."""
_PERSON_CLASSES = {"28", "3D", "3F", "42", "0A", "F0"}
"""Authorization, no such database or schema, missing table, column or right, unsupported, broken server configuration."""
_MEANINGS_APART = {"54001": "wait", "22P03": "person"}
"""Stack depth; and bytes that do not fit a column's type, which is the table's fault: every row would be refused."""

_ADVICE = {
    "22P03": "a column there has another type than this program made it with; restore it",
    _NOT_NULL: "a column of your own needs a default, or must allow nulls",
    "53100": "the disk of the database is full; free space there",
    "53200": "the database is out of memory",
    "53300": "the database has no free connection; raise max_connections or end unused ones",
    "25006": "the database is read-only, perhaps a standby (point `dsn` to the primary; target_session_attrs=read-write finds it), "
    "perhaps by `default_transaction_read_only`",
    "55P03": "another connection holds a lock",
    "57014": "the statement took too long; see write_timeout, or what else the database is doing",
    "57P03": "it is starting up, shutting down or recovering; nobody need do anything",
    "40P01": "deadlock with another writer",
    "42501": "grant it (tables that are there: GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ... TO ...; those to be made: "
    "GRANT USAGE, CREATE ON SCHEMA ... TO ...), or let the owner of the schema run the gateway once",
    "42P10": "a unique constraint of a table was dropped; restore it",
    "28P01": "check `password` and the user in `dsn`",
    "28000": "check the user in `dsn`: the role must exist there and may log in, and pg_hba.conf must let it in from here, "
    "with TLS or without as sslmode in `dsn` says, and with a certificate where it asks for one (sslcert and sslkey in `dsn`)",
    "3D000": "create the database, or correct the name in `dsn`",
}
_WORDS = {
    r"no password supplied|password authentication failed|SASL authentication failed": "check `password` and the user in `dsn`",
    r"server does not support SSL|certificate|private key|SSL error: (?!.*eof)": "check sslmode in `dsn` and the certificates",
    r"invalid (connection option|(sslmode|channel_binding|target_session_attrs) value|integer value)": "correct `dsn`",
    r'(database|role) ".*" does not exist': "create it there, or correct `dsn`, or the configuration of PgBouncer",
    r"no such (user|database)|unsupported startup parameter|auth(entication)? failed": "see the configuration of PgBouncer",
}


_LIBPQ_ASKS = re.compile(r" (Is the server running|Is the server).*?\?")
"""What it asks of whoever reads; the next step has it better."""
_RESTARTED = "see in the database's log whether it was restarted, or who ended the connection"
_BUSY = "see what the database does meanwhile (pg_stat_activity there); if it is only slow, give it a longer `write_timeout`"
_PING = "try `ping` from the gateway to the database's machine: without an answer it is the address, the cable or the route; with one, a firewall between or the port"
_STEPS = {
    "session is (not )?read-only|server is (not )?in hot standby mode": "no server of `dsn` is as its target_session_attrs wants it: promote a standby, or see whether `default_transaction_read_only` is on there",
    "Connection refused": "see that PostgreSQL runs there and listens on this network and port (`listen_addresses` in its postgresql.conf; `ss -ltn` on its machine)",
    "could not translate host name": "write the database's address into `dsn`, or enter the name at this machine's name server (`getent hosts NAME` shows what it knows)",
    "timeout expired|timed out": _PING,
    "No route to host|Network is unreachable": "look at this machine's own network: its address, its netmask and the route to the database (`ip route get ADDRESS`)",
    "server closed the connection unexpectedly|terminating connection": _RESTARTED,
}
"""What to do where nobody answers, by words of libpq."""
_STEPS_BY_CODE = {
    "25006": "point `dsn` to the primary, or promote the standby; where it is no standby: set `default_transaction_read_only` to off there",
    "53100": "free space on the disk of the database (`df -h` on its machine)",
    "53200": "give the database's machine more memory, or less to do",
    "53300": "raise `max_connections` there (or the role's CONNECTION LIMIT), or end connections that nobody needs (pg_stat_activity)",
    "55P03": "see who holds the lock (pg_locks and pg_stat_activity there)",
    "57014": _BUSY,
    "57P01": _RESTARTED,
    "57P02": _RESTARTED,
    "57P03": "wait until it has started or recovered; if that takes long, see the database's log",
}
_AGAIN = "; the sink tries again by itself"
SILENT = _PING + _AGAIN
SLOW = _BUSY + _AGAIN
"""For deadlines of our own."""


class Meaning(Enum):
    WAIT = "wait"
    """Away, busy, full, locked: the same batch works later."""
    PERSON = "person"
    """Somebody must change something at the database."""
    REFUSED = "refused"
    """The database will never take this row as it is."""


def meaning(error: psycopg2.Error) -> Meaning:
    code = error.pgcode
    if code is None or code == "08P01":
        return Meaning.PERSON if _advice_on(str(error)) else Meaning.WAIT
    if code == _NOT_NULL and error.diag.column_name not in _OUR_COLUMNS:
        return Meaning.PERSON
    if code == UNIQUE_VIOLATION and _NUMBER_TAKEN.search(error.diag.message_detail or ""):
        return Meaning.PERSON  # a counter of the table gave it, not the row
    if code in _MEANINGS_APART:
        return Meaning(_MEANINGS_APART[code])
    if code[:2] in _REFUSED_CLASSES:
        return Meaning.REFUSED
    return Meaning.PERSON if code[:2] in _PERSON_CLASSES else Meaning.WAIT


def words(error: psycopg2.Error) -> str:
    """The database's own message in one line, with its detail."""
    diag = error.diag
    told = " ".join(t for t in (diag.message_primary, diag.message_detail) if t) or str(error)
    told = _LIBPQ_ASKS.sub("", " ".join(told.split())) or type(error).__name__
    return f"{told}; right would be a database in UTF8" if error.pgcode == _NO_SUCH_CHARACTER else told


def sentence(place: str, error: psycopg2.Error) -> str:
    """What an operator reads: which database, its own words, what to do."""
    told = words(error)
    advice = _ADVICE.get(error.pgcode or "") or _advice_on(told)
    if error.pgcode == UNIQUE_VIOLATION and meaning(error) is Meaning.PERSON:
        table = f"{error.diag.schema_name}.{error.diag.table_name}"
        advice = f"the counter of {table}.id is behind its rows, as after copying them; set it: SELECT setval(pg_get_serial_sequence('{table}', 'id'), max(id)) FROM {table}"  # noqa: S608 - for a person to read
    return f"database {place}: {told}" + (f"; {advice}" if advice else "")


def next_step(error: psycopg2.Error) -> str | None:
    """What a person should do while it does not work; None where only general advice fits."""
    by_words = (step for pattern, step in _STEPS.items() if re.search(pattern, str(error)))
    found = _STEPS_BY_CODE.get(error.pgcode or "") or next(by_words, None)
    return found and found + _AGAIN


def _advice_on(told: str) -> str | None:
    return next((advice for pattern, advice in _WORDS.items() if re.search(pattern, told)), None)


def failing_line(error: psycopg2.Error) -> int | None:
    """Row number, from 0, that a failed COPY names in its context, below the lines of a trigger; None where it names none."""
    found = re.search(r"^COPY .*?, \S+ (\d+)", error.diag.context or "", re.MULTILINE)
    return int(found[1]) - 1 if found else None
