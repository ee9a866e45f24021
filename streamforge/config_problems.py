"""What is wrong with a gateway file, as people and programs are told: file, line, path, what was given, what would be right.

Finds nothing wrong itself (config_file.py, config_rules.py, config_here.py do); it knows where a value stands in the file, and that what
stands once in `defaults` is one mistake, however many points it reaches.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from schemas.mistakes import Mistake, Where, as_text
from streamforge.yaml_source import Source


@dataclass(frozen=True)
class Problem:
    """One mistake in the file, or one thing about it that a person should know."""

    file: str
    line: int | None
    path: str
    message: str
    given: str | None = None
    severity: Literal["error", "warning"] = "error"
    next_step: str | None = None

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        kind = "warning: " if self.severity == "warning" else ""
        path = f"{self.path}: " if self.path else ""
        step = f"; {self.next_step}" if self.next_step else ""
        return f"{place}: {kind}{path}{self.message}{step}"

    def as_json(self) -> dict[str, Any]:
        found = re.search(
            r"; right would be (.*)| is not ((?:an?|one|text|true|two)\b.*)|(?:is missing \(|Known are |known are )([^()]*)",
            self.message,
        )
        wanted = found and (found[1] or found[2] or found[3])
        return {
            "severity": self.severity, "file": self.file, "line": self.line, "path": self.path,
            "message": self.message, "given": self.given, "wanted": wanted, "next_step": self.next_step,
        }  # fmt: skip


class Invalid(Exception):
    """The file cannot be used; `problems` says all that is wrong with it, and what else there is to know. `source`: where it could be read."""

    def __init__(self, problems: list[Problem], source: Source | None = None) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems, self.source = problems, source


def placed(source: Source, around: Where, mistakes: Iterable[Mistake]) -> list[Problem]:
    """The mistakes found in what stands at `around`, each where it was written."""
    hits: dict[tuple[Where, str], list[Mistake]] = {}
    for mistake in mistakes:
        origin = _origin(source, around, mistake)
        hits.setdefault((origin, mistake.message), []).append(mistake)
    return [_problem(source, (*around, *each[0].place), *key, each) for key, each in hits.items()]


def _problem(source: Source, own: Where, origin: Where, message: str, hits: list[Mistake]) -> Problem:
    given = hits[0].given
    count = len({hit.place for hit in hits if "points" in hit.place})
    if origin != own and count:
        message = f"{message} (given to {count} point{'s' if count > 1 else ''})"
    return Problem(source.name, source.line(origin), as_text(origin), message, given)


def _origin(source: Source, around: Where, mistake: Mistake) -> Where:
    """Where the value of a point was written: in the point, around its list, or in `defaults`."""
    steps = mistake.place
    own = (*around, *steps)
    numbers = [n for n, step in enumerate(steps) if isinstance(step, int)]
    rest = steps[numbers[-1] + 1 :] if numbers else ()
    if not rest or (*around, *steps[: numbers[-1] + 1], rest[0]) in source.lines:
        return own
    for at in reversed(numbers):
        outside = (*around, *steps[: at - 1])
        for place in ((*outside, *rest), (*outside, "defaults", *rest)):
            if place[: len(place) - len(rest) + 1] in source.lines:
                return place
    return own
