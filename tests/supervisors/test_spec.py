"""A child that cannot work is refused with its name and the mistake; a tree prints as people draw it."""

from __future__ import annotations

from typing import Any

import pytest

from supervisors.spec import BadChild, Child, Restart, Strategy, lines, stop_time, supervisor, walk, worker

RUN = "tests.kit.workers:Press"
TREE = supervisor(
    "streamforge", Strategy.ONE,
    supervisor("stream", Strategy.REST, worker("broker", RUN, stop_within_s=30), worker("topics", RUN, restart=Restart.TRANSIENT)),
    supervisor("adapters", Strategy.ONE, worker("press_4", RUN)),
)  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"id": "press 4"}, "child 'press 4': id must be letters"),
        ({"id": "a/b"}, "id must be letters"),
        ({"run": "press.Press"}, "run is 'press.Press', it must be 'module:Class'"),
        ({"heartbeat_s": 0}, "heartbeat_s is 0, it must be more than 0 seconds"),
        ({"stop_within_s": -1}, "stop_within_s is -1"),
        ({"restarts_max": -1}, "restarts_max is -1, it must be 0 or more"),
        ({"backoff_first_s": 60}, "backoff_first_s is 60, it must not be above backoff_most_s (30)"),
        ({"config": {"at": object()}}, "config must be plain JSON values"),
        ({"children": (worker("b", RUN),)}, "only a supervisor has children"),
    ],
)
def test_a_mistake_is_named(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(BadChild) as caught:
        Child(**{"id": "press_4", "run": RUN, **fields})
    assert words in str(caught.value)


def test_siblings_need_different_ids() -> None:
    with pytest.raises(BadChild, match="child 'line': two of its children are called 'a'"):
        supervisor("line", Strategy.ONE, worker("a", RUN), worker("a", RUN))


def test_a_supervisor_takes_no_config() -> None:
    with pytest.raises(BadChild, match="a supervisor takes no config"):
        supervisor("line", Strategy.ONE, config={"a": 1})


def test_stopping_a_branch_takes_as_long_as_its_children_one_by_one() -> None:
    assert stop_time(TREE.children[0]) == 30 + 10 + 2
    assert stop_time(TREE) == (30 + 10 + 2) + (10 + 2) + 2


def test_paths_leave_out_the_root() -> None:
    assert [path for path, _ in walk(TREE)] == [
        "streamforge", "stream", "stream/broker", "stream/topics", "adapters", "adapters/press_4"]  # fmt: skip


def test_a_tree_prints() -> None:
    assert lines(TREE) == [
        "streamforge    one_for_one, 5 restarts in 300 s, then escalate",
        "├─ stream      rest_for_one, 5 restarts in 300 s, then escalate",
        "│  ├─ broker   permanent tests.kit.workers:Press, 5 restarts in 300 s, then park",
        "│  └─ topics   transient tests.kit.workers:Press, 5 restarts in 300 s, then park",
        "└─ adapters    one_for_one, 5 restarts in 300 s, then escalate",
        "   └─ press_4  permanent tests.kit.workers:Press, 5 restarts in 300 s, then park",
    ]
