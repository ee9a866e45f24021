"""A supervisor's heartbeat, how it stops, and what a person may order; no process is started here."""

from __future__ import annotations

from supervisors.decide import KILL_AGAIN_S
from supervisors.spec import SUPERVISOR, Child, Strategy
from supervisors.state import (
    Answered,
    Ask,
    End,
    Exited,
    Halt,
    Kill,
    KillChild,
    Launch,
    RestartChild,
    Started,
    StopAll,
    Tick,
)
from tests.supervisors.decide_kit import ESCALATE, Bench, running, w

# Heartbeat.


def test_one_question_at_a_time_and_silence_is_killed_again_and_again() -> None:
    bench = running(Strategy.ONE, w("a", heartbeat_s=3))
    bench.now += 1
    assert bench.tell(Tick()) == [Ask("a")]
    asked = bench.now
    assert bench.after(2.9, silent=True) == []
    assert bench.after(0.2, silent=True) == [Kill("a", "hung: no answer for 3 s")]
    assert bench.child("a").pinged_at == asked
    assert bench.after(KILL_AGAIN_S, silent=True) == [Kill("a", "hung: no answer for 3 s")]
    bench.died("a")
    assert bench.child("a").reason == "hung: no answer for 3 s"


def test_a_child_that_answers_is_asked_about_once_a_second_and_left_alone() -> None:
    bench = running(Strategy.ONE, w("a", heartbeat_s=3))
    asks = 0
    for _ in range(1000):
        bench.now += 0.1
        if bench.tell(Tick()) == [Ask("a")]:
            asks += 1
            bench.tell(Answered("a", 1))
    assert 90 <= asks <= 101
    assert bench.phases() == {"a": "running"}


def test_a_supervisor_that_was_stopped_itself_does_not_blame_its_children() -> None:
    bench = running(Strategy.ONE, w("a", heartbeat_s=3))
    bench.after(1.5, silent=True)
    bench.now += 600
    assert bench.tell(Tick()) == []
    bench.tell(Answered("a", 1))
    assert bench.after(0.5) == []


def test_a_worker_may_block_while_it_starts_and_a_supervisor_may_not() -> None:
    bench = Bench(Strategy.ONE, w("a", heartbeat_s=3))
    assert bench.after(20, silent=True) == []
    branch = Bench(Strategy.ONE, Child("branch", SUPERVISOR, heartbeat_s=3))
    assert branch.after(20, silent=True)[0] == Kill("branch", "hung: no answer for 3 s")


# Stopping.


def test_stopping_goes_right_to_left_and_ends() -> None:
    bench = running(Strategy.ONE, w("a"), w("b"), w("c"))
    assert bench.tell(StopAll()) == [Halt("c", 10)]
    assert bench.died("c", clean=True) == [Halt("b", 10)]
    assert bench.died("b", clean=True) == [Halt("a", 10)]
    assert bench.died("a", clean=True) == [End(None)]


def test_one_that_does_not_stop_is_killed_and_the_rest_goes_on() -> None:
    bench = running(Strategy.ONE, w("a"), w("b", stop_within_s=2))
    bench.tell(StopAll())
    assert bench.after(2.1) == [Kill("b", "did not stop within 2 s")]
    assert bench.died("b") == [Halt("a", 10)]


def test_a_stop_during_the_start_starts_nothing_more() -> None:
    bench = Bench(Strategy.ONE, w("a"), w("b"))
    assert bench.tell(StopAll()) == [Halt("a", 10)]
    assert bench.tell(Started("a", 1)) == []
    assert bench.died("a", clean=True) == [End(None)]


def test_a_stop_in_the_backoff_ends_at_once() -> None:
    bench = running(Strategy.ONE, w("a"))
    bench.died("a")
    assert bench.tell(StopAll()) == [End(None)]
    assert bench.after(100) == []


def test_a_child_that_cannot_work_is_parked_at_once_and_released_by_a_person() -> None:
    bench = running(Strategy.ONE, w("a"), w("b"))
    assert bench.tell(Exited("a", 1, "no key", hopeless=True)) == []
    assert (bench.phases(), bench.child("a").reason) == ({"a": "failed", "b": "running"}, "no key")
    assert bench.after(1000) == []
    assert bench.tell(RestartChild("a")) == [Launch("a", 2)]


def test_one_that_all_need_escalates_by_its_budget_even_if_it_cannot_work() -> None:
    bench = running(Strategy.ONE, w("a", **ESCALATE))
    bench.tell(Exited("a", 1, "no key", hopeless=True))
    assert bench.phases() == {"a": "backoff"}


# A person's orders.


def test_an_ordered_restart_does_not_count_and_takes_its_dependents_along() -> None:
    bench = running(Strategy.REST, w("a", restarts_max=0), w("b"))
    assert bench.tell(RestartChild("a")) == [Halt("b", 10)]
    assert bench.died("b", clean=True) == [Halt("a", 10)]
    assert bench.died("a", clean=True) == [Launch("a", 2)]
    assert bench.tell(Started("a", 2)) == [Launch("b", 2)]


def test_an_ordered_restart_releases_a_parked_child_with_a_fresh_budget() -> None:
    bench = running(Strategy.ONE, w("a", restarts_max=0))
    bench.died("a")
    assert bench.phases() == {"a": "failed"}
    assert bench.tell(RestartChild("a")) == [Launch("a", 2)]


def test_an_ordered_kill_restarts_at_once_and_does_not_count() -> None:
    bench = running(Strategy.ONE, w("a", restarts_max=0))
    assert bench.tell(KillChild("a")) == [Kill("a", "killed by command")]
    assert bench.died("a") == [Launch("a", 2)]
