"""A supervisor without processes, for the tests of its decisions."""

from __future__ import annotations

from typing import Any

from supervisors.decide import decide, next_due
from supervisors.spec import Child, Strategy, WhenExhausted, supervisor, worker
from supervisors.state import (
    Answered,
    Ask,
    Begin,
    ChildState,
    Command,
    Event,
    Exited,
    Life,
    Started,
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
