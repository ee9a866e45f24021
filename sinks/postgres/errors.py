"""What an error of PostgreSQL means for us: wait, ask a person, or refuse the record. Pure; the codes are those of the manual,
appendix A. Errors while connecting carry no code, so these are told by their (English) words; other languages count as "wait",
which differs only in the advice and in how soon the next trial follows.
"""

from __future__ import annotations

import re
from enum import Enum

import psycopg2

UNIQUE_VIOLATION = "23505"

_REFUSED_CLASSES = {"22", "23", "44", "54", "P0"}
"""Data exception, constraint violation, view check option, limit of the program (row or index entry too large), raised by a
trigger. They depend on the row."""
_PERSON_CLASSES = {"28", "3D", "3F", "42", "0A", "F0"}
"""Authorization, no such database or schema, missing table, column or right, unsupported, broken server configuration."""

_ADVICE = {
    "53100": "the disk of the database is full; free space there",
    "53200": "the database is out of memory",
    "53300": "the database has no free connection; raise max_connections or end unused ones",
    "25006": "the database is read-only, perhaps a standby; point `dsn` to the primary (target_session_attrs=read-write finds it)",
    "55P03": "another connection holds a lock; see pg_locks there",
    "57014": "the statement took too long; see write_timeout, or what else the database is doing",
    "40P01": "deadlock with another writer",
    "42501": "grant it, or let the owner of the schema run the gateway once",
    "42P10": "a unique constraint of a table was dropped; restore it",
    "28P01": "check `password` and the user in `dsn`",
    "3D000": "create the database, or correct the name in `dsn`",
}
_CONNECT_WORDS = {
    r"password authentication failed|no password supplied": "check `password` and the user in `dsn`",
    r'role ".*" does not exist|is not permitted to log in': "create the role there, or correct the user in `dsn`",
    r'database ".*" does not exist': "create the database, or correct the name in `dsn`",
    r"no pg_hba.conf entry|pg_hba.conf rejects": "allow this gateway's address in the server's pg_hba.conf",
    r"permission denied for database": "GRANT CONNECT ON DATABASE to the user in `dsn`",
    r"server does not support SSL|certificate verify failed|root certificate file": "check sslmode in `dsn` and the certificates",
    r"invalid (connection option|sslmode value|integer value)": "correct `dsn`",
}


class Meaning(Enum):
    WAIT = "wait"
    """Away, busy, full, locked: the same batch works later."""
    PERSON = "person"
    """Somebody must change something at the database."""
    REFUSED = "refused"
    """The database will never take this row as it is."""


def meaning(error: psycopg2.Error) -> Meaning:
    code = error.pgcode
    if code is None:
        words = str(error)
        return Meaning.PERSON if any(re.search(p, words) for p in _CONNECT_WORDS) else Meaning.WAIT
    if code[:2] in _REFUSED_CLASSES and code != "54001":
        return Meaning.REFUSED
    return Meaning.PERSON if code[:2] in _PERSON_CLASSES else Meaning.WAIT


def words(error: psycopg2.Error) -> str:
    """The database's own message in one line, with its detail."""
    diag = error.diag
    told = " ".join(t for t in (diag.message_primary, diag.message_detail) if t) or str(error)
    return " ".join(told.split()) or type(error).__name__


def sentence(place: str, error: psycopg2.Error) -> str:
    """What an operator reads: which database, its own words, what to do."""
    told = words(error)
    advice = _ADVICE.get(error.pgcode or "")
    if error.pgcode is None:
        advice = next((a for pattern, a in _CONNECT_WORDS.items() if re.search(pattern, told)), None)
    return f"database {place}: {told}" + (f"; {advice}" if advice else "")


def failing_line(error: psycopg2.Error) -> int | None:
    """Row number, from 0, that a failed COPY names in its context; None where it names none."""
    found = re.match(r"COPY .*?, \S+ (\d+)", error.diag.context or "")
    return int(found[1]) - 1 if found else None
