"""The flow watchdog's decision: (state, now) to (state, action). Pure; subscription.py and adapter.py carry the action out.

A session that stands proves nothing: what counts is that notifications or keep-alives arrive. When neither does within the bound,
each further bound of silence brings the next, heavier step. Any valid notification or keep-alive starts over, however fast they
come; a step alone does not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum


class Action(IntEnum):
    """In the order they are tried."""

    WAIT = 0
    REPUBLISH = 1
    """Send new Publish requests, and ask for the message that should have come."""
    RECREATE = 2
    """Delete the subscription, make a new one."""
    RECONNECT = 3
    """Give up the session: NotConnected, the caller connects again."""
    CRASH = 4
    """A new session was as silent: something here may be wrong, so the process ends and the supervisor starts another."""


@dataclass(frozen=True, slots=True)
class Watch:
    since: float
    """When the last sign of life came, or the last step was taken; seconds of a clock that only runs forward."""
    bound: float
    """Seconds of silence before the next step."""
    done: Action = Action.WAIT
    """The last step that was taken."""


def life(state: Watch, now: float) -> Watch:
    """A notification or keep-alive came."""
    return replace(state, since=now, done=Action.WAIT)


def pause(state: Watch, now: float) -> Watch:
    """Nothing was asked for, so nothing could come: the silence is our own."""
    return replace(state, since=now)


def connected(state: Watch, now: float, bound: float) -> Watch:
    """A new session stands. After a silent one it gets one bound, not all steps again."""
    return Watch(now, bound, Action.RECONNECT if state.done >= Action.RECONNECT else Action.WAIT)


def decide(state: Watch, now: float) -> tuple[Watch, Action]:
    if now - state.since < state.bound:
        return state, Action.WAIT
    action = Action(min(state.done + 1, Action.CRASH))
    return replace(state, since=now, done=action), action


def due(state: Watch) -> float:
    """When `decide` has something to say, unless a sign of life comes."""
    return state.since + state.bound
