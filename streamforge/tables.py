"""How the command line shows things to people: plain tables, a tree, one line for each reading. Programs take --json instead.

columns.py lays out what stands in columns.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.text import Text

from actors.traces import last_words
from streamforge.columns import Column, show

STYLES = {
    "DEGRADED": "yellow",
    "UNHEALTHY": "red",
    "FAILED": "bold red",
    "SUSPECT": "yellow",
    "UNCERTAIN": "yellow",
    "BAD": "red",
}


def status(word: str | None) -> Text:
    return Text(word or "-", STYLES.get(word or "", ""))


def age(micros: float | None) -> str:
    """`12 s`, `3 min`, `2 h` since then."""
    if not micros:
        return "-"
    s = max(0.0, time.time() - micros / 1e6)
    for size, word in ((86400, "d"), (3600, "h"), (60, "min")):
        if s >= size:
            return f"{s / size:.0f} {word}"
    return f"{s:.0f} s"


def number(value: float | None, unit: str = "") -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}{unit}".replace(",", " ") if abs(value) >= 100 or value == int(value) else f"{value:.1f}{unit}"


FLOW = (
    Column(""),
    Column("status"),
    Column("records/s", right=True, spare=1),
    Column("waiting", right=True, spare=2),
    Column("rejected", right=True, spare=3),
    Column("latency p50 / p99", right=True, spare=4),
)
TREE = (
    Column("component"),
    Column("status"),
    Column("restarts", right=True, spare=2),
    Column("up", right=True, spare=3),
    Column("pid", right=True, spare=4),
)


def show_status(console: Console, health: dict[str, Any], flow: dict[str, Any], pid: int | None) -> None:
    """`pid`: the daemon's, which is the one to send SIGTERM."""
    reason = "" if health["problems"] else health.get("reason") or ""
    head = [
        Text(health["gateway"]["id"], "bold"),
        status(health["status"]),
        Text(f"pid {pid}" if pid else "", "dim"),
        Text(reason),
    ]
    console.print(Text("  ").join(part for part in head if part.plain))
    for trouble in health["problems"]:
        console.print()
        console.print(Text.assemble(status(trouble["status"]), "  ", (trouble["component"], "bold")))
        for text, style in ((trouble["reason"], ""), (trouble["next_step"], "dim")):
            for line in _folded(console, text):
                console.print(Text("    ") + Text(line, style), soft_wrap=True)
    console.print()
    rows = [*flow["adapters"], *flow["stages"], *flow["sinks"]]
    show(console, FLOW, [_hop(row) for row in rows])


def _folded(console: Console, text: str) -> list[str]:
    if not console.is_terminal:
        return [text]
    return [line.plain for line in Text(text).wrap(console, max(8, console.width - 4))]


def _hop(row: dict[str, Any]) -> list[Text]:
    latency = "-"
    if row.get("latency_p50_ms") is not None:
        latency = f"{number(row['latency_p50_ms'])} / {number(row['latency_p99_ms'], ' ms')}"
    refused = row.get("rejected", row.get("refused"))
    rejected = f"{number(refused)} in {age(row.get('since'))}" if refused else number(refused)
    figures = (number(row["rate"]), number(row.get("lag")), rejected, latency)
    return [Text(row["name"]), status(row["status"]), *map(Text, figures)]


def show_tree(console: Console, tree: dict[str, Any]) -> None:
    listed = list(_branches(tree, "", "", plain=not console.encoding.lower().startswith("utf")))
    rows, reasons = [row for row, _ in listed], [reason for _, reason in listed]
    show(console, TREE, rows, reasons, "reason or last end")


def _branches(node: dict[str, Any], head: str, below: str, *, plain: bool) -> Iterator[tuple[list[Text], str]]:
    """One row for each node, and what is to be said about it."""
    restarts = f"{node.get('restarts', 0)} of {node['restarts_max']}" if "restarts_max" in node else "-"
    word = "finished" if node.get("state") == "finished" else node.get("status")
    cells = [Text(head + node["id"].rpartition("/")[2]), status(word), Text(restarts)]
    cells += [Text(age(node.get("started_at"))), Text(str(node.get("pid") or "-"))]
    told = node.get("reason") or last_words(node.get("last_exit") or "")
    yield cells, "" if told == word else told
    twig, end, trunk = ("|- ", "`- ", "|  ") if plain else ("├─ ", "└─ ", "│  ")
    children = node.get("children", [])
    for child in children:
        last = child is children[-1]
        yield from _branches(child, below + (end if last else twig), below + ("   " if last else trunk), plain=plain)


def show_record(console: Console, record: dict[str, Any]) -> None:
    """One record of a topic on one line."""
    place = f"{record.get('partition', '-')}/{record.get('offset', '-')}"
    if "value" in record:
        at = record["timestamps"]["device_time"] or record["timestamps"]["gateway_time"]
        parts = [at, record["asset_id"], record["parameter"], f"{record['value']} {record.get('unit') or ''}".rstrip()]
        text = Text.assemble(
            "  ".join(parts), "  ", status(record["quality"]), "  ", record.get("quality_reason") or ""
        )
    else:
        shown = {k: v for k, v in record.items() if k not in ("topic", "partition", "offset") and v is not None}
        text = Text("  ".join(f"{k}={v}" for k, v in shown.items()))
    text.rstrip()
    console.print(Text(f"{place:>10} ", "dim") + text)
