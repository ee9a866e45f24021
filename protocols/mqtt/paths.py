"""A small subset of JSON path: `$.a.b`, `$['a key']`, `$[0]`, `$[-1]`, `$.samples[*].v`. Pure; no filters, no slices, no `..`.

`[*]` goes over an array. Where it went is kept as indices, so that a second path with the same beginning (the time of each
sample) can be followed to the same place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

_STEP: Final = re.compile(
    r"""\.(?P<name>[\w@$-]+)|\['(?P<single>[^']+)'\]|\["(?P<double>[^"]+)"\]|\[(?P<index>-?\d{1,6})\]|(?P<each>\[\*\])"""
)
RIGHT: Final = "right would be such as $.temp, $['oil temp'], $.axes[0].load or $.samples[*].v"


class _Each:
    def __repr__(self) -> str:
        return "[*]"


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


EACH: Final = _Each()
MISSING: Final = _Missing()
"""Stands for what is not there; None is JSON's null."""

Indices = tuple[int, ...]
Step = str | int | _Each


@dataclass(frozen=True, slots=True)
class Path:
    text: str
    steps: tuple[Step, ...]

    @property
    def each(self) -> int:
        """How many `[*]` it has."""
        return sum(step is EACH for step in self.steps)

    def follows(self, other: Path) -> bool:
        """Whether every `[*]` of this path is one of `other`'s: its indices then lead this path too."""
        mine = [place for place, step in enumerate(self.steps) if step is EACH]
        return not mine or self.steps[: mine[-1] + 1] == other.steps[: mine[-1] + 1]


def parse(text: str) -> Path:
    """Raises ValueError in words."""
    if not text.startswith("$"):
        raise ValueError(f"{text!r} does not begin with $; {RIGHT}")
    steps: list[Step] = []
    place = 1
    while place < len(text):
        found = _STEP.match(text, place)
        if not found:
            raise ValueError(f"{text!r} cannot be read from {text[place:]!r} on; {RIGHT}")
        steps.append(_step(found))
        place = found.end()
    return Path(text, tuple(steps))


def _step(found: re.Match[str]) -> Step:
    if found["each"]:
        return EACH
    return int(found["index"]) if found["index"] else found["name"] or found["single"] or found["double"]


def down(value: Any, step: Step) -> Any:
    """One step into a document, or MISSING."""
    if isinstance(step, str):
        return value.get(step, MISSING) if isinstance(value, dict) else MISSING
    if not isinstance(value, list) or not isinstance(step, int):
        return MISSING
    return value[step] if -len(value) <= step < len(value) else MISSING


def at(document: Any, path: Path, indices: Indices = ()) -> Any:
    """What the path leads to, taking the given index at each `[*]`; MISSING where it leads nowhere."""
    left = iter(indices)
    for step in path.steps:
        document = down(document, next(left, MISSING) if step is EACH else step)  # type: ignore[arg-type]
        if document is MISSING:
            break
    return document


def find(document: Any, path: Path) -> Iterator[tuple[Indices, Any]]:
    """Everything the path leads to, with the indices taken. A dead end yields one MISSING; an empty array yields nothing."""
    return _find(document, path.steps, ())


def _find(value: Any, steps: tuple[Step, ...], indices: Indices) -> Iterator[tuple[Indices, Any]]:
    for place, step in enumerate(steps):
        if step is EACH:
            if not isinstance(value, list):
                break
            for index, item in enumerate(value):
                yield from _find(item, steps[place + 1 :], (*indices, index))
            return
        value = down(value, step)
        if value is MISSING:
            break
    else:
        yield indices, value
        return
    yield indices, MISSING
