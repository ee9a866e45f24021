"""Golden cases: each folder in protocols/opcua/cases holds one DataValue as a server sent it, and the reading it must make.

After a wanted change, `python -m tests.protocols.test_opcua_cases` writes what comes out now into every case; read the diff.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import yaml

import protocols.opcua
from protocols.opcua.config import OpcUaPoint
from protocols.opcua.items import items_of
from tests.kit.opcua_values import data_value

FOLDER = Path(protocols.opcua.__file__).parent / "cases"
CASES = sorted(FOLDER.glob("*/case.yaml"))


def reading_of(case):
    point = OpcUaPoint.model_validate({"asset": "a", "parameter": "p", "node": "i=1", **case.get("point", {})})
    (item,) = items_of([point], Counter())
    wire = bytes.fromhex(case["wire"])
    made = item.take(data_value(wire))
    if made is None:
        return None
    assert made.raw == wire
    return {"value": made.value, "device_time": made.device_time, "status": made.status.name, "reason": made.reason}


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.parent.name)
def test_case(file):
    case = yaml.safe_load(file.read_text())
    made = reading_of(case)
    assert made == case["reading"]
    if made is not None:
        assert type(made["value"]) is type(case["reading"]["value"])


if __name__ == "__main__":
    for path in CASES:
        kept = yaml.safe_load(path.read_text())
        kept["reading"] = reading_of(kept)
        path.write_text(yaml.safe_dump(kept, sort_keys=False, allow_unicode=True, width=140))
