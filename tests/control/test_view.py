"""What people are told follows from the tree's report alone."""

import pytest

from control import view
from control.json_safe import json_safe
from control.metrics import render
from control.rates import Rates


def worker(path, status="HEALTHY", **more):
    return {"id": path, "role": "worker", "state": "running", "status": status, "reason": None, **more}


def tree(*nodes):
    return {"id": "streamforge", "role": "supervisor", "state": "running", "status": "HEALTHY", "children": list(nodes)}


def test_no_report_yet_is_starting():
    assert view.health(None)["status"] == "STARTING"


@pytest.mark.parametrize(
    ("nodes", "status"),
    [
        ([worker("data_path/adapters/a")], "HEALTHY"),
        ([worker("data_path/adapters/a", "DEGRADED")], "DEGRADED"),
        ([worker("data_path/adapters/a", "FAILED")], "DEGRADED"),
        ([worker("data_path/processing/validator-0", "FAILED")], "UNHEALTHY"),
        ([worker("stream/broker", "UNHEALTHY")], "UNHEALTHY"),
        ([worker("stream/broker", "DEGRADED")], "DEGRADED"),
        ([worker("data_path/adapters/stream-7", "FAILED")], "DEGRADED"),
        ([worker("data_path/adapters/a", "STARTING")], "STARTING"),
        ([worker("data_path/adapters/a", "STARTING"), worker("data_path/sinks/s", "FAILED")], "DEGRADED"),
        ([worker("stream/topics", "STARTING", state="finished") | {"state": "finished"}], "HEALTHY"),
    ],
)
def test_overall_status_by_who_failed(nodes, status):
    assert view.health(tree(*nodes))["status"] == status


def test_each_problem_has_a_reason_and_a_next_step():
    told = view.health(tree(worker("data_path/sinks/historian", "FAILED", reason="password refused")))
    assert told["reason"] == "data_path/sinks/historian: password refused"
    assert "streamforge restart historian" in told["next_step"]


def test_a_component_whose_name_another_has_too_is_told_by_its_path():
    told = view.health(tree(worker("data_path/sinks/line", "FAILED"), worker("data_path/adapters/line", "HEALTHY")))
    assert told["next_step"].endswith("streamforge restart data_path/sinks/line")


def test_a_stream_that_is_away_is_told_before_those_who_suffer_from_it():
    told = view.health(
        tree(
            worker("data_path/adapters/a", "DEGRADED", reason="the local stream does not answer"),
            worker("data_path/sinks/s", "UNHEALTHY", reason="password refused"),
            worker("stream/broker", "STARTING", reason="the broker was killed"),
        )
    )
    assert [p["component"] for p in told["problems"]] == ["stream/broker", "data_path/sinks/s", "data_path/adapters/a"]
    assert told["reason"] == "stream/broker: the broker was killed"


def test_a_stream_that_runs_with_a_warning_waits_behind_what_is_worse():
    told = view.health(tree(worker("stream/broker", "DEGRADED"), worker("data_path/sinks/s", "UNHEALTHY")))
    assert [p["component"] for p in told["problems"]] == ["data_path/sinks/s", "stream/broker"]


@pytest.mark.parametrize(
    ("node", "step"),
    [
        (worker("data_path/adapters/a", "DEGRADED"), "check the source and the network"),
        (worker("data_path/adapters/a", "DEGRADED", next_step="mend the address"), "mend the address"),
        (worker("data_path/sinks/s", "FAILED", next_step="set it"), "set it, then: streamforge restart s"),
        (worker("data_path/sinks/s", "FAILED"), "mend the cause, then: streamforge restart s"),
    ],
)
def test_the_next_step_is_the_workers_own_if_it_has_one(node, step):
    assert step in view.health(tree(node))["next_step"]


def test_the_flow_lists_each_kind_in_the_order_of_the_tree():
    nodes = [
        worker("data_path/sinks/s", gauges={"lag": 7}) | {"pid": 4242},
        worker("data_path/adapters/a", counters={"rejects_total": 2}),
    ]
    flow = view.flow(tree(*nodes), Rates())
    assert flow["sinks"][0]["lag"] == 7
    assert flow["adapters"][0]["rejected"] == 2


@pytest.mark.parametrize("branch", ["sinks", "processing"])
def test_what_waits_is_not_shown_as_nothing_while_nobody_counts_it(branch):
    """A sink that is parked, or has not asked the stream yet, has all of it before it."""
    parked = worker(f"data_path/{branch}/parked", status="FAILED", gauges={'lag{topic="t"}': 0}) | {"pid": None}
    nodes = [parked, worker(f"data_path/{branch}/young", gauges={"lag_s": 0}) | {"pid": 4242}]
    flow = view.flow(tree(*nodes), Rates())
    assert [hop["lag"] for kind in ("stages", "sinks") for hop in flow[kind]] == [None, None]


def test_metrics_carry_the_component_and_its_labels():
    nodes = [worker("data_path/adapters/a", counters={'rejects_total{rule="range"}': 3}, gauges={"lag": 1.5})]
    text = render(tree(*nodes), "1.2.3").decode()
    assert 'streamforge_rejects_total{component="data_path/adapters/a",rule="range"} 3.0' in text
    assert 'streamforge_lag{component="data_path/adapters/a"} 1.5' in text
    assert 'streamforge_build_info{version="1.2.3"} 1.0' in text


def test_what_is_no_json_becomes_null():
    assert json_safe({"a": [float("nan"), 1.0, {"b": float("inf")}]}) == {"a": [None, 1.0, {"b": None}]}


CAUSE = {"said": "unit 7: exception 2", "next_step": "correct it", "since": 1, "points": 2, "names": ["a/b", "a/c"]}


def test_each_cause_of_a_problem_is_told_with_all_its_points():
    facts = {"causes": [CAUSE, {**CAUSE, "said": "unit 8 is silent"}]}
    (told,) = view.health(tree(worker("data_path/adapters/a", "DEGRADED", reason="x", facts=facts)))["problems"]
    assert [cause["said"] for cause in told["causes"]] == ["unit 7: exception 2", "unit 8 is silent"]
    assert told["causes"][0]["names"] == ["a/b", "a/c"]


@pytest.mark.parametrize("state", ["failed", "backoff"])
def test_what_a_process_that_is_gone_said_of_its_points_is_not_told_any_more(state):
    node = worker("data_path/adapters/a", "FAILED", facts={"causes": [CAUSE]}) | {"state": state}
    assert view.health(tree(node))["problems"][0]["causes"] == []


def test_dead_letters_are_told_by_component_with_the_newest_reason_and_the_command_that_shows_them():
    last = {"at": 5.0, "letters": "dlq.events", "rule": "type", "reason": "type: 7 is a long", "asset": "a", "parameter": "b"}  # fmt: skip
    nodes = [
        worker("data_path/adapters/quiet", counters={"rejects_total": 0}),
        worker("data_path/adapters/a", counters={'rejects_total{rule="json"}': 2, 'rejects_total{rule="type"}': 3}),
        worker("data_path/processing/validator-0", counters={"refused_total": 4}, facts={"last_refused": last}),
    ]
    silent, known = view.health(tree(*nodes))["dead_letters"]
    assert (silent["component"], silent["count"], silent["reason"]) == ("data_path/adapters/a", 5, None)
    assert (known["count"], known["point"], known["reason"]) == (4, "a/b", "type: 7 is a long")
    assert known["command"] == "streamforge tail dlq.events --last 5 --no-follow"


def test_a_step_that_speaks_of_a_secret_says_where_it_was_read():
    facts = {"secrets": {"plc": "/data/secrets/plc"}, "causes": [{**CAUSE, "next_step": "compare the secret of `password`"}]}  # fmt: skip
    step = "compare `user` and the secret of `password`"
    (told,) = view.health(tree(worker("data_path/adapters/a", "DEGRADED", next_step=step, facts=facts)))["problems"]
    assert told["next_step"].endswith("`password`; 'plc' was read from /data/secrets/plc")
    assert told["causes"][0]["next_step"].endswith("'plc' was read from /data/secrets/plc")
    (other,) = view.health(tree(worker("data_path/adapters/a", "DEGRADED", next_step="wait", facts=facts)))["problems"]
    assert other["next_step"] == "wait"


def test_a_component_that_starts_says_what_it_does():
    (told,) = view.health(tree(worker("stream/broker", "STARTING")))["problems"]
    assert told["reason"] == "Kafka starts, which takes some seconds"
    assert view.health(tree(worker("data_path/sinks/s", "STARTING")))["problems"][0]["reason"] == "starts"
