"""JSON as devices really send it: what becomes of each oddity, a value exactly or a reject that says why."""

from __future__ import annotations

import json

import pytest

from protocols.mqtt.mapping import Message
from schemas.records import Quality
from tests.protocols.mqtt_lines import ARRIVED, mapper

CENTURIES = 86_400_000_000 * 36525


def mapped(payload, *points, **more):
    subscription = {"topic": "t", "mapping": "json", "asset": "x", "points": list(points), **more}
    data = payload if isinstance(payload, bytes) else payload.encode()
    return mapper([subscription], max_payload="16 MiB").map(Message(b"t", data, ARRIVED, len(data)))


def value_of(payload, **point):
    """The value at $.v with the type it was given, or the rule it was rejected by."""
    found = mapped(payload, {"path": "$.v", "parameter": "v", **point})
    if found.rejects:
        return found.rejects[0].rule
    (reading,) = found.readings
    return type(reading.value).__name__, reading.value


@pytest.mark.parametrize(
    ("payload", "point", "expected"),
    [
        ('{"v": 1}', {}, ("float", 1.0)),
        ('{"v": 1}', {"type": "integer"}, ("int", 1)),
        ('{"v": 1.0}', {"type": "integer"}, ("int", 1)),
        ('{"v": 1.5}', {"type": "integer"}, "type"),
        ('{"v": 9007199254740993}', {}, ("int", 9007199254740993)),
        ('{"v": 9007199254740993}', {"type": "number"}, "out_of_range"),
        ('{"v": 9223372036854775808}', {}, "out_of_range"),
        ('{"v": 1e400}', {}, "not_finite"),
        ('{"v": NaN}', {}, "not_finite"),
        ('{"v": -Infinity}', {"type": "number"}, "not_finite"),
        ('{"v": "NaN"}', {"type": "number"}, "type"),
        ('{"v": "21.5"}', {}, ("str", "21.5")),
        ('{"v": " 21.5 "}', {"type": "number"}, "type"),
        ('{"v": "21.5"}', {"type": "number"}, ("float", 21.5)),
        ('{"v": "21,5"}', {"type": "number"}, "type"),
        ('{"v": "0x15"}', {"type": "number"}, "type"),
        ('{"v": "12"}', {"type": "integer"}, ("int", 12)),
        ('{"v": true}', {}, ("bool", True)),
        ('{"v": true}', {"type": "number"}, "type"),
        ('{"v": "off"}', {"type": "boolean"}, ("bool", False)),
        ('{"v": 2}', {"type": "boolean"}, "type"),
        ('{"v": null}', {}, ("NoneType", None)),
        ('{"v": {"w": 1}}', {}, "type"),
        ('{"v": [1]}', {}, "type"),
        ('{"w": 1}', {}, "missing"),
        ('{"v": 1, "v": 2}', {}, "json"),
        ('{"v": "\\ud800"}', {}, "utf8"),
        ('\ufeff{"v": 1}', {}, ("float", 1.0)),
        ('{"v": 1} {"v": 2}', {}, "json"),
        ("{'v': 1}", {}, "json"),
        ("", {}, "empty"),
        (b"\xff\xfe{\x00", {}, "utf8"),
    ],
    ids=str,
)
def test_a_value_is_taken_exactly_or_rejected(payload, point, expected):
    assert value_of(payload, **point) == expected


@pytest.mark.parametrize("bomb", ["[" * 100_000, '{"v":' * 100_000, '{"v": ' + "[" * 50_000 + "]" * 50_000 + "}"])
def test_a_nesting_bomb_is_a_reject(bomb):
    assert value_of(bomb) == "json"


def test_a_member_that_stands_twice_inside_is_named():
    (reject,) = mapped('{"v": {"a": 1, "a": 2}}', {"path": "$.v.a", "parameter": "v"}).rejects
    assert "'a' stands twice" in reject.reason


def test_arrays_in_arrays_and_a_time_beside_each_value():
    point = {"path": "$.lines[*].cells[*].v", "parameter": "{$.lines[*].cells[*].n}"}
    cells = [[{"n": "a", "v": 1, "t": 1}, {"n": "b", "v": 2, "t": 2}], [{"n": "c", "v": None, "t": 3}]]
    document = json.dumps({"lines": [{"cells": one} for one in cells]})
    found = mapped(document, point, time={"path": "$.lines[*].cells[*].t", "format": "s"})
    assert [(r.point.parameter, r.value, r.device_time) for r in found.readings] == [
        ("a", 1, 1_000_000),
        ("b", 2, 2_000_000),
        ("c", None, 3_000_000),
    ]
    assert [r.status for r in found.readings] == [Quality.GOOD, Quality.GOOD, Quality.BAD]


MOMENT = 1_769_680_800_123_456


@pytest.mark.parametrize(
    ("form", "time", "expected"),
    [
        ("iso8601", '"2026-01-29T10:00:00.123456Z"', MOMENT),
        ("iso8601", '"2026-01-29T11:00:00.123456+01:00"', MOMENT),
        ("iso8601", '"2026-01-29T10:00:00"', "time"),
        ("iso8601", "1769680800", "time"),
        ("s", "1769680800.123456", MOMENT),
        ("s", '"1769680800.123456"', MOMENT),
        ("ms", "1769680800123.456", MOMENT),
        ("us", "1769680800123456", MOMENT),
        ("ns", "1769680800123456000", MOMENT),
        ("s", "0", 0),
        ("s", "-2208988800", -2_208_988_800_000_000),
        ("s", "253402300799", 253_402_300_799_000_000),
        ("s", "253402300800", "time"),
        ("ms", "1e300", "time"),
        ("s", "NaN", "time"),
        ("s", "true", "time"),
        ("s", "null", "time"),
        ("iso8601", '"yesterday"', "time"),
    ],
)
def test_a_time_is_read_in_its_form_or_the_message_is_rejected(form, time, expected):
    """Far past and far future can be read; whether they are sane the validator says."""
    found = mapped(f'{{"v": 1, "t": {time}}}', {"path": "$.v", "parameter": "v"}, time={"path": "$.t", "format": form})
    got = found.rejects[0].rule if found.rejects else found.readings[0].device_time
    assert got == expected


def test_a_whole_number_beyond_64_bits_is_not_advised_to_be_an_integer():
    (beyond,) = mapped(
        '{"v": 123456789012345678901234567890}', {"path": "$.v", "parameter": "v", "type": "number"}
    ).rejects
    (within,) = mapped('{"v": 9007199254740993}', {"path": "$.v", "parameter": "v", "type": "number"}).rejects
    assert "type: integer" not in beyond.reason
    assert "type: integer" in within.reason
