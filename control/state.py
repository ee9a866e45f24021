"""What the local API knows at this moment: the newest report of the tree, the rates made from it, and the values' feed."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from actors.context import Context
from actors.surroundings import command, data_option, log_place, prefix, restart_whole
from control import view
from control.branches import told
from control.json_safe import json_text
from control.problems import Kind, Problem
from control.rates import Rates
from control.readers import Seats
from control.values import Values

REPORT_OLD_S = 15.0
"""Reports come each second; one this old means that the tree does not work."""
PAGES_MAX, TAILS_MAX = 32, 8
"""Readers at once. A page costs a frame a second, a tail a reader of the stream with its buffers."""
FRAME_AGE_S = 0.25
"""Pages that ask within it get the same frame: it is made once for all of them."""
FIGURES = ("counters", "gauges", "facts")


@dataclass
class State:
    """Written by the worker's one loop only."""

    context: Context
    version: str
    values: Values
    tree: view.Node | None = None
    reported: float = 0.0
    """Monotonic seconds of the newest report."""
    rates: Rates = field(default_factory=Rates)
    _frame: tuple[float, str] = (float("-inf"), "")

    def __post_init__(self) -> None:
        self.pages = Seats(self.context, "live", PAGES_MAX, "close a page of this gateway")
        self.tails = Seats(self.context, "tail", TAILS_MAX, "end a `tail`")

    def take(self, tree: view.Node) -> None:
        self.tree, self.reported = told(tree), time.monotonic()
        self.rates.take(view.workers(self.tree))

    def alive(self) -> bool:
        return self.tree is not None and time.monotonic() - self.reported < REPORT_OLD_S

    def health(self) -> dict[str, Any]:
        """SPEC section 15, full JSON."""
        told = view.health(self.tree)
        if self.tree is not None and not self.alive():
            age = round(time.monotonic() - self.reported)
            told |= {
                "status": "UNHEALTHY",
                "reason": f"the supervision tree has not reported for {age} s",
                "next_step": f"see the log ({log_place()}); if it does not come back, {restart_whole()}",
            }
        return {"gateway": self.context.config["gateway"], "version": self.version, **told}

    def flow(self) -> dict[str, Any]:
        return view.flow(self.tree, self.rates) if self.tree else {"adapters": [], "stages": [], "sinks": []}

    def frame(self) -> str:
        """One frame of the page, as JSON."""
        now = time.monotonic()
        if now - self._frame[0] > FRAME_AGE_S:
            frame = {
                "at": time.time_ns() // 1000,
                "gateway": self.context.config["gateway"],
                "version": self.version,
                "health": without_names(self.health()),
                "flow": self.flow(),
                "points_left_out": self.values.left_out,
                "terminal": {"command": prefix(), "data": data_option()},
                "tree": self.tree and without_figures(self.tree),
            }
            self._frame = now, json_text(frame)
        return self._frame[1]

    def find(self, name: str) -> view.Node:
        """The component of this path or last part of a path. Raises Problem."""
        if self.tree is None:
            raise Problem(Kind.UNREACHABLE, "the supervision tree has not reported yet; try again in a moment")
        nodes = list(view.walk(self.tree))
        found = [n for n in nodes if n["id"] == name] or [n for n in nodes if view.last_part(n["id"]) == name]
        if len(found) == 1:
            return found[0]
        if found:
            raise Problem(
                Kind.CONFLICT, f"{name!r} is the name of {', '.join(n['id'] for n in found)}; give the whole path"
            )
        raise Problem(
            Kind.NOT_FOUND, f"there is no component {name[:100]!r}; {nearest(name, (n['id'] for n in nodes[1:]))}"
        )


def nearest(name: str, paths: Iterable[str]) -> str:
    """What a person may have meant."""
    names = {view.last_part(path).lower(): view.last_part(path) for path in paths}
    wanted = view.last_part(name.rstrip("/"))[:100].lower()
    close = get_close_matches(wanted, names, n=3, cutoff=0.5) or [n for n in names if wanted and wanted in n][:3]
    meant = f"did you mean {' or '.join(names[n] for n in close)}? " if close else ""
    return f"{meant}`{command('tree')}` shows all {len(names)}"


def without_names(health: dict[str, Any]) -> dict[str, Any]:
    """As the page draws it: names of points may be hundreds, and are fetched for the component that is looked at."""

    def bare(problem: dict[str, Any]) -> dict[str, Any]:
        kept = [{key: value for key, value in cause.items() if key != "names"} for cause in problem["causes"]]
        return {**problem, "causes": kept}

    return {**health, "problems": [bare(problem) for problem in health["problems"]]}


def without_figures(node: view.Node) -> view.Node:
    """The node and all below it as the page draws them; figures are fetched for the one component that is looked at."""
    kept = {key: value for key, value in node.items() if key not in FIGURES}
    return {**kept, "children": [without_figures(child) for child in node["children"]]} if "children" in node else kept
