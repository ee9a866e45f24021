"""Where a sink begins to read, as a table."""

from __future__ import annotations

import pytest

from actors.sink_start import start_offsets

AT = ("t", 0)


@pytest.mark.parametrize(
    ("delivered", "first", "end", "start", "lost", "words"),
    [
        (None, 0, 10, 0, 0, None),
        (None, 7, 10, 7, 0, None),
        (5, 0, 10, 5, 0, None),
        (10, 0, 10, 10, 0, None),
        (3, 7, 10, 7, 4, "deleted by retention"),
        (12, 0, 10, 10, 0, "lost its tail"),
        (12, 20, 20, 20, 8, "deleted by retention"),
        (0, 0, 0, 0, 0, None),
    ],
)
def test_start(delivered: int | None, first: int, end: int, start: int, lost: int, words: str | None) -> None:
    starts, moved = start_offsets({} if delivered is None else {AT: delivered}, {AT: first}, {AT: end})
    assert starts == {AT: start}
    assert sum(m.lost for m in moved) == lost
    assert [words in m.reason for m in moved if words] == ([True] if words else [])
