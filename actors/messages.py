"""Everything actors say to each other: orders and facts. Frozen values of plain types; all in one file, since a message is
dispatched by the name of its class. Data never travels this way, only control.

`name` and `incarnation` tell the supervisor who speaks: addresses are ports, and ports come again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Start:
    """The first message to a child. `spec` is the supervisor's own part of the tree, None for a worker."""

    path: str
    name: str
    incarnation: int
    config: dict[str, Any] = field(default_factory=dict)
    spec: Any = None


@dataclass(frozen=True, slots=True)
class Started:
    """`context.ready()` of a worker; of a supervisor: all its children have started."""

    name: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class Stop:
    """Finish what you hold and end."""

    within_s: float


@dataclass(frozen=True, slots=True)
class Crashed:
    """The last words of a child; its end follows. Text, because a foreign exception may not be readable in another process."""

    name: str
    incarnation: int
    trace: str
    """The end of a traceback; for one that cannot work, the reason alone."""
    hopeless: bool = False
    """Starting again does not help (schemas/faults.py)."""
    next_step: str | None = None
    """What a person should do, where the worker knows."""


@dataclass(frozen=True, slots=True)
class Ping:
    """The heartbeat question. There is never more than one on its way to a child."""


@dataclass(frozen=True, slots=True)
class Pong:
    """A worker's answer, written by its loop: a wedged loop does not answer. `snapshot`: see `io_actor.snapshot`.

    `ready` repeats `Started`, for a supervisor that could not read it in time.
    """

    name: str
    incarnation: int
    snapshot: dict[str, Any]
    ready: bool


@dataclass(frozen=True, slots=True)
class Report:
    """A supervisor's subtree, as the answer to a Ping and, `urgent`, by itself when something changed."""

    name: str
    incarnation: int
    node: dict[str, Any]
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """The urgent report, or the tree, has arrived: the next may be sent."""


@dataclass(frozen=True, slots=True)
class WatchTree:
    """Send the whole tree to `origin` (an actor's address) from now on. Passed upwards to the root."""

    origin: Any


@dataclass(frozen=True, slots=True)
class TreeIs:
    tree: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Command:
    """A person's order for one child. It goes up to the root, which finds the path, and from there down (`found`)."""

    request: str
    verb: str
    target: str
    origin: Any
    found: bool = False


@dataclass(frozen=True, slots=True)
class CommandDone:
    """`result` has `ok`, and `error` in words if not."""

    request: str
    result: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Question:
    """The daemon asks the root; Thespian does not match answers to questions, `request` does."""

    request: str


@dataclass(frozen=True, slots=True)
class Answer:
    request: str
    body: dict[str, Any]
