"""`./run bench [NAME] [ARGS]`: one benchmark by its file's name, or all of them in turn."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

HERE = Path(__file__).parent
NAMES = sorted(p.stem for p in HERE.glob("*.py") if not p.stem.startswith("_") and "def main(" in p.read_text())


def main() -> None:
    name, *rest = sys.argv[1:] or ["all"]
    if name not in {*NAMES, "all"}:
        sys.exit(f"there is no benchmark {name!r}; there are {', '.join(NAMES)}")
    if name == "all":
        print(f"all {len(NAMES)} in turn, for many minutes; one alone: {', '.join(NAMES)}", flush=True)
    for each in NAMES if name == "all" else [name]:
        print(f"== {each}", flush=True)
        sys.argv = [each, *rest]
        runpy.run_module(f"bench.{each}", run_name="__main__")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("interrupted; what was measured until then stands above", file=sys.stderr)
        sys.exit(130)
