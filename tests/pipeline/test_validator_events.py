"""Points of class EVENT and ALARM report changes only: their silence says nothing."""

import pytest

from pipeline.validator import Validator
from schemas.gateway import Rule
from tests.kit.records import NOON, readings, series

RULES = [Rule.model_validate({"gap": {"expected": "1s"}, "flat_line": {"longer_than": "2s"}})]
MINUTE = 60_000_000


@pytest.mark.parametrize(("topic", "gaps"), [("telemetry.raw", 2), ("events.raw", 0)])
def test_a_minute_of_silence_is_a_gap_for_telemetry_and_normal_for_an_event(topic, gaps):
    times = [NOON, NOON + MINUTE, NOON + 2 * MINUTE]
    records = readings([(series(), time, 1.0) for time in times], topic=topic)
    records.arrived[:] = records.gateway_time[:] = times
    outputs = Validator(RULES).step(0, records, times[-1])
    assert [d.fields["kind"] for d in outputs.documents] == ["gap"] * gaps
    assert any("flat" in reason for judged in outputs.readings for reason in judged.reasons.values()) is (gaps > 0)
