"""How the command line shows things to people: plain tables, a tree, one line for each reading. Programs take --json instead."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

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


def show_status(console: Console, health: dict[str, Any], flow: dict[str, Any]) -> None:
    name = health["gateway"]["id"]
    console.print(Text.assemble((name, "bold"), "  ", status(health["status"]), "  ", health.get("reason") or ""))
    for trouble in health["problems"]:
        console.print(Text.assemble("  ", status(trouble["status"]), f"  {trouble['component']}: {trouble['reason']}"))
        console.print(f"      {trouble['next_step']}", style="dim")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title, right in (
        ("", 0),
        ("status", 0),
        ("records/s", 1),
        ("waiting", 1),
        ("rejected", 1),
        ("latency p50 / p99", 1),
    ):
        table.add_column(title, justify="right" if right else "left")
    for row in flow["adapters"]:
        table.add_row(row["name"], status(row["status"]), number(row["rate"]), "-", number(row["rejected"]), "-")
    for row in flow["stages"]:
        table.add_row(
            row["name"], status(row["status"]), number(row["rate"]), number(row["lag"]), number(row["refused"]), "-"
        )
    for row in flow["sinks"]:
        latency = f"{number(row['latency_p50_ms'])} / {number(row['latency_p99_ms'], ' ms')}"
        table.add_row(
            row["name"], status(row["status"]), number(row["rate"]), number(row["lag"]), number(row["refused"]), latency
        )
    console.print(table)


def show_tree(console: Console, tree: dict[str, Any]) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title, right in (
        ("component", 0),
        ("status", 0),
        ("restarts", 1),
        ("up", 1),
        ("pid", 1),
        ("reason or last end", 0),
    ):
        table.add_column(title, justify="right" if right else "left", no_wrap=title != "reason or last end")
    _tree_rows(table, tree, "", "")
    console.print(table)


def _tree_rows(table: Table, node: dict[str, Any], head: str, below: str) -> None:
    name = node["id"].rsplit("/", 1)[-1]
    restarts = f"{node.get('restarts', 0)} of {node.get('restarts_max', '-')}"
    told = node.get("reason") or node.get("last_exit") or ""
    word = "finished" if node.get("state") == "finished" else node.get("status")
    table.add_row(
        head + name,
        status(word),
        restarts,
        age(node.get("started_at")),
        str(node.get("pid") or "-"),
        told.splitlines()[-1] if told else "",
    )
    children = node.get("children", [])
    for child in children:
        last = child is children[-1]
        _tree_rows(table, child, below + ("└─ " if last else "├─ "), below + ("   " if last else "│  "))


def show_record(console: Console, record: dict[str, Any]) -> None:
    """One record of a topic on one line."""
    place = f"{record.get('partition', '-')}/{record.get('offset', '-')}"
    if "value" in record:
        at = record["timestamps"]["device_time"] or record["timestamps"]["gateway_time"]
        unit = record.get("unit") or ""
        text = f"{at}  {record['asset_id']}  {record['parameter']}  {record['value']} {unit}"
        console.print(
            Text.assemble(
                (f"{place:>10} ", "dim"),
                text,
                "  ",
                status(record["quality"]),
                "  ",
                record.get("quality_reason") or "",
            )
        )
    else:
        fields = "  ".join(
            f"{k}={v}" for k, v in record.items() if k not in ("topic", "partition", "offset") and v is not None
        )
        console.print(Text.assemble((f"{place:>10} ", "dim"), fields))
