"""The statements that make the tables, for a DBA who makes them by hand: `./run -- python -m sinks.postgres.ddl [SCHEMA [PREFIX]]`.

Prints only. The sink itself makes its tables when it first connects, if its role may.
"""

from __future__ import annotations

import sys

from pydantic import TypeAdapter, ValidationError

from sinks.postgres.config import Identifier, Prefix
from sinks.postgres.tables import MAKE_VERSION, MARK_VERSION, MIGRATIONS, Names


def statements(names: Names) -> str:
    """One transaction, for psql; it fails as a whole where one of the tables is there already."""
    made = [MAKE_VERSION, *(statement for migration in MIGRATIONS for statement in migration)]
    marked = MARK_VERSION % len(MIGRATIONS)
    lines = ["BEGIN", f'CREATE SCHEMA IF NOT EXISTS "{names.schema}"', *map(names.fill, (*made, marked)), "COMMIT"]
    return ";\n".join(lines) + ";\n"


def main(arguments: list[str]) -> int:
    schema, prefix, *more = [*arguments, *("public", "")[len(arguments) :]]
    try:
        names = Names(TypeAdapter(Identifier).validate_python(schema), TypeAdapter(Prefix).validate_python(prefix))
    except ValidationError as error:
        told = error.errors()[0]
        more = [f"{told['input']!r} {told['msg'].removeprefix('Value error, ')}"]
    if more or schema.startswith("-"):
        sys.stderr.write(f"{' '.join(more)}\nusage: ./run -- python -m sinks.postgres.ddl [SCHEMA [PREFIX]]\n".lstrip())
        return 2
    sys.stdout.write(statements(names))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
