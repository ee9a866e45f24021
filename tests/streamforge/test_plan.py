"""What a file says reaches the workers: points' own ranges become rules, before the file's, for just these points."""

from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from streamforge.config_file import load_text
from streamforge.plan import literal, plan, rules
from supervisors.spec import walk

FILE = """\
gateway: {id: g}
stream: {port: 20001, durability: lazy}
processing: {validators: 2}
adapters:
  - id: m
    protocol: modbus_tcp
    host: 127.0.0.1
    every: 1s
    points:
      - {asset: "press[1]", parameter: temp, address: 40001, type: float32, range: [0, 9]}
  - id: "off"
    protocol: modbus_tcp
    host: 127.0.0.1
    enabled: false
    every: 1s
    points: [{asset: a, parameter: b, address: 40001, type: int16}]
rules:
  - {range: {max: 5}}
sinks:
  - {id: s, type: postgres, dsn: "postgresql://h/d", topics: [telemetry.clean]}
"""


def test_a_points_range_is_a_rule_for_just_that_point_and_the_files_rules_come_after():
    own, files = rules(load_text(FILE))
    assert own["range"] == {"min": 0.0, "max": 9.0}
    assert fnmatchcase("press[1]", own["match"]["asset"])
    assert not fnmatchcase("press1", own["match"]["asset"])
    assert files == {"range": {"max": 5.0}}


@pytest.mark.parametrize(
    ("name", "matches", "not_these"),
    [
        ("a*b", ["a*b"], ["axb"]),
        ("{topic[1]}", ["anything"], []),
        ("m_{topic[12]}_x[0]", ["m_7_x[0]"], ["m_7_x0"]),
        ("a?[b", ["a?[b"], ["ax[b"]),
    ],
)
def test_a_literal_pattern_matches_its_text(name, matches, not_these):
    assert all(fnmatchcase(m, literal(name)) for m in matches)
    assert not any(fnmatchcase(m, literal(name)) for m in not_these)


def test_every_worker_is_told_what_it_needs_and_what_is_disabled_does_not_run():
    tree = dict(walk(plan(load_text(FILE), Path("/data"))))
    assert tree["data_path/adapters/m"].config["adapter"]["host"] == "127.0.0.1"
    assert "data_path/adapters/off" not in tree
    assert [p for p in tree if "validator" in p] == [
        "data_path/processing/validator-0",
        "data_path/processing/validator-1",
    ]
    assert {c.config["bootstrap"] for c in tree.values() if c.config} == {"127.0.0.1:20001"}
    assert {c.config["durability"] for c in tree.values() if c.config} == {"lazy"}
    assert {c.config["data_dir"] for c in tree.values() if c.config} == {"/data"}
