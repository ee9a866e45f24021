"""Rates are those of the workers' own lives, whatever way and however late their figures came."""

from __future__ import annotations

import pytest

from control.rates import Rates

PATH = "data_path/adapters/a"


def said(age_s, count, pid=7, silent_s=0.0):
    """A worker that had read `count` when it was `age_s` old, told of `silent_s` later."""
    counters = {'readings_total{x="1"}': count}
    return {"id": PATH, "pid": pid, "uptime_s": age_s + silent_s, "heartbeat_age_s": silent_s, "counters": counters}


def rate(*reports, name="readings_total"):
    rates = Rates()
    for report in reports:
        rates.take([report] if report else [])
    return rates.of(PATH, name)


def test_counts_a_second_over_all_labels():
    assert rate(said(100, 0), said(101, 100), said(102, 200)) == pytest.approx(100)
    assert rate(said(100, 0), said(101, 100), name="rejects_total") == 0


def test_only_the_last_seconds_count():
    assert rate(*[said(100 + n, 1000 * min(n, 10)) for n in range(20)]) == 0


def test_a_figure_that_comes_late_changes_nothing():
    """The api was started again: the first report holds figures of a second ago, the next comes at once with those of now."""
    assert rate(said(100, 5000, silent_s=0.9), said(101, 5400)) == pytest.approx(400)


def test_the_same_answer_told_twice_is_one():
    assert rate(said(100, 0), said(101, 100), said(101.001, 100, silent_s=0.5)) == pytest.approx(100, rel=0.01)


def test_nothing_is_known_from_one_answer_of_an_old_worker():
    assert rate(said(100, 5000)) == 0


def test_a_young_worker_began_with_nought():
    assert rate(said(2, 800)) == pytest.approx(400)


def test_a_worker_that_was_started_again_begins_anew():
    assert rate(said(100, 90_000), said(101, 90_400), said(1.5, 600, pid=8)) == pytest.approx(400)


def test_a_silent_worker_slows_down():
    assert rate(said(100, 0), said(101, 400), said(101, 400, silent_s=9)) == pytest.approx(40)


@pytest.mark.parametrize("gone", [None, {"id": PATH, "pid": None, "uptime_s": None, "heartbeat_age_s": None}])
def test_who_does_not_run_counts_nothing(gone):
    assert rate(said(100, 0), said(101, 400), gone) == 0


def test_a_clock_that_was_set_back_costs_one_window():
    assert rate(said(5000, 0), said(5001, 400), said(1402, 800), said(1403, 1200)) == pytest.approx(400)


def test_a_clock_that_was_put_forward_costs_one_window():
    reports = [said(100, 0), said(101, 400), *[said(5100 + n, 800 + 400 * n) for n in range(7)]]
    assert rate(*reports) == pytest.approx(400)
