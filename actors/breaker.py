"""The circuit breaker of one outside connection: whether to try now, and if not, when. Pure: time and chance are given.

Closed: failures are retried after a short pause that grows. Open, after so many failures in a row or at once where only a person can
help: nothing is tried until the pause is over. Half open: one trial; it decides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from tenacity import RetryCallState, wait_exponential

JITTER = 0.2
"""Part of a pause by which it is made longer or shorter, so that many gateways do not all come back at the same instant."""

_growing = wait_exponential(multiplier=0.25, max=10)


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class Breaker:
    """Times are seconds of one monotonic clock."""

    limit: int
    """Failures in a row that open it."""
    pause_s: float
    state: State = State.CLOSED
    since: float = 0.0
    """When it came into its state."""
    failures: int = 0
    """In a row, up to now."""
    next_trial_at: float = 0.0
    reason: str | None = None
    """Of the last failure, until it is closed and well again."""


def may_try(breaker: Breaker, now: float) -> bool:
    return now >= breaker.next_trial_at


def trying(breaker: Breaker, now: float) -> Breaker:
    """A trial begins: an open breaker is then half open."""
    return _into(breaker, State.HALF_OPEN, now) if breaker.state is State.OPEN else breaker


def failed(breaker: Breaker, now: float, reason: str, chance: float, at_once: bool = False) -> Breaker:
    """An attempt failed. `chance` is 0 to 1; `at_once` opens it whatever the count: trying again soon could not help."""
    failures = breaker.failures + 1
    opens = at_once or failures >= breaker.limit or breaker.state is not State.CLOSED
    pause = breaker.pause_s if opens else _pause(failures)
    pause *= 1 - JITTER + 2 * JITTER * chance
    counted = replace(breaker, failures=failures, next_trial_at=now + pause, reason=reason)
    return _into(counted, State.OPEN if opens else State.CLOSED, now)


def succeeded(breaker: Breaker, now: float) -> Breaker:
    well = replace(breaker, failures=0, next_trial_at=0.0, reason=None)
    return _into(well, State.CLOSED, now)


def _into(breaker: Breaker, state: State, now: float) -> Breaker:
    return breaker if breaker.state is state else replace(breaker, state=state, since=now)


def _pause(failures: int) -> float:
    """0.25, 0.5, 1, ... at most 10 s."""
    attempt = RetryCallState(None, None, (), {})  # type: ignore[arg-type]  # only the number of the attempt is asked for
    attempt.attempt_number = failures
    return float(_growing(attempt))
