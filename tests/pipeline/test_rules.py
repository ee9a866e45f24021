"""Which limits hold for which point."""

import time

import numpy as np
import pytest

from pipeline.rules import Limits, Rules, literal
from schemas.gateway import Rule
from schemas.records import Classification, Quality, Series


def limits(*rules: dict, asset: str = "press", parameter: str = "oil_temperature", adapter: str = "plc") -> Limits:
    series = Series(asset, parameter, None, Classification.TELEMETRY, adapter, "1", None, "gw")
    return Rules([Rule.model_validate(rule) for rule in rules]).limits(series)


def test_without_rules_time_and_duplicates_are_watched():
    found = limits()
    assert (found.duplicate_quality, found.missing_quality, found.skew_s) == (Quality.BAD, Quality.UNCERTAIN, 5)
    assert (found.low, found.high, found.rate, found.gap_s, found.flat_s) == (-np.inf, np.inf, np.inf, np.inf, np.inf)


def test_later_rules_win_figure_by_figure():
    found = limits(
        {"range": {"min": -20, "max": 120}},
        {"match": {"parameter": "*_temperature"}, "range": {"max": 90}},
        {"match": {"asset": "press"}, "range": {"max": 80, "quality": "SUSPECT"}},
    )
    assert (found.low, found.high, found.range_quality) == (-20, 80, Quality.SUSPECT)


@pytest.mark.parametrize(
    ("match", "fits"),
    [
        ({}, True),
        ({"asset": "press"}, True),
        ({"asset": "pres"}, False),
        ({"asset": "p*s"}, True),
        ({"asset": "PRESS"}, False),
        ({"parameter": "oil_?emperature"}, True),
        ({"parameter": "*_[a-t]*", "adapter": "plc"}, True),
        ({"asset": "press", "parameter": "oil_temperature", "adapter": "other"}, False),
    ],
)
def test_all_patterns_given_must_match(match, fits):
    assert (limits({"match": match, "range": {"max": 1}}).high == 1) is fits


def test_a_name_with_stars_in_it_can_be_meant_literally():
    rule = {"match": {"asset": "a[*]b", "parameter": "p[[]1]"}, "range": {"max": 1}}
    assert limits(rule, asset="a*b", parameter="p[1]").high == 1
    assert limits(rule, asset="axb", parameter="p[1]").high == np.inf
    assert literal("a[*]b") == "a*b"
    assert literal("a*b") is None


def test_ten_thousand_rules_for_one_point_each_cost_nothing_for_the_others():
    rules = Rules(
        [
            Rule.model_validate({"match": {"asset": f"a{i}", "parameter": "p"}, "range": {"max": i}})
            for i in range(10_000)
        ]
    )
    began = time.process_time()
    for i in range(0, 10_000, 10):
        assert rules.limits(Series(f"a{i}", "p", None, Classification.TELEMETRY, "plc", "1", None, "gw")).high == i
    assert time.process_time() - began < 0.5
