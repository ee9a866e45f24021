"""Finding the rows a database refuses among many it takes, with as few attempts as there are bad rows. Pure: the attempt is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from schemas.records import Rows


@dataclass(frozen=True, slots=True)
class Failure:
    """One attempt was refused and left nothing behind."""

    reason: str
    line: int | None = None
    """Which row of the attempt the database named, from 0."""
    code: str | None = None
    """The database's code for it."""


MANY = 16
PIECE = 256
"""After so many refused rows the rest is tried in pieces of so many rows: where all are bad, each would be sent once for each row
before it, and a full batch would take longer than any deadline."""

Attempt = Callable[[Rows], Failure | None]
"""Write these rows, all or none. Returns what was refused; raises for everything that is not the rows' fault."""


def isolate(rows: Rows, attempt: Attempt) -> list[tuple[int, str]]:
    """Write all rows but the bad ones; the bad ones with the reason.

    Where the database names the row, the rows before it, the row and those behind it are tried apart, so a good row is sent about
    twice however many bad ones there are; else the rows are halved. A row counts as bad only when refused all by itself.
    """
    refused: list[tuple[int, str]] = []
    waiting = [rows]
    while waiting:
        part = waiting.pop()
        failure = attempt(part) if len(part) else None
        if failure is None:
            continue
        if len(part) == 1:
            refused.append((int(part[0]), failure.reason))
            if len(refused) == MANY:
                waiting = [piece for part in waiting for piece in _pieces(part)]
            continue
        waiting += reversed(_split(part, failure.line))
    return refused


def _pieces(part: Rows) -> list[Rows]:
    """The last one first: they wait on a stack."""
    return [part[at : at + PIECE] for at in reversed(range(0, len(part), PIECE))]


def _split(part: Rows, line: int | None) -> list[Rows]:
    if line is None or not 0 <= line < len(part):
        half = len(part) // 2
        return [part[:half], part[half:]]
    return [part[:line], part[line : line + 1], part[line + 1 :]]
