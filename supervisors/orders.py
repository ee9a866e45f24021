"""People's orders on their way: who waits for the answer to `restart` or `kill`, and when it is due."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from actors.messages import Command, CommandDone
from supervisors.report import Seen
from supervisors.spec import Child, walk
from supervisors.state import ChildState, Event, KillChild, Life, Phase, RestartChild, State

VERBS = ("restart", "kill")
RESTARTS_MAX = 100
"""Restarts that wait for their answer at one supervisor; beyond, something is asking in a loop."""


class NotFound(Exception):
    """No component, or more than one, has that name; the text says which there are."""


def find(tree: Child, target: str) -> str:
    """The path of the component with this path, or with this last part of it. Raises NotFound."""
    paths = [path for path, _ in walk(tree)][1:]
    found = [path for path in paths if path == target] or [path for path in paths if path.rpartition("/")[2] == target]
    if len(found) > 1:
        raise NotFound(f"{target!r} is the name of {', '.join(found)}; give the whole path")
    if not found:
        raise NotFound(f"there is no component {target!r}; there are {', '.join(paths)}")
    return found[0]


class Orders:
    """Of one supervisor. `send(address, message)` is its actor's."""

    def __init__(self, send: Callable[[Any, object], None]) -> None:
        self._send = send
        self._restarts: list[tuple[Command, str, int]] = []
        """The order, the child, and the incarnation that has to come."""

    def refuse(self, order: Command, why: str) -> None:
        self._done(order, ok=False, error=why)

    def take(self, order: Command, child: ChildState, life: Life) -> Event | None:
        """What the order means for decide.py, or None if it is refused or done."""
        if order.verb not in VERBS:
            self.refuse(order, f"{order.verb!r} is not an order; there are {', '.join(VERBS)}")
            return None
        if life not in {Life.STARTING, Life.RUNNING}:
            self.refuse(order, f"{order.target}: its supervisor is {life}")
            return None
        if order.verb == "restart" and len(self._restarts) >= RESTARTS_MAX:
            self.refuse(order, f"{order.target}: {RESTARTS_MAX} restarts are waiting for their end already")
            return None
        if order.verb == "restart":
            self._restarts.append((order, child.spec.id, child.incarnation + 1))
            return RestartChild(child.spec.id)
        if not child.alive:
            self.refuse(order, f"{order.target} has no process to kill, it is {child.phase}")
            return None
        self._done(order, ok=True)
        return KillChild(child.spec.id)

    def settle(self, state: State, seen: dict[str, Seen]) -> None:
        """Answer those whose restart has come to an end, good or bad."""
        waiting = []
        for order, name, incarnation in self._restarts:
            child = state.child(name)
            if child.incarnation < incarnation or child.phase is Phase.STARTING:
                over = state.life not in {Life.STARTING, Life.RUNNING}
                if over:
                    self.refuse(order, f"{order.target}: its supervisor is {state.life}")
                else:
                    waiting.append((order, name, incarnation))
            elif child.phase in {Phase.RUNNING, Phase.FINISHED}:
                self._done(order, ok=True, state=str(child.phase), pid=seen[name].pid)
            else:
                self.refuse(
                    order, f"{order.target} was started but is {child.phase}: {child.reason or 'no reason known'}"
                )
        self._restarts = waiting

    def _done(self, order: Command, **result: Any) -> None:
        self._send(order.origin, CommandDone(order.request, {"id": order.target, **result}))
