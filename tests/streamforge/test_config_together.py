"""Every cross-check of the configuration speaks although its own section has an unknown key and a value of a wrong kind, and says nothing that
only follows from those."""

from __future__ import annotations

import copy
import importlib
import json
from typing import Any

import pytest
import yaml

import protocols
import sinks
from schemas.gateway import Gateway
from schemas.model import Model, sections
from streamforge.config_file import load_text
from streamforge.config_problems import Invalid, Problem

Way = tuple[str | int, ...]

MODBUS = {
    "id": "plc", "protocol": "modbus_tcp", "host": "192.0.2.5", "defaults": {"asset": "press"},
    "points": [{"parameter": "a", "address": 40001, "type": "int16"}, {"parameter": "b", "address": 40002, "type": "int16"}],
}  # fmt: skip
OPCUA = {
    "id": "oven", "protocol": "opcua", "endpoint": "opc.tcp://192.0.2.6:4840", "defaults": {"asset": "oven"},
    "points": [{"parameter": "c", "node": "i=1"}, {"parameter": "d", "node": "i=2"}],
}  # fmt: skip
MQTT = {
    "id": "hall", "protocol": "mqtt", "host": "broker",
    "subscriptions": [
        {"topic": "a/+", "mapping": "json", "asset": "x", "points": [{"path": "$.t", "parameter": "e"}]},
        {"topic": "b/+", "mapping": "raw", "asset": "x", "points": [{"type": "number", "parameter": "f"}]},
    ],
}  # fmt: skip
SINK = {"id": "hist", "type": "postgres", "dsn": "postgresql://u@db/p", "topics": ["telemetry.clean"]}
FILE: dict[str, Any] = {
    "gateway": {"id": "g1"}, "stream": {}, "adapters": [MODBUS, OPCUA, MQTT], "rules": [{"range": {"max": 5}}],
    "sinks": [SINK], "supervision": {}, "api": {},
}  # fmt: skip

POINT, ADAPTER, OVEN = ("adapters", 0, "points", 0), ("adapters", 0), ("adapters", 1)
NODE, JSON, RAW = ("adapters", 1, "points", 0), ("adapters", 2, "subscriptions", 0), ("adapters", 2, "subscriptions", 1)
HIST = ("sinks", 0)

TABLE: list[tuple[str, Way, dict[str, Any], str, str, dict[str, Any]]] = [
    # check, section, what is made wrong in it, path of the mistake from there, words, and a value of a wrong kind beside it
    ("PointConfig._range_holds_something", POINT, {"range": [5, 1]}, "range", "[5, 1] holds nothing", {"bit": "x"}),
    ("ModbusPoint._address_is_one", POINT, {"address": 7}, "address", "7 has no table", {"type": 5}),
    ("ModbusPoint._fits_a_coil", POINT, {"address": 10001, "type": None, "scale": 2}, "scale", "one bit", {"length": "x"}),
    ("ModbusPoint._says_its_type", POINT, {"type": None}, "type", "is missing; right would be", {"scale": "x"}),
    ("ModbusPoint._bool_says_which_bit", POINT, {"type": "bool"}, "bit", "is missing", {"scale": "x"}),
    ("ModbusPoint._bits_in_order", POINT, {"type": None, "bits": [7, 2]}, "bits", "lowest first", {"type": "x"}),
    ("ModbusPoint._bits_fit", POINT, {"type": "float32", "bit": 2}, "type", "float32 has no bits", {"scale": "x"}),
    ("ModbusPoint._only_numbers_are_scaled", POINT, {"type": None, "bit": 2, "offset": 3}, "offset", "single bit", {"scale": "x"}),
    ("ModbusPoint._length_is_of_a_string", POINT, {"type": "string"}, "length", "is missing: how many bytes", {"scale": "x"}),
    ("ModbusPoint._percent_has_a_range", POINT, {"deadband": "2%"}, "deadband", "needs a range", {"type": 5}),
    ("ModbusTcpConfig._fits_one_request", ADAPTER, {"registers_max": 1, "points": [{"parameter": "p", "address": 40001, "type": "int32"}]},
     "points[0]", "takes 2 registers", {"port": "x"}),
    ("ModbusTcpConfig._points_are_of_assets", ADAPTER, {"defaults": {}}, "defaults.asset", "2 points have none", {"port": "x"}),
    ("ModbusTcpConfig._names_once", ADAPTER, {"defaults": {"asset": "press", "parameter": "n"}, "points": [
        {"address": 40001, "type": "int16"}, {"address": 40003, "type": 5}, {"address": 40002, "type": "int16"}]},
     "points[2]", "press/n is there already, as points[0]", {"port": "x"}),
    ("OpcUaPoint._node_or_path", NODE, {"path": "/Objects"}, "", "has both node and path", {"queue_size": "x"}),
    ("OpcUaPoint._one_deadband", NODE, {"deadband": 1, "deadband_percent": 2}, "deadband_percent", "right would be one of them", {"queue_size": "x"}),
    ("OpcUaPoint._percent_is_the_servers", NODE, {"mode": "poll", "deadband_percent": 2}, "deadband_percent", "needs mode subscribe", {"deadband": "x"}),
    ("OpcUaConfig._password_has_a_user", OVEN, {"password": "${secret:x}"}, "password", "without a user", {"buffer": "x"}),
    ("OpcUaConfig._watchdog_waits_for_signs_of_life", OVEN, {"watchdog": "1s"}, "watchdog", "at least 10s", {"buffer": "x"}),
    ("OpcUaConfig._points_are_of_assets", OVEN, {"defaults": {}}, "defaults.asset", "2 points have none", {"buffer": "x"}),
    ("OpcUaConfig._names_once", OVEN, {"points": [{"parameter": "p", "node": "i=1"}, {"parameter": "p", "node": "x"}]},
     "points[1]", "oven/p is there already", {"buffer": "x"}),
    ("JsonPoint._only_numbers_are_scaled", (*JSON, "points", 0), {"type": "string", "scale": 2}, "scale", "a string has none", {"offset": "x"}),
    ("RawPoint._only_numbers_are_scaled", (*RAW, "points", 0), {"type": "boolean", "offset": 2}, "offset", "a boolean has none", {"scale": "x"}),
    ("RawPoint._text_is_taken_whole", (*RAW, "points", 0), {"at": 3}, "at", "right would be a type of bytes", {"scale": "x"}),
    ("JsonSubscription._takes_something", JSON, {"points": []}, "", "takes nothing", {"qos": "x"}),
    ("JsonSubscription._points_are_of_assets", JSON, {"asset": None}, "points[0].asset", "is missing; right would be", {"qos": "x"}),
    ("JsonSubscription._names_once", JSON, {"points": [{"path": "$.a", "parameter": "p"}, {"path": "x", "parameter": "p"}]},
     "points[1]", "x/p is there already", {"qos": "x"}),
    ("JsonSubscription._names_can_be_filled", JSON, {"points": [{"path": "$.a", "parameter": "{key}"}]}, "points[0].parameter", "is for `parameters: all`", {"qos": "x"}),
    ("JsonSubscription._names_of_all_can_be_filled", JSON, {"parameters": "all", "parameter": "{topic[3]}"}, "parameter", "right would be levels 0 to 1", {"qos": "x"}),
    ("JsonSubscription._time_goes_the_points_way", JSON, {"time": {"path": "$.s[*].t"}}, "time.path", "does not go the way", {"qos": "x"}),
    ("RawSubscription._points_are_of_assets", RAW, {"asset": None}, "points[0].asset", "is missing; right would be", {"qos": "x"}),
    ("RawSubscription._names_once", RAW, {"points": [{"parameter": "p", "type": "number"}, {"parameter": "p", "type": "x"}]},
     "points[1]", "x/p is there already", {"qos": "x"}),
    ("RawSubscription._names_can_be_filled", RAW, {"points": [{"parameter": "{$.x}", "type": "number"}]}, "points[0].parameter", "`mapping: json`", {"qos": "x"}),
    ("TlsConfig._key_has_a_certificate", ("adapters", 2, "tls"), {"key": "k.pem"}, "key", "without cert", {"verify": "x"}),
    ("MqttConfig._filters_share_no_topic", ("adapters", 2), {"subscriptions": [MQTT["subscriptions"][0], {**MQTT["subscriptions"][1], "topic": "a/b", "qos": 7}]},
     "subscriptions[1].topic", "shares topics with 'a/+'", {"port": "x"}),
    ("MqttConfig._password_has_a_user", ("adapters", 2), {"password": "${secret:x}"}, "password", "without user", {"port": "x"}),
    ("RangeRule._holds_something", ("rules", 0, "range"), {"min": 9}, "min", "9 is not below max 5", {"quality": 5}),
    ("Rule._says_something", ("rules", 0), {"range": None}, "", "", {"match": 5}),
    ("SinkConfig._topics_once", HIST, {"topics": ["telemetry.clean", 5, "telemetry.clean"]}, "topics[2]", "is given twice", {"breaker": 5}),
    ("PostgresConfig._readings_once", HIST, {"topics": ["telemetry.clean", "x", "telemetry.raw"]}, "topics", "hold the same readings", {"breaker": 5}),
    ("SupervisionConfig._backoff_grows", ("supervision",), {"backoff_first": "9s", "backoff_most": "2s"}, "backoff_first", "longer than backoff_most", {"restarts_max": "x"}),
    ("Gateway._aggregates_once", (), {"aggregates": ["1s", "x", "1s"]}, "aggregates[2]", "1s is given twice", {"supervision": 5}),
    ("Gateway._ports_differ", (), {"api": {"port": 19093, "host": 5}}, "api.port", "one of the local stream's ports", {"supervision": 5}),
]  # fmt: skip


def told(data: dict[str, Any]) -> tuple[list[Problem], list[str]]:
    """What is said of a file, and its lines."""
    text = yaml.safe_dump(json.loads(json.dumps(data)), sort_keys=False)
    try:
        return load_text(text, "f.yaml").warnings, text.splitlines()
    except Invalid as invalid:
        return invalid.problems, text.splitlines()


def changed(section: Way, changes: dict[str, Any]) -> dict[str, Any]:
    """The good file with one section changed; None takes a key out."""
    data = copy.deepcopy(FILE)
    holder: Any = data
    for step in section:
        holder = holder.setdefault(step, {}) if isinstance(holder, dict) else holder[step]
    holder.update(changes)
    for key in [key for key, value in changes.items() if value is None]:
        del holder[key]
    return data


def place(section: Way, rest: str = "") -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in section)
    return f"{text}.{rest}".strip(".")


def test_the_file_without_mistakes_is_good() -> None:
    assert [p for p in told(FILE)[0] if p.severity == "error"] == []


SAYING = [row for row in TABLE if row[0] != "Rule._says_something"]


@pytest.mark.parametrize(
    ("check", "section", "wrong", "path", "words", "other"), SAYING, ids=[row[0] for row in SAYING]
)
def test_a_cross_check_speaks_beside_an_unknown_key_and_a_value_of_a_wrong_kind(
    check: str, section: Way, wrong: dict[str, Any], path: str, words: str, other: dict[str, Any]
) -> None:
    alone, _ = told(changed(section, wrong))
    problems, lines = told(changed(section, {**wrong, **other, "colour_of_it": "red"}))
    (found,) = [p for p in problems if p.path == place(section, path) and words in p.message]
    assert found.as_json()["wanted"]
    assert found.line
    last = (path or str(section[-1])).rpartition(".")[2].partition("[")[0]
    assert last in lines[found.line - 1] or "missing" in found.message or "[" in path or not path
    (unknown,) = [p for p in problems if p.path == place(section, "colour_of_it")]
    (kind,) = [p for p in problems if p.path == place(section, next(iter(other)))]
    assert {unknown.message[:11], "is not"} <= {unknown.message[:11], "is not" if " is not " in kind.message else ""}
    assert {(p.path, p.message) for p in problems} == {(p.path, p.message) for p in [*alone, unknown, kind]}, check


def test_a_rule_with_a_misspelt_limit_does_not_say_nothing() -> None:
    """It says what is unknown, once; a rule with nothing at all says nothing."""
    (nothing,) = told(changed(("rules", 0), {"range": None, "match": {"asset": "*"}}))[0]
    assert (nothing.path, nothing.message[:12]) == ("rules[0]", "says nothing")
    (unknown,) = told(changed(("rules", 0), {"range": None, "rnge": {"max": 3}}))[0]
    assert unknown.path == "rules[0].rnge"


def models(of: Any) -> set[type[Model]]:
    found = {each for field in of.model_fields.values() for each in sections(field.annotation)}
    return {of}.union(*(models(each) for each in found))


def test_the_table_has_every_cross_check_there_is() -> None:
    tops = [Gateway]
    for path in [*protocols.CONFIGS.values(), *sinks.CONFIGS.values()]:
        module, _, name = path.partition(":")
        tops.append(getattr(importlib.import_module(module), name))
    there = {
        f"{base.__name__}.{name}"
        for top in tops for model in models(top) for base in model.__mro__
        for name, each in vars(base).items() if hasattr(each, "checks_together")
    }  # fmt: skip
    assert there == {row[0] for row in TABLE}


@pytest.mark.parametrize(
    ("section", "changes", "paths"),
    [
        (POINT, {"adress": 40001, "address": None}, ["adapters[0].points[0].adress"]),
        (ADAPTER, {"default": {"asset": "press"}, "defaults": None}, ["adapters[0].default"]),
        (ADAPTER, {"defaults": {"aset": "press"}}, ["adapters[0].defaults.aset"]),
        (ADAPTER, {"defaults": 5}, ["adapters[0].defaults"]),
        (ADAPTER, {"point": [], "points": None}, ["adapters[0].point"]),
        (ADAPTER, {"registers_max": True, "points": [{"parameter": "p", "address": 40001, "type": "int32"}]}, ["adapters[0].registers_max"]),
        (("adapters", 2), {"defaults": {"asse": "x"}, "subscriptions": [{**MQTT["subscriptions"][0], "asset": "y"}]}, ["adapters[2].defaults.asse"]),
        (("adapters", 2), {"defaults": {"asse": "x"}, "subscriptions": [{"topic": "a", "mapping": "raw", "points": [{"type": "number", "parameter": "f"}]}]},
         ["adapters[2].defaults.asse"]),
        (("adapters", 1), {"protocol": "opc-ua", "buffer": 1}, ["adapters[1].protocol", "adapters[1].buffer"]),
        (("adapters", 1), {"protocol": None, "buffer": 1}, ["adapters[1].protocol", "adapters[1].buffer"]),
        (HIST, {"type": None, "typ": "postgres", "batch_records": 0}, ["sinks[0].typ", "sinks[0].batch_records"]),
        (HIST, {"topic": ["telemetry.clean"], "topics": None}, ["sinks[0].topic"]),
        ((), {"aggregates": ["1s", "1mn"], "sinks": [{**SINK, "topics": ["telemetry.1min"]}]}, ["aggregates[1]"]),
        ((), {"adapters": None, "adaptors": [MODBUS]}, ["adaptors"]),
        (POINT, {"parameter": 5, "range": [5, 1]}, ["adapters[0].points[0].parameter", "adapters[0].points[0].range"]),
        ((), {"rules": [{"match": {"parameter": "a"}, "gap": {"expected": "1s"}}], "adapters": [{**MODBUS, "points": [{"parameter": 5, "address": 40001, "type": "int16"}]}]},
         ["adapters[0].points[0].parameter"]),
    ],
)  # fmt: skip
def test_nothing_is_said_that_only_follows_from_another_mistake(
    section: Way, changes: dict[str, Any], paths: list[str]
) -> None:
    assert sorted(p.path for p in told(changed(section, changes))[0]) == sorted(paths)


def test_a_subscription_that_does_not_say_its_mapping_is_judged_by_the_one_it_fits() -> None:
    data = changed(JSON, {"mapping": None, "qos": 7, "points": [{"path": "$.t", "parameter": "e", "range": [5, 1]}]})
    inside = ("mapping", "qos", "points[0].range")
    assert sorted(p.path for p in told(data)[0]) == sorted(place(JSON, each) for each in inside)


def test_mistakes_of_all_levels_are_told_together() -> None:
    data = changed(POINT, {"colour": 1, "range": [5, 1], "bit": "x"})
    data["adapters"][1]["id"] = "plc"
    data["adapters"][1]["points"][0] |= {"parameter": "a", "asset": "press"}
    data["sinks"][0] |= {
        "topics": ["telemetry.clena", "telemetry.1hour"],
        "batch_records": "x",
        "id": "hall",
        "sise": 1,
    }
    data |= {"aggregates": ["1s"], "api": {"port": 19092}, "stream": {"partitions": "x"}, "ruls": []}
    assert {p.path for p in told(data)[0]} == {
        "adapters[0].points[0].colour", "adapters[0].points[0].range", "adapters[0].points[0].bit", "adapters[1].id",
        "adapters[1].points[0]", "sinks[0].topics[0]", "sinks[0].topics[1]", "sinks[0].batch_records", "sinks[0].id", "sinks[0].sise",
        "api.port", "stream.partitions", "ruls",
    }  # fmt: skip
