"""Every folder in protocols/modbus/cases is a test: the words a device sent, the point's configuration, the value that is meant."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path

import pytest

import protocols.modbus
from protocols.modbus.config import ModbusPoint
from protocols.modbus.decode import decode

CASES = sorted((Path(protocols.modbus.__file__).parent / "cases").glob("*/case.toml"))


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.parent.name)
def test_case(file):
    case = tomllib.loads(file.read_text())
    point = ModbusPoint.model_validate({"parameter": "p", **case["point"]})
    value, problem = decode(point, bytes.fromhex(case["words"]))
    assert same(value, case.get("value")), value
    assert (problem is None) == ("problem" not in case)
    assert case.get("problem", "") in (problem or "")


def same(value, expected):
    """Equal in type too, with NaN equal to itself and the sign of zero looked at."""
    if type(value) is not type(expected):
        return False
    if isinstance(value, float) and not math.isnan(value):
        return math.isclose(value, expected, rel_tol=1e-12) and math.copysign(1, value) == math.copysign(1, expected)
    return value == expected or value != value
