"""What the local API knows at this moment: the newest report of the tree, the rates made from it, and the values' feed."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from actors.context import Context
from control import view
from control.problems import Kind, Problem
from control.values import Values

REPORT_OLD_S = 15.0
"""Reports come each second; one this old means that the tree does not work."""


@dataclass
class State:
    """Written by the worker's one loop only."""

    context: Context
    version: str
    values: Values
    tree: view.Node | None = None
    reported: float = 0.0
    """Monotonic seconds of the newest report."""
    rates: view.Rates = field(default_factory=view.Rates)

    def take(self, tree: view.Node) -> None:
        self.tree, self.reported = tree, time.monotonic()
        self.rates.take(self.reported, tree)

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
                "next_step": "see the log",
            }
        return {"gateway": self.context.config["gateway"], "version": self.version, **told}

    def live(self) -> dict[str, Any]:
        """One frame of the page."""
        return {
            "at": time.time_ns() // 1000,
            "gateway": self.context.config["gateway"],
            "version": self.version,
            "health": self.health(),
            "flow": view.flow(self.tree, self.rates) if self.tree else {"adapters": [], "stages": [], "sinks": []},
            "tree": self.tree,
        }

    def find(self, name: str) -> view.Node:
        """The component of this path or last part of a path. Raises Problem."""
        if self.tree is None:
            raise Problem(Kind.UNREACHABLE, "the supervision tree has not reported yet; try again in a moment")
        nodes = list(view.walk(self.tree))
        found = [n for n in nodes if n["id"] == name] or [n for n in nodes if n["id"].rsplit("/", 1)[-1] == name]
        if len(found) == 1:
            return found[0]
        if found:
            raise Problem(
                Kind.CONFLICT, f"{name!r} is the name of {', '.join(n['id'] for n in found)}; give the whole path"
            )
        known = ", ".join(n["id"].rsplit("/", 1)[-1] for n in nodes)
        raise Problem(Kind.NOT_FOUND, f"there is no component {name!r}; there are {known}")
