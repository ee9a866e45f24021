"""The circuit breaker, as a table of what happened and what it says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.breaker import JITTER, Breaker, State, failed, may_try, succeeded, trying

FRESH = Breaker(limit=5, pause_s=30)


def after_failures(n: int) -> Breaker:
    breaker = FRESH
    for _ in range(n):
        breaker = failed(breaker, 100.0, "away", 0.5)
    return breaker


@pytest.mark.parametrize(
    ("failures", "state", "pause"),
    [(1, State.CLOSED, 0.25), (2, State.CLOSED, 0.5), (4, State.CLOSED, 2.0), (5, State.OPEN, 30.0)],
)
def test_it_opens_at_the_limit_and_pauses_longer_each_time(failures: int, state: State, pause: float) -> None:
    breaker = after_failures(failures)
    assert (breaker.state, breaker.failures, breaker.reason) == (state, failures, "away")
    assert breaker.next_trial_at == pytest.approx(100.0 + pause)
    assert not may_try(breaker, 100.0 + pause - 0.01)
    assert may_try(breaker, 100.0 + pause)


def test_half_open_lets_one_try_and_the_trial_decides() -> None:
    trial = trying(after_failures(5), 130.0)
    assert trial.state is State.HALF_OPEN
    assert trial.since == 130.0
    again = failed(trial, 131.0, "still away", 0.5)
    assert (again.state, again.failures, again.next_trial_at) == (State.OPEN, 6, 161.0)
    well = succeeded(trial, 131.0)
    assert (well.state, well.failures, well.reason, well.since) == (State.CLOSED, 0, None, 131.0)
    assert may_try(well, 131.0)


def test_what_only_a_person_can_mend_opens_it_at_once() -> None:
    assert failed(FRESH, 0.0, "wrong password", 0.5, at_once=True).state is State.OPEN


def test_a_success_between_failures_starts_the_count_anew() -> None:
    assert failed(succeeded(after_failures(4), 101.0), 102.0, "away", 0.5).failures == 1


@given(st.integers(1, 200), st.floats(0, 1))
def test_pauses_are_spread_but_bounded(failures: int, chance: float) -> None:
    breaker = FRESH
    for _ in range(failures):
        breaker = failed(breaker, 0.0, "away", chance)
        limit = 30.0 if breaker.state is State.OPEN else 10.0
        assert 0.25 * (1 - JITTER) <= breaker.next_trial_at <= limit * (1 + JITTER) + 1e-9
