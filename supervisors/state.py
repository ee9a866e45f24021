"""What a supervisor knows about its children, what can happen to it and what it can order: values only, for decide.py.

The phases of a child:

    waiting -> starting -> running -> (backoff | failed | finished)
                                   -> stopping -> (waiting | stopped)
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from supervisors.spec import Child


class Phase(StrEnum):
    WAITING = "waiting"
    """Its turn to start has not come."""
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    BACKOFF = "backoff"
    """It ended and will be started again at `deadline`."""
    FINISHED = "finished"
    """It ended and need not run again."""
    FAILED = "failed"
    """Parked: its restarts are used up, a person must order the next one."""
    STOPPED = "stopped"


ALIVE = frozenset({Phase.STARTING, Phase.RUNNING, Phase.STOPPING})
"""The phases with a process."""


class Life(StrEnum):
    """Of the supervisor itself."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    GIVING_UP = "giving up"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class ChildState:
    """One child now. Times are seconds of one monotonic clock."""

    spec: Child
    phase: Phase = Phase.WAITING
    incarnation: int = 0
    """How often it was launched. An event about another incarnation is old news."""
    settled: bool = False
    """Those after it need not wait for it any more (one_for_one only)."""
    deadline: float | None = None
    """Starting: must be ready. Stopping: must be gone. Backoff: starts again. Killed: is killed once more."""
    ping_due: float = 0.0
    pinged_at: float | None = None
    """When the question was sent that it has not answered; never a second one beside it."""
    killed_for: str | None = None
    halt: bool = False
    """Shall be stopped when its turn comes (right to left), for whatever comes after."""
    ordered: bool = False
    """A person ordered its end: it does not count."""
    restarts: tuple[float, ...] = ()
    """When it was restarted, within the window; of children that park."""
    reason: str | None = None
    """Why it is in backoff, failed or finished badly."""

    @property
    def alive(self) -> bool:
        return self.phase in ALIVE


@dataclass(frozen=True, slots=True)
class State:
    spec: Child
    children: tuple[ChildState, ...]
    life: Life = Life.STARTING
    reason: str | None = None
    """Why it gives up."""
    restarts: tuple[float, ...] = ()
    """When children that escalate were restarted, within the window."""

    def child(self, name: str) -> ChildState:
        return next(each for each in self.children if each.spec.id == name)


def fresh(spec: Child) -> State:
    return State(spec, tuple(ChildState(each) for each in spec.children))


# What can happen.


@dataclass(frozen=True, slots=True)
class Begin:
    pass


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed; see `decide.next_due`."""


@dataclass(frozen=True, slots=True)
class Started:
    id: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class Answered:
    id: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class Exited:
    """A process is gone. `jitter` (0 to 1) spreads the backoff; it is drawn outside so that deciding stays a function."""

    id: str
    incarnation: int
    how: str
    clean: bool = False
    jitter: float = 0.5
    hopeless: bool = False
    """It said that starting again does not help until a person has changed something."""


@dataclass(frozen=True, slots=True)
class StopAll:
    pass


@dataclass(frozen=True, slots=True)
class RestartChild:
    """Ordered by a person: stop in order if alive, start, forget its failures."""

    id: str


@dataclass(frozen=True, slots=True)
class KillChild:
    """Ordered by a person or a drill."""

    id: str


Event = Begin | Tick | Started | Answered | Exited | StopAll | RestartChild | KillChild


# What can be ordered.


@dataclass(frozen=True, slots=True)
class Launch:
    id: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class Halt:
    """Ask it to stop by itself."""

    id: str
    within_s: float


@dataclass(frozen=True, slots=True)
class Kill:
    id: str
    why: str


@dataclass(frozen=True, slots=True)
class Ask:
    """Send a heartbeat question."""

    id: str


@dataclass(frozen=True, slots=True)
class Announce:
    """Everything has started: tell the level above."""


@dataclass(frozen=True, slots=True)
class End:
    """Every child is gone. `gave_up` says why unless the stop was ordered."""

    gave_up: str | None


Command = Launch | Halt | Kill | Ask | Announce | End
