"""`python -m tests.kit.tree_main TREE.json DATA_DIR`: the daemon on a tree given as JSON, for tests with real processes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from streamforge.daemon import run_daemon
from supervisors.spec import Child, Restart, Strategy, WhenExhausted


def build(given: dict[str, Any]) -> Child:
    kinds = {"restart": Restart, "strategy": Strategy, "when_exhausted": WhenExhausted}
    fields = {name: kinds[name](value) if name in kinds else value for name, value in given.items()}
    return Child(**{**fields, "children": tuple(build(each) for each in given["children"])})


if __name__ == "__main__":
    sys.exit(run_daemon(build(json.loads(Path(sys.argv[1]).read_text())), Path(sys.argv[2]), gateway_id="test"))
