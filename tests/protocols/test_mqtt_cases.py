"""Golden cases of the mapping: messages and subscriptions in case.yaml, what becomes of them in expected.txt.

.venv/bin/python -m tests.protocols.test_mqtt_cases      writes every expected.txt anew; read the diff
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import protocols.mqtt
from tests.protocols.mqtt_lines import lines, mapper

CASES = sorted(path.parent for path in (Path(protocols.mqtt.__file__).parent / "cases").glob("*/case.yaml"))


def result(folder):
    case = yaml.safe_load((folder / "case.yaml").read_text(encoding="utf-8"))
    one = mapper(case["subscriptions"], **case.get("settings", {}))
    return "\n".join(lines(one, case["messages"], folder)) + "\n"


@pytest.mark.parametrize("folder", CASES, ids=lambda folder: folder.name)
def test_case(folder):
    assert result(folder) == (folder / "expected.txt").read_text(encoding="utf-8")


if __name__ == "__main__":
    for each in CASES:
        (each / "expected.txt").write_text(result(each), encoding="utf-8")
