"""The tree as data: one frozen `Child` for each supervisor and worker, checked when it is made. No I/O, no processes.

The order of `children` is the start order, its reverse the stop order; there are no other dependencies. What happens when a child
ends is decided in decide.py from these fields; which children a gateway has is in tree.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

SUPERVISOR = "supervisors.supervisor:Supervisor"
STOP_MARGIN_S = 2.0
"""What a supervisor gets beyond the sum of its children, for its own messages."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_RUN = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


class Restart(StrEnum):
    PERMANENT = "permanent"
    """Started again however it ended."""
    TRANSIENT = "transient"
    """Started again unless it finished by itself without an error."""
    TEMPORARY = "temporary"
    """Never started again."""


class Strategy(StrEnum):
    ONE = "one_for_one"
    """The children do not need each other."""
    REST = "rest_for_one"
    """Each child needs those before it: with a lost child, all after it are stopped and started again."""
    ALL = "one_for_all"
    """All need all."""


class WhenExhausted(StrEnum):
    """What happens when a child failed more often than its restarts allow."""

    PARK = "park"
    """It alone is FAILED until a person restarts it; its neighbours run on. The budget is the child's own."""
    ESCALATE = "escalate"
    """Its supervisor gives up and leaves the decision to the level above. The budget is the supervisor's, shared by such children."""


class BadChild(ValueError):
    """A `Child` that cannot work; the text names the child, the field and what would be right."""


@dataclass(frozen=True, slots=True)
class Child:
    """One supervisor or worker. Times are seconds."""

    id: str
    """Its name among its siblings. Its path (`data_path/adapters/press_4`) is its name to people; the root is left out of it."""
    run: str
    """`module:Class`, imported when it is needed; `SUPERVISOR` for a supervisor."""
    config: dict[str, Any] = field(default_factory=dict)
    """Given to a worker as it is; JSON values only."""
    imports: tuple[str, ...] = ()
    """Modules that its process will import for this `config`, so that they can be imported once, before the processes are forked."""
    restart: Restart = Restart.PERMANENT
    when_exhausted: WhenExhausted = WhenExhausted.PARK
    restarts_max: int = 5
    """Restarts within `restarts_window_s`. Of a worker that parks: its own. Of a supervisor: those of its children that escalate."""
    restarts_window_s: float = 300.0
    backoff_first_s: float = 0.1
    """The wait before the first restart in the window; each further one waits twice as long, at most `backoff_most_s`."""
    backoff_most_s: float = 30.0
    start_within_s: float = 60.0
    """From the fork to `context.ready()`; a worker that takes longer is killed. A supervisor has no limit of its own."""
    stop_within_s: float = 10.0
    """From the order to stop until it is killed. Of a worker only; a supervisor's is `stop_time`."""
    heartbeat_s: float = 10.0
    """A child that has not answered for so long is hung and is killed."""
    strategy: Strategy = Strategy.ONE
    children: tuple[Child, ...] = ()

    def __post_init__(self) -> None:
        mistake = _mistake(self)
        if mistake:
            raise BadChild(f"child {self.id!r}: {mistake}")

    @property
    def is_supervisor(self) -> bool:
        return self.run == SUPERVISOR


def worker(id: str, run: str, config: dict[str, Any] | None = None, **fields: Any) -> Child:  # noqa: A002 - the field's name
    """A leaf: an actor class of actors/ that does the work."""
    return Child(id, run, config or {}, **fields)


def supervisor(id: str, strategy: Strategy, *children: Child, **fields: Any) -> Child:  # noqa: A002 - the field's name
    """A branch. It escalates unless told otherwise: what it could not repair, the level above must decide."""
    fields.setdefault("when_exhausted", WhenExhausted.ESCALATE)
    return Child(id, SUPERVISOR, strategy=strategy, children=children, **fields)


def stop_time(child: Child) -> float:
    """How long stopping this child may take: children stop one after the other."""
    if not child.is_supervisor:
        return child.stop_within_s
    return sum(stop_time(each) for each in child.children) + STOP_MARGIN_S


def walk(tree: Child) -> Iterator[tuple[str, Child]]:
    """Every child with its path, in start order; the root comes first, under its own id."""
    yield tree.id, tree
    for child in tree.children:
        yield from _walk_below(child, child.id)


def _walk_below(child: Child, path: str) -> Iterator[tuple[str, Child]]:
    yield path, child
    for each in child.children:
        yield from _walk_below(each, f"{path}/{each.id}")


def lines(tree: Child) -> list[str]:
    """The tree as text for people, reviews and the top of the log."""
    rows = list(_rows(tree, "", ""))
    width = max(len(name) for name, _ in rows) + 2
    return [f"{name:<{width}}{what}" for name, what in rows]


def _rows(child: Child, head: str, below: str) -> Iterator[tuple[str, str]]:
    yield head + child.id, _what(child)
    for number, each in enumerate(child.children, start=1):
        last = number == len(child.children)
        yield from _rows(each, below + ("└─ " if last else "├─ "), below + ("   " if last else "│  "))


def _what(child: Child) -> str:
    kind = str(child.strategy) if child.is_supervisor else f"{child.restart} {child.run}"
    return f"{kind}, {child.restarts_max} restarts in {child.restarts_window_s:g} s, then {child.when_exhausted}"


def _mistake(child: Child) -> str | None:
    """What is wrong with a child and what would be right, or None."""
    if not _ID.fullmatch(child.id):
        return "id must be letters, digits, '_', '.' and '-', beginning with a letter or digit"
    if not _RUN.fullmatch(child.run):
        return f"run is {child.run!r}, it must be 'module:Class'"
    for name, value in _times(child).items():
        if value <= 0:
            return f"{name} is {value:g}, it must be more than 0 seconds"
    if child.restarts_max < 0:
        return f"restarts_max is {child.restarts_max}, it must be 0 or more"
    if child.backoff_first_s > child.backoff_most_s:
        return f"backoff_first_s is {child.backoff_first_s:g}, it must not be above backoff_most_s ({child.backoff_most_s:g})"
    return _mistake_inside(child)


def _times(child: Child) -> dict[str, float]:
    names = ("restarts_window_s", "backoff_first_s", "backoff_most_s", "start_within_s", "stop_within_s", "heartbeat_s")
    return {name: getattr(child, name) for name in names}


def _mistake_inside(child: Child) -> str | None:
    if child.children and not child.is_supervisor:
        return f"it has children but runs {child.run}; only a supervisor has children"
    if child.config and child.is_supervisor:
        return "a supervisor takes no config; give it to the workers below"
    ids = [each.id for each in child.children]
    twice = sorted({each for each in ids if ids.count(each) > 1})
    if twice:
        return f"two of its children are called {twice[0]!r}; siblings need different ids"
    try:
        json.dumps(child.config)
    except (TypeError, ValueError) as error:
        return f"config must be plain JSON values: {error}"
    return None
