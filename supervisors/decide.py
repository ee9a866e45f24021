"""What a supervisor does when something happens: `decide(state, event, now) -> (state, commands)`, a pure function.

Start goes left to right, stop right to left; strategies, budgets, backoff, heartbeats and deadlines are all here, and only here.
Processes, messages and clocks are the shell's (supervisor.py). After each event the shell calls `next_due` and sends a Tick then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from supervisors.spec import Child, Restart, Strategy, WhenExhausted, stop_time
from supervisors.state import (
    Announce,
    Answered,
    Ask,
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
)

PING_EVERY_S = 1.0
KILL_AGAIN_S = 5.0
"""A process that survives SIGKILL hangs in the kernel; it is killed again at this pace, and its successor waits."""

LATE_S = 1.0
"""A Tick later than this means that this supervisor did not get to run."""

Decision = tuple[State, tuple[Command, ...]]


def decide(state: State, event: Event, now: float) -> Decision:
    """The next state and what to order, in this order. An event about a process that is gone already changes nothing."""
    out: list[Command] = []
    match event:
        case Tick():
            state = _tick(state, now, out)
        case Started(name, incarnation):
            state = _if_current(state, name, incarnation, lambda child: _started(child, now))
        case Answered(name, incarnation):
            state = _if_current(state, name, incarnation, lambda child: replace(child, pinged_at=None))
        case Exited():
            state = _exited(state, event, now)
        case StopAll():
            state = _stop_all(state, Life.STOPPING, None)
        case RestartChild(name):
            state = _restart(state, state.child(name))
        case KillChild(name):
            state = _kill(state, state.child(name), now, out)
    state = _stop_next(state, now, out)
    state = _start_next(state, now, out)
    return _milestones(state, out), tuple(out)


def next_due(state: State) -> float | None:
    """When the next Tick has something to do."""
    times = [time for child in state.children for time in _child_due(child)]
    return min(times, default=None)


def backoff(spec: Child, restarts: int, jitter: float) -> float:
    """Seconds to wait before the next start, after so many restarts within the window; half as long to half as much again by jitter."""
    return min(spec.backoff_first_s * 2.0 ** min(restarts, 60), spec.backoff_most_s) * (0.5 + jitter)


def recent(times: tuple[float, ...], window_s: float, now: float) -> tuple[float, ...]:
    return tuple(time for time in times if now - time < window_s)


# --- what happened to one child ---------------------------------------------------------------------------------------------


def _put(state: State, child: ChildState) -> State:
    return replace(state, children=tuple(child if each.spec.id == child.spec.id else each for each in state.children))


def _if_current(state: State, name: str, incarnation: int, change: Callable[[ChildState], ChildState]) -> State:
    child = state.child(name)
    if not child.alive or child.incarnation != incarnation:
        return state
    return _put(state, change(child))


def _started(child: ChildState, now: float) -> ChildState:
    if child.phase is not Phase.STARTING:
        return child
    # The heartbeat is judged from here on: before, the limit for the start was.
    asked = None if child.pinged_at is None else now
    return replace(child, phase=Phase.RUNNING, settled=True, deadline=None, pinged_at=asked, reason=None)


def _exited(state: State, event: Exited, now: float) -> State:
    child = state.child(event.id)
    if not child.alive or child.incarnation != event.incarnation:
        return state
    how = child.killed_for or event.how
    clean = event.clean and child.killed_for is None
    hopeless = event.hopeless and child.killed_for is None
    gone = replace(child, deadline=None, pinged_at=None, killed_for=None, halt=False, ordered=False)
    if state.life not in {Life.STARTING, Life.RUNNING}:
        return _put(state, replace(gone, phase=Phase.STOPPED))
    if child.halt:
        return _put(state, _stopped_for_restart(gone, by_a_person=child.ordered))
    if not _runs_again(child.spec, clean=clean):
        return _put(state, replace(gone, phase=Phase.FINISHED, settled=True, reason=None if clean else how))
    if child.ordered:
        state = _put(state, replace(gone, phase=Phase.WAITING, settled=True))
    else:
        state = _failed(state, gone, how, event.jitter, now, hopeless=hopeless)
    return _recall_dependents(state, child.spec.id)


def _stopped_for_restart(child: ChildState, *, by_a_person: bool) -> ChildState:
    again = by_a_person or child.spec.restart is not Restart.TEMPORARY
    return replace(child, phase=Phase.WAITING if again else Phase.FINISHED, settled=True)


def _runs_again(spec: Child, *, clean: bool) -> bool:
    return spec.restart is Restart.PERMANENT or (spec.restart is Restart.TRANSIENT and not clean)


def _failed(state: State, child: ChildState, how: str, jitter: float, now: float, *, hopeless: bool) -> State:
    """It must run again: after a backoff if the budget allows it; else park it, or give up. One that stands alone and knows that it
    cannot work is parked at once."""
    parks = child.spec.when_exhausted is WhenExhausted.PARK
    if parks and hopeless:
        return _put(state, replace(child, phase=Phase.FAILED, settled=True, reason=how))
    owner = child.spec if parks else state.spec
    used = recent(child.restarts if parks else state.restarts, owner.restarts_window_s, now)
    if len(used) >= owner.restarts_max:
        why = f"ended {len(used) + 1} times within {owner.restarts_window_s:g} s, the last time: {how}"
        if parks:
            return _put(state, replace(child, phase=Phase.FAILED, settled=True, reason=why, restarts=used))
        state = _put(state, replace(child, phase=Phase.STOPPED, reason=how))
        whose = f"{child.spec.id}: {how}; that is one more than {owner.restarts_max} restarts within {owner.restarts_window_s:g} s"
        return _stop_all(state, Life.GIVING_UP, whose)
    due = now + backoff(child.spec, len(used), jitter)
    child = replace(child, phase=Phase.BACKOFF, deadline=due, reason=how, settled=child.settled or parks)
    if parks:
        return _put(state, replace(child, restarts=(*used, now)))
    return replace(_put(state, child), restarts=(*used, now))


def _recall_dependents(state: State, name: str) -> State:
    """Those that cannot run without this child, by the strategy: stop them, and start them again behind it."""
    if state.life not in {Life.STARTING, Life.RUNNING} or state.spec.strategy is Strategy.ONE:
        return state
    ids = [each.spec.id for each in state.children]
    first = ids.index(name) + 1 if state.spec.strategy is Strategy.REST else 0
    return replace(
        state,
        children=tuple(
            _recall(each) if number >= first and each.spec.id != name else each
            for number, each in enumerate(state.children)
        ),
    )


def _recall(child: ChildState) -> ChildState:
    if child.alive:
        return replace(child, halt=True)
    temporary = child.spec.restart is Restart.TEMPORARY
    if child.phase is Phase.BACKOFF or (child.phase is Phase.FINISHED and not temporary):
        return replace(child, phase=Phase.WAITING, deadline=None)
    return child


# --- orders from above ------------------------------------------------------------------------------------------------------


def _stop_all(state: State, life: Life, reason: str | None) -> State:
    if state.life not in {Life.STARTING, Life.RUNNING}:
        return state
    return replace(state, life=life, reason=reason, children=tuple(_stop_one(each) for each in state.children))


def _stop_one(child: ChildState) -> ChildState:
    if child.alive:
        return replace(child, halt=True)
    if child.phase in {Phase.WAITING, Phase.BACKOFF}:
        return replace(child, phase=Phase.STOPPED, deadline=None)
    return child


def _restart(state: State, child: ChildState) -> State:
    if state.life not in {Life.STARTING, Life.RUNNING}:
        return state
    if child.alive:
        child = replace(child, halt=True, ordered=True, restarts=())
    else:
        child = replace(child, phase=Phase.WAITING, deadline=None, settled=True, restarts=(), reason=None)
    return _recall_dependents(_put(state, child), child.spec.id)


def _kill(state: State, child: ChildState, now: float, out: list[Command]) -> State:
    if not child.alive:
        return state
    return _put(state, replace(_killed(child, "killed by command", now, out), ordered=True))


def _killed(child: ChildState, why: str, now: float, out: list[Command]) -> ChildState:
    out.append(Kill(child.spec.id, why))
    return replace(child, killed_for=child.killed_for or why, deadline=now + KILL_AGAIN_S)


# --- time -------------------------------------------------------------------------------------------------------------------


def _tick(state: State, now: float, out: list[Command]) -> State:
    # A supervisor that was itself stopped for a while must not blame its children: what they said meanwhile is still unread.
    late = now - (next_due(state) or now) > LATE_S
    patient = [_another_chance(child, now) if late else child for child in state.children]
    return replace(state, children=tuple(_child_tick(child, now, out) for child in patient))


def _another_chance(child: ChildState, now: float) -> ChildState:
    if not child.alive or child.killed_for is not None:
        return child
    asked = None if child.pinged_at is None else now
    return replace(
        child, pinged_at=asked, deadline=None if child.deadline is None else max(child.deadline, now + LATE_S)
    )


def _child_tick(child: ChildState, now: float, out: list[Command]) -> ChildState:
    if child.deadline is not None and now >= child.deadline:
        return _overdue(child, now, out)
    if not child.alive or child.killed_for is not None:
        return child
    if _judged(child) and child.pinged_at is not None and now - child.pinged_at >= child.spec.heartbeat_s:
        return _killed(child, f"hung: no answer for {child.spec.heartbeat_s:g} s", now, out)
    if child.pinged_at is None and now >= child.ping_due and child.phase is not Phase.STOPPING:
        out.append(Ask(child.spec.id))
        return replace(child, pinged_at=now, ping_due=now + _ping_every(child.spec))
    return child


def _overdue(child: ChildState, now: float, out: list[Command]) -> ChildState:
    if child.phase is Phase.BACKOFF:
        return replace(child, phase=Phase.WAITING, deadline=None)
    if child.killed_for is not None:
        return _killed(child, child.killed_for, now, out)
    if child.phase is Phase.STARTING:
        return _killed(child, f"did not get ready within {child.spec.start_within_s:g} s", now, out)
    return _killed(child, f"did not stop within {stop_time(child.spec):g} s", now, out)


def _judged(child: ChildState) -> bool:
    """Whether silence counts as hung. A starting worker may block, its limit is `start_within_s`; a supervisor never does."""
    return child.phase is Phase.RUNNING or (child.phase is Phase.STARTING and child.spec.is_supervisor)


def _ping_every(spec: Child) -> float:
    return min(PING_EVERY_S, spec.heartbeat_s / 3)


def _child_due(child: ChildState) -> list[float]:
    times = [] if child.deadline is None else [child.deadline]
    if child.killed_for is None and child.phase in {Phase.STARTING, Phase.RUNNING}:
        if child.pinged_at is None:
            times.append(child.ping_due)
        elif _judged(child):
            times.append(child.pinged_at + child.spec.heartbeat_s)
    return times


# --- what comes next --------------------------------------------------------------------------------------------------------


def _in_order(state: State) -> bool:
    return state.spec.strategy is not Strategy.ONE or state.life not in {Life.STARTING, Life.RUNNING}


def _stop_next(state: State, now: float, out: list[Command]) -> State:
    """Ask the rightmost of those to be stopped; with one_for_one, restarts ordered at once need not wait for each other."""
    for child in reversed([each for each in state.children if each.halt]):
        if child.phase is not Phase.STOPPING:
            limit = stop_time(child.spec)
            out.append(Halt(child.spec.id, limit))
            # A process that is being killed keeps the time at which it is killed once more.
            deadline = now + limit if child.killed_for is None else child.deadline
            state = _put(state, replace(child, phase=Phase.STOPPING, deadline=deadline))
        if _in_order(state):
            break
    return state


def _start_next(state: State, now: float, out: list[Command]) -> State:
    if state.life not in {Life.STARTING, Life.RUNNING}:
        return state
    if _in_order(state) and any(each.halt for each in state.children):
        return state
    for number in range(len(state.children)):
        child = state.children[number]
        if child.phase is Phase.WAITING and _may_start(state, number):
            state = _put(state, _launch(child, now, out))
    return state


def _may_start(state: State, number: int) -> bool:
    before = state.children[:number]
    if state.spec.strategy is Strategy.ONE:
        return state.children[number].incarnation > 0 or all(each.settled for each in before)
    return all(each.phase in {Phase.RUNNING, Phase.FINISHED} for each in before)


def _launch(child: ChildState, now: float, out: list[Command]) -> ChildState:
    out.append(Launch(child.spec.id, child.incarnation + 1))
    limit = None if child.spec.is_supervisor else now + child.spec.start_within_s
    due = now + _ping_every(child.spec)
    return replace(
        child, phase=Phase.STARTING, incarnation=child.incarnation + 1, deadline=limit, ping_due=due, pinged_at=None
    )


def _milestones(state: State, out: list[Command]) -> State:
    if state.life is Life.STARTING and all(each.settled for each in state.children):
        out.append(Announce())
        return replace(state, life=Life.RUNNING)
    if state.life in {Life.STOPPING, Life.GIVING_UP} and not any(each.alive for each in state.children):
        out.append(End(state.reason))
        return replace(state, life=Life.ENDED)
    return state
