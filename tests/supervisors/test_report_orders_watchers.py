"""What people are told: the status of a branch, answers to orders, and reports that never pile up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from actors.messages import Command, CommandDone
from supervisors import watchers
from supervisors.orders import NotFound, Orders, find
from supervisors.report import Seen, pids, subtree
from supervisors.spec import SUPERVISOR, Child, Strategy, WhenExhausted, supervisor, worker
from supervisors.state import ChildState, KillChild, Life, Phase, RestartChild, State

RUN = "tests.kit.workers:Press"
BROKER = worker("broker", RUN, when_exhausted=WhenExhausted.ESCALATE)
PRESS = worker("press", RUN)


def state(*children: ChildState, life: Life = Life.RUNNING, **fields: Any) -> State:
    return State(supervisor("line", Strategy.ONE, *(child.spec for child in children)), children, life, **fields)


def node(now: State, **seen: Seen) -> dict[str, Any]:
    return subtree(
        "line", now, {child.spec.id: seen.get(child.spec.id, Seen()) for child in now.children}, 100.0, 5_000_000
    )


def says(status: str, reason: str | None = None) -> Seen:
    return Seen(said={"status": status, "reason": reason})


UP = Phase.RUNNING


@pytest.mark.parametrize(
    ("broker", "press", "life", "status", "reason"),
    [
        (says("HEALTHY"), says("HEALTHY"), Life.RUNNING, "HEALTHY", None),
        (says("HEALTHY"), says("HEALTHY"), Life.STARTING, "STARTING", None),
        (says("HEALTHY"), says("STARTING"), Life.RUNNING, "STARTING", None),
        (says("HEALTHY"), says("UNHEALTHY", "no source"), Life.RUNNING, "DEGRADED", "press: no source"),
        (says("DEGRADED"), says("HEALTHY"), Life.RUNNING, "DEGRADED", "broker: is DEGRADED"),
        (says("UNHEALTHY", "disk full"), says("DEGRADED"), Life.RUNNING, "UNHEALTHY", "broker: disk full"),
    ],
)
def test_a_branch_is_as_well_as_its_parts(
    broker: Seen, press: Seen, life: Life, status: str, reason: str | None
) -> None:
    found = node(state(ChildState(BROKER, UP), ChildState(PRESS, UP), life=life), broker=broker, press=press)
    assert (found["status"], found["reason"]) == (status, reason)


@pytest.mark.parametrize(
    ("child", "status", "words"),
    [
        (ChildState(PRESS), "STARTING", "waits for its turn"),
        (
            ChildState(PRESS, Phase.BACKOFF, deadline=101.0, reason="killed by SIGSEGV"),
            "UNHEALTHY",
            "killed by SIGSEGV",
        ),
        (ChildState(PRESS, Phase.FAILED, reason="ended 6 times"), "FAILED", "ended 6 times"),
        (ChildState(PRESS, Phase.FINISHED), "HEALTHY", ""),
        (ChildState(PRESS, Phase.FINISHED, reason="exit code 3"), "FAILED", "exit code 3"),
        (ChildState(PRESS, Phase.STOPPING), "UNHEALTHY", "being stopped"),
    ],
)
def test_a_child_that_does_not_run_is_described_by_its_phase(child: ChildState, status: str, words: str) -> None:
    found = node(state(child), press=says("HEALTHY", "old news"))["children"][0]
    assert found["status"] == status
    assert words in (found["reason"] or "")
    assert "old news" not in (found["reason"] or "")


@pytest.mark.parametrize(
    ("said", "shown"), [("STARTING", "STARTING"), ("HEALTHY", "STARTING"), ("UNHEALTHY", "UNHEALTHY")]
)
def test_a_worker_that_waits_for_a_person_before_it_can_start_says_so(said: str, shown: str) -> None:
    seen = Seen()
    seen.said = {"status": said, "reason": "6 partitions", "next_step": "set it right"}
    found = node(state(ChildState(PRESS, Phase.STARTING)), press=seen)["children"][0]
    assert (found["status"], found["reason"], found["next_step"]) == (shown, "6 partitions", "set it right")


def test_a_supervisor_below_is_told_with_its_figures() -> None:
    line = supervisor("press_line", Strategy.ONE, PRESS)
    said = {"status": "HEALTHY", "children": [], "counters": {"events_doubled_total": 2}, "gauges": {"events_most": 4}}
    found = node(state(ChildState(line, UP)), press_line=Seen(said=said))["children"][0]
    assert (found["counters"], found["gauges"]) == ({"events_doubled_total": 2}, {"events_most": 4})


def test_a_worker_is_told_with_its_restarts_and_figures() -> None:
    said = {
        "status": "HEALTHY",
        "reason": None,
        "counters": {"readings_total": 7},
        "gauges": {},
        "facts": {"breaker": "closed"},
    }
    child = ChildState(PRESS, UP, incarnation=4, restarts=(-500.0, 50.0, 60.0))
    found = node(state(child), press=Seen(pid=7, started_at=2_000_000, heard_at=99.5, said=said))["children"][0]
    assert found["id"] == "line/press"
    assert (found["restarts"], found["restarts_max"], found["restarts_total"]) == (2, 5, 3)
    assert (found["pid"], found["uptime_s"], found["heartbeat_age_s"]) == (7, 3.0, 0.5)
    assert (found["counters"], found["facts"]) == ({"readings_total": 7}, {"breaker": "closed"})


def test_the_children_of_a_dead_supervisor_are_shown_without_processes() -> None:
    branch = Child("branch", SUPERVISOR, children=(PRESS,))
    seen = Seen(said={"children": [{"id": "line/branch/press", "pid": 7, "children": []}]})
    alive = node(state(ChildState(branch, UP)), branch=seen)["children"][0]
    dead = node(state(ChildState(branch, Phase.BACKOFF)), branch=seen)["children"][0]
    assert pids(alive) == [7]
    assert pids(dead) == []
    assert dead["children"][0]["state"] == "waiting"


# Orders.


class Post:
    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def send(self, _address: Any, message: Any) -> None:
        assert isinstance(message, CommandDone)
        self.sent.append(message.result)


def order(verb: str) -> Command:
    return Command("1", verb, "line/press", "api")


def test_a_restart_is_answered_when_the_next_incarnation_runs() -> None:
    post = Post()
    orders = Orders(post.send)
    child = ChildState(PRESS, UP, incarnation=1)
    assert orders.take(order("restart"), child, Life.RUNNING) == RestartChild("press")
    for waiting in (child, replace(child, phase=Phase.STOPPING), replace(child, phase=Phase.STARTING, incarnation=2)):
        orders.settle(state(waiting), {"press": Seen(pid=8)})
    assert post.sent == []
    for _ in range(2):
        orders.settle(state(replace(child, incarnation=2)), {"press": Seen(pid=8)})
    assert post.sent == [{"id": "line/press", "ok": True, "state": "running", "pid": 8}]


def test_a_restart_that_fails_says_why() -> None:
    post = Post()
    orders = Orders(post.send)
    orders.take(order("restart"), ChildState(PRESS, UP, incarnation=1), Life.RUNNING)
    orders.settle(state(ChildState(PRESS, Phase.BACKOFF, incarnation=2, reason="exit code 3")), {"press": Seen()})
    assert post.sent == [
        {"id": "line/press", "ok": False, "error": "line/press was started but is backoff: exit code 3"}
    ]


def test_a_restart_overtaken_by_the_end_is_refused() -> None:
    post = Post()
    orders = Orders(post.send)
    orders.take(order("restart"), ChildState(PRESS, UP, incarnation=1), Life.RUNNING)
    orders.settle(state(ChildState(PRESS, Phase.STOPPED, incarnation=1), life=Life.STOPPING), {"press": Seen()})
    assert post.sent[0]["error"] == "line/press: its supervisor is stopping"


@pytest.mark.parametrize(
    ("verb", "child", "life", "words"),
    [
        ("dance", ChildState(PRESS, UP), Life.RUNNING, "'dance' is not an order; there are restart, kill"),
        ("restart", ChildState(PRESS, UP), Life.STOPPING, "its supervisor is stopping"),
        ("kill", ChildState(PRESS, Phase.FAILED), Life.RUNNING, "has no process to kill, it is failed"),
    ],
)
def test_what_cannot_be_done_is_refused(verb: str, child: ChildState, life: Life, words: str) -> None:
    post = Post()
    assert Orders(post.send).take(order(verb), child, life) is None
    assert words in post.sent[0]["error"]


def test_a_kill_is_answered_at_once() -> None:
    post = Post()
    assert Orders(post.send).take(order("kill"), ChildState(PRESS, UP), Life.RUNNING) == KillChild("press")
    assert post.sent == [{"id": "line/press", "ok": True}]


TWO_LINES = supervisor("root", Strategy.ONE, *(supervisor(name, Strategy.ONE, PRESS) for name in ("north", "south")))


@pytest.mark.parametrize(("target", "found"), [("north/press", "north/press"), ("south", "south")])
def test_a_component_is_found_by_its_path_or_its_name(target: str, found: str) -> None:
    assert find(TWO_LINES, target) == found


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("press", "'press' is the name of north/press, south/press; give the whole path"),
        ("west", "there is no component 'west'; there are north, north/press, south, south/press"),
        ("root", "there is no component 'root'"),
    ],
)
def test_a_component_that_is_not_clear_is_refused(target: str, words: str) -> None:
    with pytest.raises(NotFound, match=words):
        find(TWO_LINES, target)


def test_a_loop_of_restarts_is_refused_in_the_end() -> None:
    post = Post()
    orders = Orders(post.send)
    for _ in range(101):
        orders.take(order("restart"), ChildState(PRESS, UP, incarnation=1), Life.RUNNING)
    assert len(post.sent) == 1


# Watchers.


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, each_second: bool) -> None:
        self.now = 50.0
        monkeypatch.setattr(watchers.time, "monotonic", lambda: self.now)
        self.sent: list[str] = []
        self.wakes: list[tuple[float, object]] = []
        self.watchers = watchers.Watchers(
            self.sent.append, lambda after, what: self.wakes.append((self.now + after, what)), each_second=each_second
        )

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while due := sorted((wake for wake in self.wakes if wake[0] <= end), key=lambda wake: wake[0]):
            self.wakes.remove(due[0])
            self.now = max(self.now, due[0][0])
            if due[0][1] == self.watchers.planned:
                self.watchers.publish()
        self.now = end


def test_a_crowd_of_changes_is_one_report_and_the_next_waits_until_it_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, each_second=False)
    clock.watchers.add("parent")
    clock.run(0.1)
    clock.sent.clear()
    clock.watchers.seen("parent")
    for _ in range(100):
        clock.watchers.changed()
    clock.run(1)
    clock.watchers.changed()
    clock.run(100)
    assert clock.sent == ["parent"]
    clock.watchers.seen("parent")
    clock.run(1)
    assert clock.sent == ["parent", "parent"]


def test_a_watcher_of_the_root_hears_each_second_and_is_forgotten_when_it_does_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch, each_second=True)
    clock.watchers.add("api")
    for _ in range(10):
        clock.run(1)
        clock.watchers.seen("api")
    assert 9 <= len(clock.sent) <= 11
    clock.run(60)
    assert len(clock.sent) <= 12
    assert clock.wakes == []
