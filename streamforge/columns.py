"""Rows in columns for a terminal of any width: a long sentence is folded under its own column; where even that has no room it stands below
its row, and the least important columns go. To a pipe nothing is folded or left out. No colours or words of the trade here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

GAP = 2
SENTENCE_MIN = 24
"""Narrower, a folded sentence is a tower of words."""
INDENT = 4


@dataclass(frozen=True, slots=True)
class Column:
    title: str
    right: bool = False
    spare: int = 0
    """When there is no room, columns go, the highest first; 0 stays."""


def show(
    console: Console,
    columns: Sequence[Column],
    rows: Sequence[Sequence[Text]],
    sentences: Sequence[str] = (),
    told: str = "",
) -> None:
    """`sentences`: for each row a text of any length, or "", under the title `told`."""
    folding = console.is_terminal
    kept = fitting(columns, rows, console.width) if folding else list(range(len(columns)))
    widths = [max([len(columns[at].title), *(row[at].cell_len for row in rows)]) for at in kept]
    used = sum(widths) + GAP * len(widths)
    room = console.width - used if folding else None
    beside = room is None or room >= SENTENCE_MIN
    heads = [Text(columns[at].title, "dim") for at in kept]
    _line(console, heads, kept, columns, widths, Text(told if beside and any(sentences) else "", "dim"))
    for number, row in enumerate(rows):
        cells = [row[at] for at in kept]
        sentence = Text(sentences[number] if sentences else "")
        if not beside:
            _line(console, cells, kept, columns, widths, Text())
            for part in sentence.wrap(console, max(8, console.width - INDENT)) if sentence else ():
                _put(console, Text(" " * INDENT) + part)
            continue
        first, *more = sentence.wrap(console, room) if sentence and room else [sentence]
        _line(console, cells, kept, columns, widths, first)
        for part in more:
            _put(console, Text(" " * used) + part)


def fitting(columns: Sequence[Column], rows: Sequence[Sequence[Text]], width: int) -> list[int]:
    """The columns for which there is room, in their order."""
    kept = list(range(len(columns)))
    while sum(max([len(columns[at].title), *(row[at].cell_len for row in rows)]) + GAP for at in kept) - GAP > width:
        at = max(kept, key=lambda each: columns[each].spare)
        if columns[at].spare == 0:
            break
        kept.remove(at)
    return kept


def _line(
    console: Console,
    cells: Sequence[Text],
    kept: Sequence[int],
    columns: Sequence[Column],
    widths: Sequence[int],
    last: Text,
) -> None:
    line = Text()
    for cell, at, width in zip(cells, kept, widths, strict=True):
        space = " " * (width - cell.cell_len)
        line += Text.assemble(space, cell, " " * GAP) if columns[at].right else Text.assemble(cell, space, " " * GAP)
    _put(console, line + last)


def _put(console: Console, line: Text) -> None:
    line.rstrip()
    console.print(line, soft_wrap=True)
