"""When to poll: on the grid, fairly, and silent units rarely. All with times made up here."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.modbus.schedule import Group, Manners, Patience, Unit, after_poll, next_due, sign_of_life, silence

MANNERS = Manners(dead_after=3, pause=10.0, pause_most=60.0)


def group(due, unit=None, every=1.0):
    return Group(unit or Unit(1), every, due, [], [])


@pytest.mark.parametrize(
    ("now", "due", "missed"),
    [(100.0, 101.0, 0), (100.4, 101.0, 0), (100.999, 101.0, 0), (101.0, 102.0, 1), (103.5, 104.0, 3), (99.9, 101.0, 0)],
)
def test_a_poll_that_took_until_now_is_next_due_on_the_grid(now, due, missed):
    assert after_poll(100.0, 1.0, now) == (due, missed)


@given(st.floats(0.01, 100), st.lists(st.floats(0, 500), min_size=1, max_size=30))
def test_the_grid_does_not_drift_and_no_poll_is_forgotten(every, lasts):
    """Every grid point is polled or counted as missed."""
    start = due = 1000.0
    polled = missed = 0
    for last in lasts:
        due, skipped = after_poll(due, every, due + last)
        polled, missed = polled + 1, missed + skipped
    assert (due - start) / every == pytest.approx(polled + missed, abs=1e-3)


def test_the_one_that_waited_longest_is_next():
    early, late = group(5.0), group(7.0)
    assert next_due([late, early], now=10.0) == (early, 0.0)


def test_before_anything_is_due_the_wait_is_said():
    one = group(12.5)
    assert next_due([group(20.0), one], now=10.0) == (one, 2.5)


def test_an_overloaded_group_does_not_starve_the_other():
    fast, slow = group(0.0, every=0.1), group(0.0, every=1.0)
    now, polls = 0.0, {id(fast): 0, id(slow): 0}
    while now < 20:
        one, wait = next_due([fast, slow], now)
        now += wait + 0.5  # every poll takes half a second
        one.due, _ = after_poll(one.due, one.every, now)
        polls[id(one)] += 1
    assert polls[id(slow)] >= 13


def test_a_silent_unit_is_given_up_after_three_requests_and_tried_with_growing_pauses():
    patience, now, pauses = Patience(), 0.0, []
    for _ in range(8):
        patience = silence(patience, MANNERS, now)
        if patience.given_up:
            pauses.append(patience.not_before - now)
            now = patience.not_before
    assert pauses == [10, 20, 40, 60, 60, 60]
    assert patience.silent == 8


def test_after_ten_years_of_silence_the_pause_is_still_a_number():
    assert MANNERS.pause_after(10**7) == 60.0


def test_the_groups_of_a_silent_unit_wait_and_the_others_do_not():
    dead = Unit(2, Patience(silent=3, tries=1, not_before=50.0))
    waiting, living = group(1.0, dead), group(30.0)
    assert next_due([waiting, living], now=29.0) == (living, 1.0)
    assert next_due([waiting, group(60.0)], now=29.0) == (waiting, 21.0)


def test_a_new_connection_tries_a_silent_unit_at_once_but_keeps_the_growth():
    given_up = Patience(silent=9, tries=4, not_before=500.0).hopeful()
    assert given_up.not_before < 0
    assert silence(given_up, MANNERS, 0.0).not_before == 60.0


def given_up():
    patience = Patience()
    for _ in range(MANNERS.dead_after):
        patience = silence(patience, MANNERS, now=100.0)
    return patience


@pytest.mark.parametrize(("usable", "tries_at_once"), [(True, [True, True, True]), (False, [True, False, False])])
def test_a_late_answer_brings_a_try_at_once_and_a_hopeless_one_only_one(usable, tries_at_once):
    patience, seen = given_up(), []
    for now in (110.0, 120.0, 130.0):
        patience = sign_of_life(patience, now, usable)
        seen.append(patience.not_before == now)
        patience = silence(patience, MANNERS, now)
    assert seen == tries_at_once


def test_a_late_answer_of_a_unit_that_is_polled_as_configured_changes_nothing():
    assert sign_of_life(Patience(silent=1), 110.0, usable=False) == Patience(silent=1)
