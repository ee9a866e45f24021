"""What the validator says and where it sends things; that it says it for the right rows is test_validator_oracle.py's."""

import numpy as np
import pytest

from pipeline.validator import Validator
from schemas.gateway import Rule
from schemas.records import Quality
from tests.kit.readings import SECOND, START, Batches, Row, late_by

ALL = {
    "range": {"min": -20, "max": 120},
    "rate_of_change": {"max_per_second": 5},
    "type": {"type": "number"},
    "flat_line": {"longer_than": "10min"},
    "stale": {"older_than": "1h"},
}


def judge(rows: list[Row], *rules: dict, topic: str = "telemetry.raw", validator: Validator | None = None):
    return (validator or Validator([Rule.model_validate(r) for r in rules])).step(0, Batches().of(rows, topic), 0)


def at(seconds: float, value=1.0, **more) -> Row:
    return Row(value, START + int(seconds * SECOND), **more)


@pytest.mark.parametrize(
    ("rows", "rules", "quality", "reason"),
    [
        ([at(0, 150.2)], ALL, Quality.BAD, "range: 150.2 is above 120"),
        ([at(0, -20.5)], ALL, Quality.BAD, "range: -20.5 is below -20"),
        ([at(0, 10), at(2, 30)], ALL, Quality.SUSPECT, "rate_of_change: 20 in 2 s is above 5 a second"),
        ([at(0), at(0)], ALL, Quality.BAD, "duplicate: device time 2023-11-14T22:13:20.000Z came before"),
        ([Row(1.0, None)], ALL, Quality.UNCERTAIN, "time: no device time, the gateway's is used"),
        (
            [late_by(at(0), 7.2)],
            ALL,
            Quality.UNCERTAIN,
            "time: device time is 7.2 s behind the gateway's: an old value, or a wrong clock",
        ),
        ([late_by(at(0), -90)], ALL, Quality.UNCERTAIN, "time: device clock is 90 s ahead of the gateway's"),
        ([Row("on")], ALL, Quality.BAD, "type: 'on' is a string, right would be number"),
        ([Row(True)], ALL, Quality.BAD, "type: True is a boolean, right would be number"),
        ([Row(float("nan"))], {"gap": {"expected": "1s"}}, Quality.BAD, "type: nan is not a finite number"),
        ([Row(None)], {"gap": {"expected": "1s"}}, Quality.BAD, "type: there is no value"),
        ([at(0), at(601)], ALL, Quality.SUSPECT, "flat_line: it stays 1 for 10 min"),
        (
            [late_by(at(0), 7300)],
            ALL,
            Quality.UNCERTAIN,
            "time: device time is 2.03 h behind the gateway's: an old value, or a wrong clock; stale: 2.03 h old on arrival, more than 60 min",
        ),
        ([Row(None, quality=Quality.BAD, reason="connection lost")], ALL, Quality.BAD, "connection lost"),
        ([Row(None, quality=Quality.BAD)], ALL, Quality.BAD, "source: the adapter gave no reason"),
        (
            [at(0, 130.0, quality=Quality.SUSPECT, reason="worn sensor")],
            ALL,
            Quality.BAD,
            "worn sensor; range: 130 is above 120",
        ),
    ],
)
def test_a_violation_is_named_with_its_figures(rows, rules, quality, reason):
    outputs = judge(rows, rules)
    last = len(rows) - 1
    if quality == Quality.BAD:
        assert [(r.row, r.reason, r.topic) for r in outputs.refused] == [(last, reason, "dlq.telemetry")]
        assert outputs.refused[0].rule in reason or outputs.refused[0].rule == "source"
    else:
        (judged,) = outputs.readings
        assert judged.quality[-1] == quality
        assert judged.reasons == {last: reason}


@pytest.mark.parametrize(
    ("raw", "clean", "letters"),
    [("telemetry.raw", "telemetry.clean", "dlq.telemetry"), ("events.raw", "events.clean", "dlq.events")],
)
def test_each_topic_has_its_own_way(raw, clean, letters):
    outputs = judge([at(0), at(1, 200)], ALL, topic=raw)
    assert [judged.topic for judged in outputs.readings] == [clean]
    assert [refused.topic for refused in outputs.refused] == [letters]


def test_good_readings_pass_untouched():
    outputs = judge([at(i, 20 + i / 10) for i in range(5)], ALL)
    (judged,) = outputs.readings
    assert judged.rows.tolist() == [0, 1, 2, 3, 4]
    assert judged.quality.tolist() == [0] * 5
    assert (judged.reasons, outputs.refused, outputs.documents, outputs.counters) == ({}, [], [], {})


def test_a_rule_of_quality_good_is_off():
    off = {
        "duplicate": {"quality": "GOOD"},
        "time": {"missing": "GOOD", "skewed": "GOOD"},
        "range": {"max": 1, "quality": "GOOD"},
    }
    outputs = judge([at(0, 5.0), at(0, 5.0), Row(5.0, None), late_by(at(1), 60)], off)
    assert outputs.readings[0].quality.tolist() == [0] * 4


def test_a_clock_far_off_is_an_alert():
    outputs = judge([late_by(at(0), 7), late_by(at(1), 11), late_by(at(2), -(10**9))])
    assert outputs.counters["clock_alerts_total"] == 2


def test_a_gap_event_tells_what_is_missing():
    outputs = judge([at(0), at(1), at(7)], {"gap": {"expected": "1s"}})
    (event,) = outputs.documents
    assert (event.topic, event.key, event.schema) == ("events.clean", b"press", "event")
    assert event.fields["message"] == "gap: no reading for 6 s, expected every 1 s; about 5 are missing"
    assert event.fields["details"] == {
        "expected_s": 1.0, "actual_s": 6.0, "missing_samples": 5, "from": START + SECOND, "to": START + 7 * SECOND,
    }  # fmt: skip
    assert event.fields["device_time"] == START + 7 * SECOND


def test_a_spike_that_was_refused_does_not_make_its_successor_look_fast():
    outputs = judge([at(0, 20.0), at(1, 500.0), at(2, 21.0)], ALL)
    assert [refused.row for refused in outputs.refused] == [1]
    assert outputs.readings[0].quality.tolist() == [0, 0]


def test_a_device_clock_once_far_ahead_does_not_switch_rules_off():
    validator = Validator([Rule.model_validate(ALL | {"gap": {"expected": "1s"}})])
    ahead = Row(20.0, START + 10**15, gateway_time=START, arrived=START)
    outputs = judge([ahead, at(1, 20.0), at(2, 40.0), at(9, 40.0)], validator=validator)
    assert "rate_of_change" in outputs.readings[0].reasons[2]
    assert len(outputs.documents) == 1


def test_points_beyond_the_bound_are_judged_alone_and_counted_until_others_are_forgotten():
    validator = Validator([Rule.model_validate(ALL)], points_max=2, generation=4)
    batches = Batches()

    def step(*names: str):
        return validator.step(0, batches.of([at(0, parameter=name) for name in names]), 0)

    assert step("a", "b", "c", "c").counters["points_over_total"] == 2
    assert len(step("a", "a", "a", "a").refused) == 4
    # b was last seen two generations ago, and makes room for c.
    outputs = step("c", "c", "b", "a")
    assert [refused.row for refused in outputs.refused] == [1, 3]
    assert outputs.counters["points_over_total"] == 1


def test_a_snapshot_of_a_thousand_points_is_small_and_comes_back():
    rng = np.random.default_rng(2)
    validator, batches = Validator(), Batches()
    for second in range(40):
        jitter = rng.integers(0, 3000, 1000)
        validator.step(
            3,
            batches.of(
                [at(second + float(j) / 1e6, float(j), parameter=f"p{i}") for i, j in enumerate(jitter)], partition=3
            ),
            0,
        )
    snapshot = validator.snapshot(3)
    assert len(snapshot) < 120_000
    other = Validator()
    other.restore(3, snapshot)
    assert other.snapshot(3) == snapshot
    assert validator.snapshot(4) == Validator().snapshot(4)


@pytest.mark.parametrize("junk", [b"junk", b"SFV1" + b"\0" * 30, b"SFV0"])
def test_a_snapshot_that_cannot_be_read_is_a_value_error(junk):
    with pytest.raises(ValueError, match=r"snapshot|begins"):
        Validator().restore(0, junk)
