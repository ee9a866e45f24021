"""What a word that is not known could stand for, and values as messages show them."""

from __future__ import annotations

import pytest

from protocols.modbus.config import Type
from protocols.mqtt.values import JsonType
from schemas.mistakes import as_text, closest, meant, shown

MODBUS, JSON = Type.__args__, JsonType.__args__  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("given", "known", "meant_by_it"),
    [
        ("float", MODBUS, ["float32", "float64"]),
        ("int", MODBUS, ["int16", "int32", "int64"]),
        ("REAL", MODBUS, ["float32"]),
        ("LREAL", MODBUS, ["float64"]),
        ("dword", MODBUS, ["uint32"]),
        ("boolean", MODBUS, ["bool"]),
        ("unit16", MODBUS, ["uint16"]),
        ("float", JSON, ["number"]),
        ("bool", JSON, ["boolean"]),
        ("slave_id", ["unit", "unit_id"], ["unit_id"]),
        ("slave_id", ["unit", "host"], ["unit"]),
        ("rate", ["range", "rate_of_change"], ["rate_of_change"]),
        ("enabled", ["table", "address"], []),
    ],
)
def test_a_word_of_other_tools_is_known_by_what_it_is_called_here(given, known, meant_by_it):
    assert closest(given, known) == meant_by_it


def test_where_it_cannot_be_told_which_is_meant_both_are_asked_for():
    assert meant("float", MODBUS) == "; did you mean `float32` or `float64`?"
    assert meant("int", MODBUS) == "; did you mean `int16`, `int32` or `int64`?"
    assert meant("zzz", MODBUS) == ""


def test_a_value_is_shown_without_secrets_and_not_endlessly():
    assert shown("postgresql://u:hunter2@db/p") == '"postgresql://u:***@db/p"'
    assert shown("hunter2", ("sinks", 0, "password")) == "what is given"
    assert len(shown("x" * 1000)) == 60
    assert shown(float("inf")) == ".inf"


def test_a_place_is_written_as_people_say_it():
    assert as_text(("adapters", 0, "points", 3, "address")) == "adapters[0].points[3].address"
