"""A part of a transaction that may fail without the rest: everything between a savepoint and its release."""

from __future__ import annotations

from collections.abc import Callable

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 - classes with small names
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from sinks.postgres.errors import Meaning, failing_line, meaning, words
from sinks.postgres.isolate import Failure

Work = Callable[[Cursor], object]
_UNDO = "ROLLBACK TO SAVEPOINT attempt; RELEASE SAVEPOINT attempt"
"""Rolled back alone it would stay open, and the next one be made within it: thousands, each with a lock, take the lock table of the
whole server, with which others cannot even connect any more."""


def attempted(connection: Connection, work: Work, first: Work | None = None) -> Failure | None:
    """Do the work, whole or not at all. Returns what the database refused; raises every error that is not the rows' fault.

    `first` is what the work needs and no row has a part in: what is refused there would be refused for every row.
    """
    with connection.cursor() as cursor:
        if first is not None:
            first(cursor)
        cursor.execute("SAVEPOINT attempt")
        try:
            work(cursor)
        except psycopg2.Error as error:
            if meaning(error) is not Meaning.REFUSED:
                raise
            cursor.execute(_UNDO)
            return Failure(words(error), failing_line(error), error.pgcode)
        except ValueError as error:
            # psycopg2 itself refuses texts that PostgreSQL cannot hold, as those with NUL.
            cursor.execute(_UNDO)
            return Failure(str(error))
        cursor.execute("RELEASE SAVEPOINT attempt")
        return None
