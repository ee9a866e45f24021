"""Whatever happens to a supervisor's children, in whatever order: the rules that always hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from supervisors.decide import decide
from supervisors.spec import Child, Restart, Strategy, WhenExhausted, supervisor
from supervisors.state import (
    Answered,
    Begin,
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
from tests.supervisors.decide_kit import w

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
