"""Each kind of trouble of an adapter has its own next step, and however many points it befalls it stays a sentence."""

from __future__ import annotations

import json

from actors.adapter_causes import CAUSES_MAX, NAMES_MAX, SAID_MAX, Since, detail, reason, tell
from actors.context import Context, Status
from actors.io_actor import FACTS_MAX
from protocols.contract import Cause

NAMES = tuple(f"press_{n}/oil_temperature_of_the_main_pump" for n in range(5000))


def told(*causes: Cause) -> Context:
    context = Context("data_path/adapters/press_4", {})
    tell(context, Since(), causes, 1000.0)
    return context


def test_the_next_step_is_that_of_the_first_cause() -> None:
    away, illegal = Cause("source: gone", next_step="look at the cable"), Cause("x", next_step="correct the address")
    assert told(away, illegal).next_step == "look at the cable"
    assert told(illegal).next_step == "correct the address"
    well = told()
    assert (well.status, well.reason, well.next_step, well.facts["causes"]) == (Status.HEALTHY, None, None, [])


def test_thousands_of_points_are_one_sentence_and_as_many_names_as_there_is_room_for() -> None:
    context = told(Cause("unit 7: exception 2", NAMES))
    assert context.reason == f"unit 7: exception 2; 5000 points have no value: {', '.join(NAMES[:3])} and 4997 more"
    (cause,) = context.facts["causes"]
    assert cause["points"] == 5000
    assert cause["since"] == 1000 * 10**6
    assert len(NAMES_MAX * "x") * 0.9 < len(json.dumps(cause["names"])) <= NAMES_MAX + 2


def test_three_hundred_points_are_all_named_in_the_detail() -> None:
    (cause,) = told(Cause("unit 7: exception 2", NAMES[:300])).facts["causes"]
    assert cause["names"] == list(NAMES[:300])


def test_many_causes_are_the_first_and_a_number() -> None:
    causes = [Cause(f"unit {n}: " + "x" * 2000, ("a/b", f"ü/{n}"), next_step="y" * 400) for n in range(200)]
    assert len(reason(causes) or "") < 4 * (SAID_MAX + 10)
    assert (reason(causes) or "").endswith("and 197 more causes")
    found = detail(causes, [1.0] * 200)
    assert [len(found), found[-1]["said"], found[-1]["points"]] == [CAUSES_MAX + 1, "and 190 more causes", 380]
    assert len(json.dumps(found)) < FACTS_MAX


def test_the_last_of_four_is_said_and_not_counted() -> None:
    assert reason([Cause(word) for word in "abcd"]) == "a; b; c; d"


def test_a_cause_began_when_it_was_first_seen_though_its_figures_change() -> None:
    since = Since()
    assert since.of([Cause("did not answer the last 3 requests")], 10.0) == [10.0]
    assert since.of([Cause("new"), Cause("did not answer the last 9 requests")], 20.0) == [20.0, 10.0]
    assert since.of([], 30.0) == []
    assert since.of([Cause("new")], 40.0) == [40.0]
