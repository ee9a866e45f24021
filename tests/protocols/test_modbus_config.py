"""What a configuration may say, and that a wrong one is told what would be right."""

from __future__ import annotations

import pytest
import yaml

from protocols.contract import BadConfig
from protocols.load import validated
from protocols.modbus.addresses import Table
from protocols.modbus.plan import signals
from schemas.records import Classification

DESIGN_EXAMPLE = """
id: press_4
protocol: modbus_tcp
host: 192.0.2.14
unit: 1
every: 1s
defaults: {asset: press_4, byte_order: big, word_order: big}
points:
  - {parameter: oil_temperature, address: 40101, type: float32, unit: celsius, range: [-20, 120]}
  - {parameter: door_open, address: 10017, type: bool, classification: EVENT}
"""


def adapter(*points, **more):
    base = {"id": "a", "protocol": "modbus_tcp", "host": "h", "defaults": {"asset": "press", "parameter": "p"}}
    return {**base, "points": list(points), **more}


def test_the_example_of_the_design_is_valid_as_it_stands():
    oil, door = signals(validated(yaml.safe_load(DESIGN_EXAMPLE)))
    assert (oil.table, oil.start, oil.count, oil.unit, oil.every, oil.point.unit) == (
        Table.holding,
        100,
        2,
        1,
        1.0,
        "celsius",
    )
    assert (door.table, door.start, door.count, door.point.classification) == (
        Table.discrete,
        16,
        1,
        Classification.EVENT,
    )


def test_a_point_overrides_unit_and_interval():
    first, second = signals(
        validated(
            adapter(
                {"address": 40001, "type": "int16"},
                {"address": 40001, "type": "int16", "parameter": "q", "unit_id": 0, "every": "1min"},
                unit=9,
                every="2s",
            )
        )
    )
    assert (first.unit, first.every, second.unit, second.every) == (9, 2.0, 0, 60.0)


@pytest.mark.parametrize(
    ("point", "said"),
    [
        ({"address": 40001}, "type: is missing"),
        ({"address": 40001, "type": "bool"}, "bit: 0 to 15"),
        ({"address": 40001, "type": "bool", "bit": 16}, "0 to 15"),
        ({"address": 40001, "type": "uint32", "bit": 32}, "0 to 31"),
        ({"address": 40001, "type": "float32", "bit": 1}, "right would be no type"),
        ({"address": 40001, "bits": [7, 0]}, "lowest first"),
        ({"address": 40001, "bits": [-1, 3]}, "lowest first"),
        ({"address": 40001, "bit": 1, "bits": [0, 3]}, "one of them"),
        ({"address": 40001, "bit": 1, "scale": 2}, "no scale"),
        ({"address": 10001, "type": "int16"}, "type: bool alone"),
        ({"address": 10001, "bit": 1}, "type: bool alone"),
        ({"address": 10001, "scale": 0.5}, "type: bool alone"),
        ({"address": 40001, "type": "string"}, "length"),
        ({"address": 40001, "type": "int16", "length": 4}, "length"),
        ({"address": 40001, "type": "string", "length": 4, "scale": 2}, "no scale"),
        ({"address": 40001, "type": "int16", "scale": 0}, "another number"),
        ({"address": 40001, "type": "int16", "scale": float("nan")}, "finite"),
        ({"address": 40001, "type": "int16", "deadband": -1}, "0 or more"),
        ({"address": 40001, "type": "int16", "deadband": "1"}, "2% (of its range)"),
        ({"address": 40001, "type": "int16", "deadband": "1%"}, "range: [lowest, highest]"),
        ({"address": 465536, "type": "int32"}, "last address 65535"),
        ({"address": 40001, "type": "int16", "unit": 7}, "unit_id: 7"),
        ({"address": 40001, "type": "int16", "unit_id": 256}, "255"),
        ({"address": 40001, "type": "int16", "every": 5}, "has no unit"),
        ({"address": 40001.5, "type": "int16"}, "address"),
        ({"address": {"table": "holding", "address": 4}, "type": "int16"}, "the two keys side by side"),
        ({"address": 40001, "type": "int16", "speed": 1}, "speed"),
        ({"address": 40001, "type": "int16", "asset": None}, "points[0].asset: is missing"),
    ],
)
def test_a_wrong_point_is_told_what_would_be_right(point, said):
    with pytest.raises(BadConfig) as refused:
        validated(adapter(point))
    assert said in str(refused.value)


def test_two_points_of_one_name_are_refused():
    with pytest.raises(BadConfig, match="press/p is there already"):
        validated(adapter({"address": 40001, "type": "int16"}, {"address": 40002, "type": "int16"}))


def test_a_point_wider_than_a_read_may_be_is_refused():
    with pytest.raises(BadConfig, match="registers_max"):
        validated(adapter({"address": 40001, "type": "float64"}, registers_max=3))


def test_every_error_is_said_at_once():
    with pytest.raises(BadConfig) as refused:
        validated(adapter({"address": 1}, {"address": 40001}, port=0))
    assert all(f"{place}: " in str(refused.value) for place in ("points[0].address", "points[1].type", "port"))


def test_a_deadband_in_percent_is_of_the_range():
    (point,) = validated(adapter({"address": 40001, "type": "int16", "deadband": "2 %", "range": [-50, 150]})).points
    assert point.deadband_width == pytest.approx(4)
