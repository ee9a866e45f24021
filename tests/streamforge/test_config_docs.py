"""docs/configuration.md names every key there is, and every configuration shown anywhere passes the check."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from schemas.gateway import AdapterConfig, Gateway, PointConfig, SinkConfig
from streamforge.config_file import load_text

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "configuration.md").read_text()


def models(of: Any) -> set[type[BaseModel]]:
    """A model and all below it."""
    if isinstance(of, type) and issubclass(of, BaseModel):
        return {of}.union(*(models(field.annotation) for field in of.model_fields.values()))
    return set().union(*(models(part) for part in get_args(of)))


@pytest.mark.parametrize("model", [Gateway, AdapterConfig, SinkConfig, PointConfig], ids=lambda m: m.__name__)
def test_every_key_is_in_the_documentation(model: type[BaseModel]) -> None:
    keys = {name for each in models(model) for name in each.model_fields}
    assert sorted(key for key in keys if f"`{key}`" not in DOCS) == []


def test_the_default_of_each_setting_of_the_stream_is_the_one_documented() -> None:
    shown = dict(
        re.findall(
            r"^\| `(\w+)` \| `?([^`|]*?)`? \|",
            DOCS.partition("`stream`, the")[2].partition("Every entry")[0],
            re.MULTILINE,
        )
    )
    given = {key: value for key, value in shown.items() if value and value != "---"}
    good = load_text(yaml.safe_dump({**SMALL, "stream": given})).gateway.stream
    assert good == load_text(yaml.safe_dump(SMALL)).gateway.stream
    assert {"durability", "disk_budget", "partitions", "port", "heap"} <= given.keys()


SMALL = {
    "gateway": {"id": "g"},
    "adapters": [
        {
            "id": "a", "protocol": "modbus_tcp", "host": "h",
            "points": [{"asset": "a", "parameter": "p", "address": 40001, "type": "int16"}],
        }
    ],
}  # fmt: skip


def shown_anywhere() -> list[tuple[str, dict[str, Any]]]:
    """Adapters and sinks as samples and as YAML in documents."""
    samples = sorted([*ROOT.glob("protocols/*/sample.yaml"), *ROOT.glob("sinks/*/sample.yaml")])
    found = [(str(file.relative_to(ROOT)), yaml.safe_load(file.read_text())) for file in samples]
    for file in sorted([*ROOT.glob("protocols/*/README.md"), *ROOT.glob("sinks/*/README.md")]):
        for block in re.findall(r"```yaml\n(.*?)```", file.read_text(), re.DOTALL):
            data = yaml.safe_load(block)
            if isinstance(data, dict) and {"protocol", "type"} & data.keys() and "id" in data:
                found.append((str(file.relative_to(ROOT)), data))
    return found


@pytest.mark.parametrize(("name", "data"), shown_anywhere(), ids=[name for name, _ in shown_anywhere()])
def test_every_sample_passes_the_check_without_a_warning(name: str, data: dict[str, Any]) -> None:
    section = {"sinks": [data]} if name.startswith("sinks") else {"adapters": [data]}
    assert load_text(yaml.safe_dump({**SMALL, **section})).warnings == []


def test_there_is_a_sample_of_every_protocol_and_sink() -> None:
    names = {name.rpartition("/")[0] for name, _ in shown_anywhere()}
    assert {"protocols/modbus", "protocols/opcua", "protocols/mqtt", "sinks/postgres"} <= names
