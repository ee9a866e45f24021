"""What a supervisor tells of its subtree: one JSON node for each child, and the status that follows from them. Pure.

A node: id (the path), role, run, strategy (supervisors), state (state.Phase), status (SPEC section 11), reason, next_step (the worker's
own advice), pid, started_at
(microseconds since 1970), uptime_s, heartbeat_age_s, restarts (in the window), restarts_max, restarts_window_s, restarts_total,
restart_in_s (in backoff), last_exit (words; after a crash the end of the traceback), last_exit_at, counters, gauges, facts, children.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from actors.context import Status
from supervisors.decide import recent
from supervisors.spec import Child, WhenExhausted
from supervisors.state import ChildState, Life, Phase, State

Node = dict[str, Any]

_BAD = (Status.UNHEALTHY, Status.FAILED)


@dataclass(slots=True)
class Seen:
    """What the shell knows of a child beside the decisions: facts of its processes. Wall times in microseconds since 1970."""

    pid: int | None = None
    started_at: int | None = None
    heard_at: float | None = None
    """Monotonic seconds of its last answer."""
    last_exit: str | None = None
    last_exit_at: int | None = None
    next_step: str | None = None
    """What its last process said a person should do."""
    said: Node = field(default_factory=dict)
    """A worker's snapshot, or a supervisor's own node."""


def subtree(path: str, state: State, seen: dict[str, Seen], now: float, wall: int) -> Node:
    """The supervisor's own node with all below it. `path` is empty for the root. `now` in monotonic seconds, `wall` in microseconds."""
    children = [
        _node(f"{path}/{child.spec.id}" if path else child.spec.id, state, child, seen[child.spec.id], now, wall)
        for child in state.children
    ]
    status, reason = rolled_up(state, children)
    return {
        "id": path or state.spec.id,
        "role": "supervisor",
        "strategy": str(state.spec.strategy),
        "state": str(state.life),
        "status": str(status),
        "reason": reason,
        "children": children,
    }


def pids(node: Node) -> list[int]:
    """Of all processes below a node."""
    below = node.get("children", [])
    return [pid for each in below for pid in [each["pid"], *pids(each)] if pid is not None]


def rolled_up(state: State, children: list[Node]) -> tuple[Status, str | None]:
    """A critical part failed: UNHEALTHY; any other part not well: DEGRADED; with the first such part as the reason."""
    if state.reason is not None:
        return Status.FAILED, state.reason
    worst: tuple[Status, str | None] = (Status.HEALTHY, None)
    for child, node in zip(state.children, children, strict=True):
        found = _weight(child.spec, Status(node["status"]), node["reason"])
        if _RANK[found[0]] > _RANK[worst[0]]:
            worst = found
    if worst[0] is Status.HEALTHY and state.life is Life.STARTING:
        return Status.STARTING, None
    return worst


_RANK = {Status.HEALTHY: 0, Status.STARTING: 1, Status.DEGRADED: 2, Status.UNHEALTHY: 3, Status.FAILED: 4}


def _weight(spec: Child, status: Status, reason: str | None) -> tuple[Status, str | None]:
    if status in {Status.HEALTHY, Status.STARTING}:
        return status, None
    critical = spec.when_exhausted is WhenExhausted.ESCALATE
    text = reason if spec.is_supervisor and reason else f"{spec.id}: {reason or f'is {status}'}"
    return (Status.UNHEALTHY if critical and status in _BAD else Status.DEGRADED), text


def _node(path: str, state: State, child: ChildState, seen: Seen, now: float, wall: int) -> Node:
    spec = child.spec
    parks = spec.when_exhausted is WhenExhausted.PARK
    owner = spec if parks else state.spec
    used = recent(child.restarts if parks else state.restarts, owner.restarts_window_s, now)
    status, reason = _status(child, seen)
    node: Node = {
        "id": path,
        "role": "supervisor" if spec.is_supervisor else "worker",
        "run": spec.run,
        "state": str(child.phase),
        "status": str(status),
        "reason": reason,
        "next_step": _next_step(child, seen),
        "pid": seen.pid,
        "started_at": seen.started_at,
        "uptime_s": None if seen.started_at is None else max(0.0, (wall - seen.started_at) / 1e6),
        "heartbeat_age_s": None if seen.heard_at is None else max(0.0, now - seen.heard_at),
        "restarts": len(used),
        "restarts_max": owner.restarts_max,
        "restarts_window_s": owner.restarts_window_s,
        "restarts_total": max(0, child.incarnation - 1),
        "last_exit": seen.last_exit,
        "last_exit_at": seen.last_exit_at,
    }
    if child.phase is Phase.BACKOFF and child.deadline is not None:
        node["restart_in_s"] = max(0.0, child.deadline - now)
    node |= {key: seen.said.get(key, {}) for key in ("counters", "gauges", "facts")}
    if spec.is_supervisor:
        return {**node, "strategy": str(spec.strategy), "children": _children(path, child, seen)}
    return node


def _children(path: str, child: ChildState, seen: Seen) -> list[Node]:
    """Those the supervisor reported; of one that is gone, its part of the tree with nobody in it."""
    if child.alive and seen.said:
        found: list[Node] = seen.said["children"]
        return found
    empty = State(child.spec, tuple(ChildState(each) for each in child.spec.children))
    below = subtree(path, empty, {each.id: Seen() for each in child.spec.children}, 0.0, 0)
    children: list[Node] = below["children"]
    return children


def _status(child: ChildState, seen: Seen) -> tuple[Status, str | None]:
    """What the child says of itself while it runs, or while it waits for something before it can; else what its phase says of it."""
    match child.phase:
        case Phase.RUNNING:
            return Status(seen.said.get("status", Status.HEALTHY)), seen.said.get("reason")
        case Phase.WAITING:
            return Status.STARTING, "waits for its turn to start"
        case Phase.STARTING:
            said = Status(seen.said.get("status", Status.STARTING))
            waits = not child.spec.is_supervisor and said in {Status.DEGRADED, Status.UNHEALTHY}
            return said if waits else Status.STARTING, seen.said.get("reason")
        case Phase.BACKOFF:
            return Status.UNHEALTHY, f"starts again in a moment; {_last_line(child.reason)}"
        case Phase.FAILED:
            return Status.FAILED, child.reason
        case Phase.FINISHED:
            return (Status.HEALTHY, None) if child.reason is None else (Status.FAILED, child.reason)
        case Phase.STOPPING:
            return Status.UNHEALTHY, "is being stopped"
        case _:
            return Status.UNHEALTHY, child.reason or "is stopped"


def _next_step(child: ChildState, seen: Seen) -> str | None:
    """What the worker itself says a person should do; None where it knows no better than the general advice."""
    if child.phase in {Phase.BACKOFF, Phase.FAILED}:
        return seen.next_step
    step: str | None = seen.said.get("next_step") if child.phase in {Phase.STARTING, Phase.RUNNING} else None
    return step


def _last_line(text: str | None) -> str:
    return (text or "").strip().rpartition("\n")[2]
