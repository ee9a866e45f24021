"""Every decision of a supervisor as a table or a property; no process is started here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisors.decide import KILL_AGAIN_S, backoff, decide, next_due
from supervisors.spec import SUPERVISOR, Child, Restart, Strategy, WhenExhausted, supervisor, worker
from supervisors.state import (
    Announce,
    Answered,
    Ask,
    Begin,
    ChildState,
    Command,
    End,
    Event,
    Exited,
    Halt,
    Kill,
    KillChild,
    Launch,
    Life,
    Phase,
    RestartChild,
    Started,
    State,
    StopAll,
    Tick,
    fresh,
)

RUN = "tests.kit.workers:Press"
ESCALATE = {"when_exhausted": WhenExhausted.ESCALATE}


class Bench:
    """A supervisor without processes: tell it what happens, read what it orders."""

    def __init__(self, strategy: Strategy, *children: Child, **fields: Any) -> None:
        self.state = fresh(supervisor("line", strategy, *children, **fields))
        self.now = 100.0
        self.tell(Begin())

    def tell(self, event: Event) -> list[Command]:
        self.state, commands = decide(self.state, event, self.now)
        self.orders = list(commands)
        return self.orders

    def started(self, *names: str) -> None:
        for name in names:
            self.tell(Started(name, self.child(name).incarnation))

    def died(self, name: str, how: str = "killed by SIGKILL", *, clean: bool = False) -> list[Command]:
        return self.tell(Exited(name, self.child(name).incarnation, how, clean))

    def after(self, seconds: float, *, silent: bool = False) -> list[Command]:
        """Time passes as the shell lets it, tick by tick; the children answer unless they are to be silent."""
        end, orders = self.now + seconds, []
        while True:
            due = next_due(self.state)
            self.now = end if due is None else max(self.now, min(due, end))
            orders += self.tell(Tick())
            for ask in [each for each in self.orders if isinstance(each, Ask) and not silent]:
                self.tell(Answered(ask.id, self.child(ask.id).incarnation))
            if self.now >= end:
                return [each for each in orders if not isinstance(each, Ask)]

    def child(self, name: str) -> ChildState:
        return self.state.child(name)

    def phases(self) -> dict[str, str]:
        return {each.spec.id: str(each.phase) for each in self.state.children}


def w(name: str, **fields: Any) -> Child:
    return worker(name, RUN, **{"backoff_first_s": 0.1, **fields})


def running(strategy: Strategy, *children: Child, **fields: Any) -> Bench:
    bench = Bench(strategy, *children, **fields)
    bench.started(*(each.id for each in children))
    assert bench.state.life is Life.RUNNING
    return bench


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


# Properties.

IDS = ("a", "b", "c")
CHILDREN = st.tuples(
    *(
        st.builds(
            w,
            st.just(name),
            restart=st.sampled_from(Restart),
            when_exhausted=st.sampled_from(WhenExhausted),
            restarts_max=st.integers(0, 2),
            heartbeat_s=st.sampled_from([2.0, 10.0]),
        )
        for name in IDS
    )
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("tick"), st.sampled_from([0.05, 0.5, 3.0, 400.0])),
        st.tuples(
            st.sampled_from(["started", "died", "ended", "stale", "answered", "restart", "kill"]), st.sampled_from(IDS)
        ),
        st.tuples(st.just("stop"), st.just("")),
    ),
    max_size=60,
)


class Plant:
    """The processes a supervisor believes in: it launches and kills, they obey, and the rules are checked at each order."""

    def __init__(self, strategy: Strategy, children: Sequence[Child]) -> None:
        self.state: State = fresh(supervisor("line", strategy, *children, restarts_max=2))
        self.now = 0.0
        self.alive: dict[str, int] = {}
        self.stop_ordered = False
        self.ended = False
        self.tell(Begin())

    def tell(self, event: Event) -> None:
        self.state, commands = decide(self.state, event, self.now)
        for command in commands:
            assert not self.ended, "an order after the end"
            match command:
                case Launch(name, incarnation):
                    assert name not in self.alive, "two processes of one child"
                    assert not self.stop_ordered, "a start after the order to stop"
                    if self.state.spec.strategy is not Strategy.ONE:
                        before = self.state.children[: IDS.index(name)]
                        assert all(each.phase in {Phase.RUNNING, Phase.FINISHED} for each in before), (
                            "a start before those it needs"
                        )
                    self.alive[name] = incarnation
                case Halt(name, _):
                    assert name in self.alive
                    if self.stop_ordered:
                        assert not any(other in self.alive for other in IDS[IDS.index(name) + 1 :]), (
                            "stopped before those behind it"
                        )
                case Kill(name, _):
                    assert name in self.alive
                case End():
                    assert not self.alive
                    self.ended = True
                case _:
                    pass

    def step(self, what: str, arg: Any) -> None:
        incarnation = self.alive.get(arg, 0)
        match what:
            case "tick":
                self.now += arg
                self.tell(Tick())
            case "started" if incarnation:
                self.tell(Started(arg, incarnation))
            case "died" | "ended" if incarnation:
                del self.alive[arg]
                self.tell(Exited(arg, incarnation, what, clean=what == "ended"))
            case "stale":
                self.tell(Exited(arg, self.state.child(arg).incarnation - 1, "old news"))
            case "answered" if incarnation:
                self.tell(Answered(arg, incarnation))
            case "restart":
                self.tell(RestartChild(arg))
            case "kill":
                self.tell(KillChild(arg))
            case "stop":
                self.stop_ordered = True
                self.tell(StopAll())
            case _:
                pass


@given(strategy=st.sampled_from(Strategy), children=CHILDREN, steps=STEPS)
def test_whatever_happens_the_rules_hold_and_a_stop_ends(
    strategy: Strategy, children: Any, steps: list[tuple[str, Any]]
) -> None:
    plant = Plant(strategy, children)
    for what, arg in steps:
        plant.step(what, arg)
        assert {c.spec.id for c in plant.state.children if c.alive} == set(plant.alive)
    plant.stop_ordered = True
    plant.tell(StopAll())
    for _ in range(10):
        for name in [each.spec.id for each in plant.state.children if each.phase is Phase.STOPPING]:
            plant.step("ended", name)
    assert plant.ended
    assert plant.state.life is Life.ENDED


@given(children=CHILDREN, steps=STEPS)
def test_left_alone_every_child_ends_up_running_finished_or_failed(children: Any, steps: list[tuple[str, Any]]) -> None:
    plant = Plant(Strategy.ONE, children)
    for what, arg in steps:
        plant.step(what, arg)
    for _ in range(30):
        plant.now += 1
        plant.tell(Tick())
        for child in plant.state.children:
            if child.phase is Phase.STARTING:
                plant.step("started", child.spec.id)
            elif child.alive and (child.killed_for or child.phase is Phase.STOPPING):
                plant.step("ended", child.spec.id)
            elif child.alive:
                plant.step("answered", child.spec.id)
    settled = {Phase.RUNNING, Phase.FINISHED, Phase.FAILED}
    assert plant.ended or all(each.phase in settled for each in plant.state.children)


@given(children=CHILDREN, steps=STEPS)
def test_the_budget_is_never_exceeded(children: Any, steps: list[tuple[str, Any]]) -> None:
    plant = Plant(Strategy.ONE, children)
    for what, arg in steps:
        plant.step(what, arg)
        assert len(plant.state.restarts) <= 2
        assert all(len(child.restarts) <= child.spec.restarts_max for child in plant.state.children)
