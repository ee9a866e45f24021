"""One suite for all adapters: the same checks against each protocol's own real peer, and what each folder must hold.

A new protocol adds `peers_<protocol>.py` beside this file (see tests/kit/adapter_conformance.py) and nothing here.
"""

from __future__ import annotations

import pytest
import yaml

from protocols import ADAPTERS, CONFIGS
from protocols.load import config_model, make, validated
from tests.kit.adapter_conformance import CHECKS, ROOM, folder, open_peer

EVERY = sorted(ADAPTERS)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("protocol", EVERY)
async def test_adapter(protocol, check, tmp_path):
    async with open_peer(protocol, tmp_path) as peer:
        await check(peer)


def test_the_tables_name_the_same_protocols():
    assert ADAPTERS.keys() == CONFIGS.keys()


def test_every_peer_belongs_to_a_protocol():
    """A peer that no adapter names would never run."""
    assert {file.stem.removeprefix("peers_") for file in ROOM.glob("peers_*.py")} == set(EVERY)


def samples(protocol):
    """sample.yaml is one adapter as it stands in the gateway's file, or `adapters:` with several."""
    sample = yaml.safe_load((folder(protocol) / "sample.yaml").read_text())
    return sample.get("adapters", [sample])


@pytest.mark.parametrize("protocol", EVERY)
def test_the_sample_parses_and_builds_without_io(protocol):
    assert protocol in {sample["protocol"] for sample in samples(protocol)}
    for sample in samples(protocol):
        make(validated(sample))


@pytest.mark.parametrize("protocol", EVERY)
def test_the_readme_shows_the_sample_verbatim(protocol):
    sample = (folder(protocol) / "sample.yaml").read_text().strip()
    assert sample in (folder(protocol) / "README.md").read_text()


@pytest.mark.parametrize("protocol", EVERY)
def test_the_readme_names_every_setting(protocol):
    readme = (folder(protocol) / "README.md").read_text()
    fields = config_model(protocol).model_fields
    missing = [name for name in fields if f"`{name}`" not in readme and f"{name}:" not in readme]
    assert not missing


@pytest.mark.parametrize("protocol", EVERY)
def test_a_form_can_be_made_from_the_settings(protocol):
    assert {"id", "protocol", "points"} & config_model(protocol).model_json_schema()["properties"].keys()


@pytest.mark.parametrize("protocol", EVERY)
def test_there_are_golden_cases(protocol):
    assert [case for case in (folder(protocol) / "cases").glob("*/") if any(case.iterdir())]
