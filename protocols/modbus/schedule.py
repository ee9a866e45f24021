"""When to poll what: fixed grids, missed polls, and units that do not answer. Pure; times are monotonic seconds.

A poll group is due at start + k * every. What could not be done in time is skipped and counted, never piled up. A unit that
stays silent is tried alone and rarely, with growing pauses, so that the others on the connection keep their rate.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from protocols.modbus.messages import Why
from protocols.modbus.plan import Cut, Read, Signal, hole


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a unit has been silent, and when it is tried again."""

    silent: int = 0
    """Requests in a row without an answer."""
    tries: int = 0
    """Tries since it was given up; 0 while it is polled as configured."""
    not_before: float = -math.inf
    hoped: bool = False
    """A very late answer has brought a try before its time already; the next such try needs an answer in time first."""

    @property
    def given_up(self) -> bool:
        return self.tries > 0

    def hopeful(self) -> Patience:
        """Tried again at once, but the pauses go on growing from where they were."""
        return replace(self, not_before=-math.inf)


@dataclass(frozen=True, slots=True)
class Manners:
    """When a unit is given up, and how long it is then left alone."""

    dead_after: int
    pause: float
    pause_most: float

    def pause_after(self, tries: int) -> float:
        """Seconds of quiet after so many tries: doubles, within the bound."""
        return min(self.pause * 2.0 ** min(tries - 1, 40), self.pause_most)


def silence(patience: Patience, manners: Manners, now: float) -> Patience:
    """After one more request without an answer."""
    silent = patience.silent + 1
    if silent < manners.dead_after and not patience.given_up:
        return replace(patience, silent=silent)
    tries = patience.tries + 1
    return replace(patience, silent=silent, tries=tries, not_before=now + manners.pause_after(tries))


def sign_of_life(patience: Patience, now: float, usable: bool) -> Patience:
    """After an answer that came too late. A unit that was given up is tried at once: always if a longer wait would have made the answer
    `usable`, else once, for a device that hung for a while is back, and one that is hopelessly slow must not take the others' time."""
    if not patience.given_up or (patience.hoped and not usable):
        return patience
    return replace(patience, not_before=now, hoped=True)


@dataclass(slots=True)
class Unit:
    """One Modbus unit of the connection."""

    id: int
    patience: Patience = Patience()


@dataclass(frozen=True, slots=True)
class Parked:
    """Why a point is left out, and when it is tried again."""

    why: Why
    again_at: float


@dataclass(slots=True)
class Known:
    """What the device taught us about the addresses of one group."""

    parked: dict[Signal, Parked] = field(default_factory=dict)
    """Points that are left out of the reads, each the cause of a refusal, and when each is tried again, alone."""
    borders: list[Cut] = field(default_factory=list)
    """Where reads must end although no single point is to blame; forgotten at `forget_at`, for the device may have changed."""
    forget_at: float = math.inf
    strikes: dict[tuple[int, int, int], int] = field(default_factory=dict)
    """Read (table, start, count) → how often in a row it alone stayed silent while its unit answered others."""

    def retry(self, now: float) -> None:
        """Try every parked point again at the next polls."""
        self.parked = {signal: replace(parked, again_at=now) for signal, parked in self.parked.items()}

    def cuts(self) -> list[Cut]:
        return [hole(signal) for signal in self.parked] + self.borders


@dataclass(slots=True)
class Group:
    """The points of one unit with one interval: polled together, one batch each time."""

    unit: Unit
    every: float
    due: float
    signals: list[Signal]
    reads: list[Read]
    known: Known = field(default_factory=Known)

    @property
    def ready_at(self) -> float:
        return max(self.due, self.unit.patience.not_before)


def next_due(groups: Iterable[Group], now: float) -> tuple[Group, float]:
    """The group to poll next, of at least one, and how many seconds to wait for it.

    The one that has waited longest comes first, so a slow group cannot starve the others.
    """
    group = min(groups, key=lambda g: g.ready_at)
    return group, max(0.0, group.ready_at - now)


def after_poll(due: float, every: float, now: float) -> tuple[float, int]:
    """The next due time on the grid after `now`, and how many polls between were missed."""
    steps = max(1, math.floor((now - due) / every) + 1)
    return due + steps * every, steps - 1
