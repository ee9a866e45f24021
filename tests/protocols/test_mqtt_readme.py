"""The README of the MQTT adapter is true: its examples run, and it names every setting, rule and sentence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import protocols.mqtt
from protocols.mqtt.config import JsonPoint, JsonSubscription, RawPoint, RawSubscription, TimeConfig
from protocols.mqtt.tls import TlsConfig
from tests.protocols.mqtt_lines import lines, mapper

FOLDER = Path(protocols.mqtt.__file__).parent
README = (FOLDER / "README.md").read_text(encoding="utf-8")
EXAMPLES = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(# example\n.*?)```", README, re.DOTALL)]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["subscription"]["topic"])
def test_example(example):
    got = [re.sub(r" raw=\w+", "", line) for line in lines(mapper([example["subscription"]]), example["messages"])]
    assert got == example["gives"]


def test_there_are_examples():
    assert len(EXAMPLES) >= 7


@pytest.mark.parametrize(
    "model",
    [JsonPoint, RawPoint, JsonSubscription, RawSubscription, TimeConfig, TlsConfig],
    ids=lambda model: model.__name__,
)
def test_every_field_is_named(model):
    assert not [
        name
        for name in model.model_fields
        if f"`{name}`" not in README and f"{name}:" not in README and f"{name}," not in README
    ]


def test_every_rule_of_rejects_is_named():
    source = "".join(path.read_text(encoding="utf-8") for path in FOLDER.glob("*.py"))
    rules = set(re.findall(r"(?:Unfit|\.add)\(\s*\"(\w+)\"", source))
    assert len(rules) >= 12
    assert not [rule for rule in rules if f"`{rule}`" not in README]
