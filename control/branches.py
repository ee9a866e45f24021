"""The tree's report as people read it: a branch says which of its children are not well, and each of those says why itself. Pure.

Supervisors report a branch with the reason of its worst leaf, so one sentence would stand at every level above it.
"""

from __future__ import annotations

from typing import Any

from actors.traces import last_words

Node = dict[str, Any]

NAMES_MAX = 5
_STATES = {"failed": "parked", "backoff": "waiting to start again", "stopping": "stopping", "stopped": "stopped"}
_WELL = ("HEALTHY", None)


def told(node: Node) -> Node:
    """The same node with all below it, reasons in one sentence each, without names of our classes."""
    children = [told(child) for child in node.get("children", [])]
    reason = last_words(node.get("reason") or "") or None
    if node.get("role") != "supervisor":
        return {**node, "reason": reason}
    return {**node, "children": children, "reason": _own(node, reason) or summary(children)}


def _own(node: Node, reason: str | None) -> str | None:
    """A branch that is not there, or gives up, has a reason of its own."""
    return None if node.get("state") in ("running", "starting") and node.get("status") != "FAILED" else reason


def summary(children: list[Node]) -> str | None:
    """`1 of 3 children parked: opcua1`; None while all are well."""
    groups: dict[str, list[str]] = {}
    for child in children:
        if child.get("status") not in _WELL and child.get("state") != "finished":
            groups.setdefault(_word(child), []).append(child["id"].rpartition("/")[2])
    if not groups:
        return None
    parts = [f"{len(names)} {word}: {_listed(names)}" for word, names in groups.items()]
    first, _, rest = parts[0].partition(" ")
    noun = "child" if len(children) == 1 else "children"
    return "; ".join([f"{first} of {len(children)} {noun} {rest}", *parts[1:]])


def _word(child: Node) -> str:
    return _STATES.get(child.get("state", "")) or str(child["status"]).lower()


def _listed(names: list[str]) -> str:
    more = len(names) - NAMES_MAX
    return ", ".join(names[:NAMES_MAX]) + (f" and {more} more" if more > 0 else "")
