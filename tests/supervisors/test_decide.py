"""How a supervisor starts its children, whom a death takes along, and when it gives up; no process is started here."""

from __future__ import annotations

from typing import Any

import pytest

from supervisors.decide import backoff
from supervisors.spec import Restart, Strategy
from supervisors.state import (
    Announce,
    End,
    Exited,
    Halt,
    Kill,
    Launch,
    Life,
    Phase,
    Started,
)
from tests.supervisors.decide_kit import ESCALATE, Bench, running, w

# Starting.


@pytest.mark.parametrize("strategy", list(Strategy))
def test_children_start_one_after_the_other(strategy: Strategy) -> None:
    bench = Bench(strategy, w("a"), w("b"), w("c"))
    assert bench.orders == [Launch("a", 1)]
    assert bench.tell(Started("a", 1)) == [Launch("b", 1)]
    assert bench.tell(Started("b", 1)) == [Launch("c", 1)]
    assert bench.tell(Started("c", 1)) == [Announce()]


def test_an_empty_branch_has_started() -> None:
    assert Bench(Strategy.ONE).orders == [Announce()]


@pytest.mark.parametrize(
    ("strategy", "fields", "next_starts"),
    [
        (Strategy.ONE, {}, True),
        (Strategy.ONE, ESCALATE, False),
        (Strategy.REST, {}, False),
        (Strategy.ALL, {}, False),
    ],
)
def test_who_waits_for_a_child_that_fails_to_start(
    strategy: Strategy, fields: dict[str, Any], next_starts: bool
) -> None:
    bench = Bench(strategy, w("a", **fields), w("b"))
    assert (Launch("b", 1) in bench.died("a")) is next_starts


def test_a_child_that_is_not_ready_in_time_is_killed_and_its_death_counts() -> None:
    bench = Bench(Strategy.ONE, w("a", start_within_s=3))
    assert bench.after(2.9) == []
    assert bench.after(0.2) == [Kill("a", "did not get ready within 3 s")]
    bench.died("a")
    assert (bench.child("a").phase, bench.child("a").reason) == (Phase.BACKOFF, "did not get ready within 3 s")


def test_in_one_for_one_a_slow_restart_holds_up_nobody() -> None:
    bench = running(Strategy.ONE, w("a"), w("b"))
    bench.died("a")
    bench.died("b")
    assert bench.after(1) == [Launch("a", 2), Launch("b", 2)]


# Ends and restarts (the table of OTP).


@pytest.mark.parametrize(
    ("restart", "clean", "phase"),
    [
        (Restart.PERMANENT, False, Phase.BACKOFF),
        (Restart.PERMANENT, True, Phase.BACKOFF),
        (Restart.TRANSIENT, False, Phase.BACKOFF),
        (Restart.TRANSIENT, True, Phase.FINISHED),
        (Restart.TEMPORARY, False, Phase.FINISHED),
        (Restart.TEMPORARY, True, Phase.FINISHED),
    ],
)
def test_who_runs_again(restart: Restart, clean: bool, phase: Phase) -> None:
    bench = running(Strategy.ONE, w("a", restart=restart))
    bench.died("a", clean=clean)
    assert bench.child("a").phase is phase


@pytest.mark.parametrize(
    ("strategy", "halted", "started_again"),
    [
        (Strategy.ONE, [], ["b"]),
        (Strategy.REST, ["d", "c"], ["b", "c", "d"]),
        (Strategy.ALL, ["d", "c", "a"], ["a", "b", "c", "d"]),
    ],
)
def test_whom_a_death_takes_along(strategy: Strategy, halted: list[str], started_again: list[str]) -> None:
    bench = running(strategy, w("a"), w("b"), w("c"), w("d"))
    orders = bench.died("b")
    seen_halts, seen_launches = [], []
    for _ in range(30):
        for order in orders:
            if isinstance(order, Halt):
                seen_halts.append(order.id)
            if isinstance(order, Launch):
                seen_launches.append(order.id)
        stopping = [each for each in bench.state.children if each.phase is Phase.STOPPING]
        starting = [each for each in bench.state.children if each.phase is Phase.STARTING]
        assert len(stopping) <= 1
        if stopping:
            orders = bench.died(stopping[0].spec.id, clean=True)
        elif starting:
            orders = bench.tell(Started(starting[0].spec.id, starting[0].incarnation))
        else:
            orders = bench.after(0.2)
    assert (seen_halts, seen_launches) == (halted, started_again)
    assert set(bench.phases().values()) == {"running"}


def test_a_bystander_that_was_temporary_is_not_started_again_and_one_that_had_finished_is() -> None:
    bench = running(Strategy.REST, w("a"), w("topics", restart=Restart.TRANSIENT), w("once", restart=Restart.TEMPORARY))
    bench.died("topics", clean=True)
    bench.died("a")
    bench.died("once", clean=True)
    assert bench.after(1) == [Launch("a", 2)]
    assert bench.tell(Started("a", 2)) == [Launch("topics", 2)]
    assert bench.phases()["once"] == "finished"


def test_one_death_is_one_death_however_often_it_is_told() -> None:
    bench = running(Strategy.ONE, w("a"))
    bench.died("a")
    before = bench.state
    assert bench.tell(Exited("a", 1, "killed by SIGKILL")) == []
    bench.after(1)
    bench.tell(Exited("a", 1, "killed by SIGKILL"))
    assert (len(before.child("a").restarts), bench.child("a").phase) == (1, Phase.STARTING)


def test_a_child_that_dies_while_it_is_being_stopped_has_stopped() -> None:
    bench = running(Strategy.REST, w("a"), w("b", restarts_max=0))
    bench.died("a")
    bench.died("b", "killed by SIGSEGV")
    assert bench.phases() == {"a": "backoff", "b": "waiting"}


# Budgets.


def test_a_child_that_parks_fails_alone_after_its_own_restarts() -> None:
    bench = running(Strategy.ONE, w("a", restarts_max=2), w("b"))
    for incarnation in (2, 3):
        bench.died("a")
        assert bench.after(30) == [Launch("a", incarnation)]
    assert bench.died("a", "killed by SIGSEGV") == []
    assert bench.phases() == {"a": "failed", "b": "running"}
    assert bench.child("a").reason == "ended 3 times within 300 s, the last time: killed by SIGSEGV"
    assert bench.after(10_000) == []


def test_just_below_the_intensity_it_never_trips() -> None:
    bench = running(Strategy.ONE, w("a", restarts_max=5, restarts_window_s=300))
    for _ in range(100):
        bench.died("a")
        bench.after(60.01)
        bench.started("a")
    assert bench.phases() == {"a": "running"}


def test_critical_children_share_the_budget_of_their_supervisor_and_end_it_in_order() -> None:
    bench = running(Strategy.ONE, w("a", **ESCALATE), w("b", **ESCALATE), w("c"), restarts_max=1)
    bench.died("a")
    bench.after(1)
    bench.started("a")
    assert bench.died("b", "exit code 3") == [Halt("c", 10)]
    assert bench.died("c", clean=True) == [Halt("a", 10)]
    reason = "b: exit code 3; that is one more than 1 restarts within 300 s"
    assert bench.died("a", clean=True) == [End(reason)]
    assert (bench.state.life, bench.state.reason) == (Life.ENDED, reason)


def test_each_restart_in_the_window_waits_twice_as_long_up_to_a_bound() -> None:
    spec = w("a", backoff_first_s=0.1, backoff_most_s=1.0)
    assert [round(backoff(spec, n, 0.5), 3) for n in (0, 1, 2, 3, 4, 5, 500)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0]
    assert (backoff(spec, 0, 0.0), backoff(spec, 0, 1.0)) == (0.05, pytest.approx(0.15))


def test_the_jitter_of_the_event_decides_the_due_time() -> None:
    bench = running(Strategy.ONE, w("a", backoff_first_s=1.0))
    bench.tell(Exited("a", 1, "x", jitter=0.0))
    assert bench.child("a").deadline == bench.now + 0.5
