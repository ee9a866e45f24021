"""Forty and more wrong gateway files: each mistake is told once, where it stands, in words a plant engineer knows."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from streamforge.config_file import load_text
from streamforge.config_problems import Invalid, Problem

START = "gateway: {id: g1}\n"
MODBUS = """\
adapters:
  - id: plc1
    protocol: modbus_tcp
    host: 192.0.2.5
    defaults: {asset: press}
    points:
      - {parameter: temp, address: 40001, type: int16}
      - {parameter: pressure, address: 40002, type: int16}
"""
MQTT = """\
adapters:
  - id: hall
    protocol: mqtt
    host: broker
    defaults: {asset: hall}
    subscriptions:
      - topic: a/b
        mapping: json
        points:
          - {path: $.t, parameter: temp}
          - {path: $.u, parameter: level}
"""
OPCUA = """\
adapters:
  - id: oven
    protocol: opcua
    endpoint: opc.tcp://192.0.2.6:4840
    defaults: {asset: oven}
    points:
      - {parameter: temp, node: ns=2;s=T}
"""
SINK = """\
sinks:
  - {id: hist, type: postgres, dsn: "postgresql://u@db/p", password: "${secret:hist}", topics: [telemetry.clean]}
"""
FOREIGN = (
    "Input should",
    "Extra inputs",
    "valid dictionary",
    "valid tuple",
    "valid list",
    "Field required",
    "Value error",
    "None",
)
"""Words of the libraries."""


def told(text: str) -> list[Problem]:
    """All there is to say about a file, which may be good."""
    try:
        return load_text(text, "f.yaml").warnings
    except Invalid as invalid:
        return invalid.problems


def changed(base: str, old: str, new: str) -> str:
    assert old in base
    return START + base.replace(old, new, 1)


WRONG = [
    (START + "adapters: {plc1: {protocol: modbus_tcp}}\n", "2: adapters: ", "is not a list of adapters"),
    (START + "adapters:\n", "2: adapters: ", "has no value; right would be a list of adapters"),
    (START + "adapters: []\n", "2: adapters: ", "nothing would be read"),
    (START + MODBUS + "      - temp\n", "10: adapters[0].points[2]: ", '"temp" is not a section, as {parameter: ..., address: ...}'),
    (changed(MODBUS, "    host", "    intervall: 1s\n    host"), "5: adapters[0].intervall: ", "unknown key `intervall`; did you mean `every`?"),
    (changed(MODBUS, "int16}", "int16, range: 5}"), "8: adapters[0].points[0].range: ", "5 is not two numbers, as [0, 100]"),
    (changed(MODBUS, "int16}", "int16, range: [1, 2, 3]}"), "8: adapters[0].points[0].range: ", "has 3 numbers; right would be two"),
    (changed(MODBUS, "int16}", "int16, range: [0, .inf]}"), "8: adapters[0].points[0].range[1]: ", ".inf is not a finite number"),
    (changed(MODBUS, "int16}", "int16, scale: .nan}"), "8: adapters[0].points[0].scale: ", ".nan is not a finite number"),
    (changed(MODBUS, "int16}", "int16, scale: true}"), "8: adapters[0].points[0].scale: ", "true is not a number"),
    (changed(MODBUS, "    host", "    port: true\n    host"), "5: adapters[0].port: ", "true is not a number"),
    (changed(MODBUS, "    host", "    port: 70000\n    host"), "5: adapters[0].port: ", "70000 is too large; right would be at most 65535"),
    (changed(MODBUS, "    host", "    every: 1us\n    host"), "5: adapters[0].every: ", '"1us" is too small; right would be at least 1ms'),
    (changed(MODBUS, "    host", "    every: 100y\n    host"), "5: adapters[0].every: ", '"100y" is too large; right would be at most 31d'),
    (changed(MODBUS, "    host", "    every: .inf\n    host"), "5: adapters[0].every: ", ".inf is not a duration; right would be 500ms"),
    (changed(MODBUS, "    host", "    every: .nan\n    host"), "5: adapters[0].every: ", ".nan is not a duration"),
    (changed(MODBUS, "    host", "    every:\n    host"), "5: adapters[0].every: ", "has no value; right would be 500ms"),
    (changed(MODBUS, "    host", "    every: 0s\n    host"), "5: adapters[0].every: ", "more than 0s"),
    (changed(MODBUS, "192.0.2.5", "tcp://192.0.2.5:502"), "5: adapters[0].host: ", "right would be 192.0.2.5, with the port as `port`"),
    (changed(MODBUS, "192.0.2.5", "192.0.2.5:502"), "5: adapters[0].host: ", "right would be 192.0.2.5, with the port as `port`"),
    (changed(MODBUS, "192.0.2.5", "5"), "5: adapters[0].host: ", "5 is not text; right would be quotes around it"),
    (changed(MODBUS, "40001", "DB1.DBW2"), "8: adapters[0].points[0].address: ", "right would be 40101, or a table"),
    (changed(MODBUS, "pressure", "temp"), "9: adapters[0].points[1]: ", "press/temp is there already, as points[0]"),
    (changed(MODBUS, "int16}", "int16, classification: LOG}"), "8: adapters[0].points[0].classification: ", "right would be TELEMETRY, EVENT or ALARM"),
    (changed(MODBUS, "int16}", "int16, classification: event}"), "8: adapters[0].points[0].classification: ", "did you mean `EVENT`?"),
    (START + MODBUS + MODBUS.removeprefix("adapters:\n").replace("plc1", "plc2").replace("pressure", "flow"), "15: adapters[1].points[0]: ",
     "press/temp is also read by adapter plc1 in line 8"),
    (START + MODBUS + SINK.replace("id: hist", "id: plc1"), "11: sinks[0].id: ", "is also the id in line 3"),
    (START + MODBUS + MODBUS.removeprefix("adapters:\n").replace("press", "mill"), "10: adapters[1].id: ", "is also the id in line 3"),
    (changed(MQTT, "        mapping: json\n", ""), "8: adapters[0].subscriptions[0].mapping: ", "is missing; right would be one of json, raw"),
    (changed(MQTT, "json", "jsn"), "9: adapters[0].subscriptions[0].mapping: ", "did you mean `json`?"),
    (changed(MQTT, "        mapping", "        time: {path: $.t, formt: ms}\n        mapping"), "9: adapters[0].subscriptions[0].time.formt: ", "did you mean `format`?"),
    (changed(MQTT, "        mapping", "        time: now\n        mapping"), "9: adapters[0].subscriptions[0].time: ", "{path: ...} or arrival"),
    (changed(MQTT, "{asset: hall}", "{asset: hall, unti: bar}"), "6: adapters[0].defaults.unti: ", "did you mean `unit`?"),
    (changed(MQTT, "    host", "    max_payload: 1 GiB\n    host"), "5: adapters[0].max_payload: ", "right would be at most 16 MiB"),
    (changed(OPCUA, "opc.tcp", "http"), "5: adapters[0].endpoint: ", "right would be opc.tcp://host:4840"),
    (changed(OPCUA, "node: ns", "node: sn"), "8: adapters[0].points[0].node: ", "is not a node id"),
    (START + MODBUS + "aggregates: [1s, 1min]\n" + SINK.replace("clean]", "clean, telemetry.1hour]"), "12: sinks[0].topics[1]: ",
     "telemetry.1hour is made by nobody, since `aggregates` does not have 1hour; right would be `aggregates: [1s, 1min, 1hour]`"),
    (START + MODBUS + "aggregates: [1s, 1min, 1s]\n", "10: aggregates[2]: ", "1s is given twice; right would be once"),
    (START + MODBUS + SINK.replace("clean]", "clean, telemetry.clean]"), "11: sinks[0].topics[1]: ", "telemetry.clean is given twice"),
    (START + MODBUS + SINK.replace("clean]", "clena]"), "11: sinks[0].topics[0]: ", "did you mean `telemetry.clean`?"),
    (START + MODBUS + SINK.replace("[telemetry.clean]", "telemetry.clean"), "11: sinks[0].topics: ", "is not a list of topics"),
    (START + MODBUS + SINK.replace("[telemetry.clean]", "[]"), "11: sinks[0].topics: ", "at least one of the topics"),
    (START + MODBUS + "stream: {disk_budget: 10 MB}\n", "10: stream.disk_budget: ", "right would be at least 512 MiB"),
    (START + MODBUS + "stream: {heap: 1 MiB}\n", "10: stream.heap: ", "right would be at least 128 MiB"),
    (START + MODBUS + "stream: {partitions: 0}\n", "10: stream.partitions: ", "right would be at least 1"),
    (START + MODBUS + "stream: {partitions: 100000}\n", "10: stream.partitions: ", "right would be at most 128"),
    (START + MODBUS + "supervision: {backoff_first: 10s, backoff_most: 1s}\n", "10: supervision.backoff_first: ", "right would be at most that"),
    (START + MODBUS + "supervision: {heartbeat: 10ms}\n", "10: supervision.heartbeat: ", "right would be at least 1s"),
    (START + MODBUS + "processing: {validators: 20}\n", "10: warning: processing.validators: ", "right would be at most 12"),
    (START + MODBUS + 'rules:\n  - {match: {parameter: "*_temp"}, range: {max: 5}}\n', "11: warning: rules[0].match: ", "matches no point"),
    (changed(MODBUS, "    host", "    enabled: false\n    host"), "2: warning: adapters: ", "nothing is read"),
    (START + MODBUS.replace("int16}", "int16, classification: EVENT}") + SINK, "8: warning: adapters[0].points[0]: ",
     "is, with 1 more, of class EVENT, and no sink has events.clean among its topics: such readings stay in the local stream; right would be a sink with events.clean"),
    (changed(MODBUS, "int16}\n", "int16, classification: ALARM}\n") + SINK.replace("telemetry.clean", "events.clean, telemetry.1s"), "8: warning: adapters[0].points[0]: ", "alarms.raw"),
    (START + MODBUS + SINK.replace("telemetry.clean", "events.clean"), "8: warning: adapters[0].points[0]: ", "of class TELEMETRY, and no sink has telemetry.clean"),
    (START + MODBUS + SINK.replace("${secret:hist}", "hunter2"), "11: sinks[0].password: ", 'right would be "${secret:hist}"'),
    (START + MODBUS + SINK.replace('"${secret:hist}"', "1234"), "11: sinks[0].password: ", 'right would be "${secret:name}"'),
    *[(START + MODBUS + SINK.replace("${secret:hist}", wrong), "11: sinks[0].password: ", "is no reference to a secret")
      for wrong in ("x${secret:hist}", "${secrets:hist}", "$secret:hist", "${secret: hist}", "${HISTORIAN}", "{secret:hist}", "${secret:}")],
    ("gateway: {id: my gateway}\n" + MODBUS, "1: gateway.id: ", "is not an id; right would be at most 64 letters"),
    ("gateway: press-shop\n" + MODBUS, "1: gateway: ", "is not a section, as {id: ...}"),
    (START + MODBUS + "sink: []\n", "10: sink: ", "unknown key `sink`; did you mean `sinks`?"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "place", "words"), WRONG, ids=[f"{n}-{w[2][:30]}" for n, w in enumerate(WRONG)])
def test_a_mistake_is_told_once_where_it_stands_in_plain_words(text: str, place: str, words: str) -> None:
    (problem,) = told(text)
    assert str(problem).startswith(f"f.yaml:{place}")
    assert words in str(problem)
    assert not any(foreign in problem.message for foreign in FOREIGN)
    assert "hunter2" not in str(problem)
    assert "1234" not in str(problem)


@pytest.mark.parametrize(
    ("base", "extra", "key", "words"),
    [
        (MODBUS, "byte_order: bog", "byte_order", '"bog" is not one of big, little; did you mean `big`? (given to 2 points)'),
        (MODBUS, "byte_ordr: big", "byte_ordr", "did you mean `byte_order`?"),
        (MODBUS, "scale: 0", "scale", "would make every value the offset"),
        (MODBUS, "every: 5", "every", "5 has no unit; right would be 5s or 5ms (given to 2 points)"),
        (MQTT, "scale: much", "scale", '"much" is not a number (given to 2 points)'),
        (OPCUA, "mode: pol", "mode", "did you mean `poll`? (given to 1 point)"),
    ],
)  # fmt: skip
def test_a_mistake_in_defaults_is_told_once_at_its_own_line(base: str, extra: str, key: str, words: str) -> None:
    """However many points it reaches."""
    (problem,) = told(START + re.sub(r"defaults: {(.*)}", rf"defaults: {{\1, {extra}}}", base))
    assert (problem.line, problem.path) == (6, f"adapters[0].defaults.{key}")
    assert words in problem.message


def test_a_wrong_asset_in_defaults_is_one_mistake_of_the_subscription_and_all_its_points() -> None:
    (problem,) = told(changed(MQTT, "{asset: hall}", "{asset: 5}"))
    assert (problem.path, problem.message) == (
        "adapters[0].defaults.asset",
        "5 is not text; right would be quotes around it (given to 2 points)",
    )


@pytest.mark.parametrize(
    "dsn", ["postgresql://u:hunter2@db/p", "postgres//u:hunter2@db/p", "host=db password=hunter2 x", "u:hunter2@db"]
)
def test_no_message_repeats_a_password(dsn: str) -> None:
    problems = told(START + MODBUS + SINK.replace("postgresql://u@db/p", dsn))
    assert problems
    assert "hunter2" not in "".join(map(str, problems)) + repr([p.as_json() for p in problems])


def test_good_files_that_look_like_mistakes_are_good() -> None:
    again = MODBUS.removeprefix("adapters:\n").replace("plc1", "plc2")
    assert told(START + MODBUS + again.replace("    host", "    enabled: false\n    host")) == []
    assert told(START + MQTT.replace("temp", '"{topic[1]}"')) == []
    assert told(START + MODBUS + 'rules:\n  - {match: {parameter: "t*"}, range: {max: 5}}\n' + SINK) == []


def test_programs_are_told_file_line_path_what_was_given_and_what_is_wanted() -> None:
    (problem,) = told(changed(MODBUS, "    host", "    every: 1us\n    host"))
    assert problem.as_json() == {
        "severity": "error", "file": "f.yaml", "line": 5, "path": "adapters[0].every", "given": '"1us"',
        "message": '"1us" is too small; right would be at least 1ms', "wanted": "at least 1ms", "next_step": None,
    }  # fmt: skip


NONSENSE: list[Any] = [None, True, -1, 1.5, 10**30, "", "x", "1s", [], [1], {}, {"a": 1}, "${x}"]


def _ways(data: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [way, *(w for key, value in inside for w in _ways(value, (*way, key)))] if way else [
        w for key, value in inside for w in _ways(value, (key,))
    ]  # fmt: skip


@pytest.mark.parametrize("base", [MODBUS, MQTT, OPCUA], ids=["modbus", "mqtt", "opcua"])
def test_no_wrong_value_anywhere_brings_out_the_words_of_a_library(base: str) -> None:
    """Every value of a file replaced by every kind of nonsense."""
    more = "stream: {port: 20001, partitions: 3}\nrules:\n  - {match: {asset: a}, range: {max: 3}, time: {}}\napi: {port: 0}\n"
    text = START + base + SINK + more
    for way in _ways(yaml.safe_load(text)):
        for nonsense in NONSENSE:
            data = yaml.safe_load(text)
            holder = data
            for step in way[:-1]:
                holder = holder[step]
            holder[way[-1]] = nonsense
            for problem in told(json.dumps(data, indent=1)):
                assert not any(foreign in problem.message for foreign in FOREIGN), (way, nonsense, problem)
                assert "does not fit here" not in problem.message, (way, nonsense, problem)
                assert problem.line, (way, nonsense, problem)
