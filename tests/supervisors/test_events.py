"""What waits for a decision is bounded: the same twice is one, and nothing is lost in silence."""

from __future__ import annotations

import pytest

from supervisors.events import EVENTS_MOST, Events, Overrun
from supervisors.state import Answered, Event, Exited, Tick


def all_of(events: Events) -> list[Event]:
    return list(iter(events.next, None))


def test_events_are_decided_in_their_order_and_the_same_once() -> None:
    events = Events()
    for event in (Tick(), Answered("press", 1), Tick(), Exited("press", 1, "killed"), Answered("press", 1)):
        events.add(event)
    assert all_of(events) == [Tick(), Answered("press", 1), Exited("press", 1, "killed")]
    assert events.figures() == {"counters": {"events_doubled_total": 2}, "gauges": {"events_most": 3}}


def test_an_event_that_is_being_decided_may_come_again() -> None:
    events = Events()
    events.add(Tick())
    assert events.next() == Tick()
    events.add(Tick())
    assert (all_of(events), events.doubled) == ([Tick()], 0)


def test_more_than_can_be_is_a_crash_that_says_so() -> None:
    events = Events()
    for incarnation in range(EVENTS_MOST):
        events.add(Answered("press", incarnation))
    with pytest.raises(Overrun, match=f"{EVENTS_MOST} events wait for a decision, the newest is Answered"):
        events.add(Answered("press", EVENTS_MOST))
    assert len(all_of(events)) == EVENTS_MOST
