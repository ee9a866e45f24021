"""How the command line shows things to people: plain tables, a tree, one line for each reading. Programs take --json instead.

columns.py lays out what stands in columns.
"""

from __future__ import annotations

import re
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


NAMES_MAX = 5
TIMES = re.compile(r"since \d\d:\d\d:\d\d|tries again in [\d.]+ s")
"""What may differ between components in the same trouble."""

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
    for trouble, names in alike(health["problems"]):
        console.print()
        console.print(Text.assemble(status(trouble["status"]), "  ", (names, "bold")))
        for said, next_step in told_of(trouble):
            _put(console, said, "")
            _put(console, next_step, "dim")
    console.print()
    rows = [*flow["adapters"], *flow["stages"], *flow["sinks"]]
    show(console, FLOW, [_hop(row) for row in rows])
    show_letters(console, health.get("dead_letters", []))


def alike(problems: list[dict[str, Any]]) -> list[tuple[dict[str, Any], str]]:
    """Components in the same trouble are told together, as all that wait for their turn to start."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for each in problems:
        timeless = TIMES.sub("", each["reason"])
        groups.setdefault((each["status"], timeless, each["next_step"]), []).append(each)
    return [(group[0], _names([each["component"] for each in group])) for group in groups.values()]


def _names(paths: list[str]) -> str:
    if len(paths) == 1:
        return paths[0]
    more = len(paths) - NAMES_MAX
    shown = ", ".join(path.rpartition("/")[2] for path in paths[:NAMES_MAX])
    return f"{len(paths)} components: {shown}" + (f" and {more} more" if more > 0 else "")


def told_of(trouble: dict[str, Any]) -> list[tuple[str, str]]:
    """What is wrong and what to do: for each cause that is known, else for all together. The same step is said once."""
    told: dict[str, str] = {}
    for cause in trouble.get("causes", []):
        since = f" (for {age(cause['since'])})" if cause["since"] else ""
        step = cause["next_step"] or ("" if told else trouble["next_step"])
        told[cause["said"] + since] = "" if step in told.values() else step
    return list(told.items()) or [(trouble["reason"], trouble["next_step"])]


def show_letters(console: Console, letters: list[dict[str, Any]]) -> None:
    """What was refused and is kept whole, by whom, with the newest reason and the command that shows all."""
    if letters:
        console.print()
        console.print(Text("refused and kept as dead letters", "dim"))
    for each in letters:
        newest = f"; the newest {age(each['last_at'] * 1e6)} ago: " if each["last_at"] else ""
        what = ": ".join(filter(None, (each["point"], each["reason"])))
        head = f"{each['component'].rpartition('/')[2]}: {number(each['count'])} in {age(each['since'])}"
        _put(console, f"{head}{newest}{what}", "", indent=2)
        _put(console, each["command"], "dim")


def _put(console: Console, text: str, style: str, indent: int = 4) -> None:
    for line in _folded(console, text, indent) if text else ():
        console.print(Text(" " * indent) + Text(line, style), soft_wrap=True)


def _folded(console: Console, text: str, indent: int) -> list[str]:
    if not console.is_terminal:
        return [text]
    return [line.plain for line in Text(text).wrap(console, max(8, console.width - indent))]


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
    elif "rule" in record and "stage" in record:
        text = dead_letter(record)
    else:
        shown = {k: v for k, v in record.items() if k not in ("topic", "partition", "offset") and v is not None}
        text = Text("  ".join(f"{k}={v}" for k, v in shown.items()))
    text.rstrip()
    console.print(Text(f"{place:>10} ", "dim") + text)


ORIGINAL_MAX = 300
"""Characters of a refused payload; `--json` has it whole."""


def dead_letter(record: dict[str, Any]) -> Text:
    """What was refused and why; below it by whom, where it stood, and what it was."""
    point = "/".join(filter(None, (record["asset_id"], record["parameter"])))
    head = "  ".join(filter(None, (record["arrived_at"], point)))
    stood = f", stood in {record['source_topic']} {record['source_partition']}/{record['source_offset']}"
    by = f"refused by {record['stage']} (rule {record['rule']})" + (stood if record["source_topic"] else "")
    lines = (Text("\n" + " " * 11) + Text(line, "dim") for line in (by, original(record)))
    return Text.assemble(head, "  ", (record["reason"], "yellow"), *lines)


def original(record: dict[str, Any]) -> str:
    """The refused reading, or the payload as text or hex."""
    if read := record.get("original_reading"):
        times = read["timestamps"]
        value = "no value" if read["value"] is None else f"{read['value']} {read['unit'] or ''}".rstrip()
        return f"original: {value}, {read['quality']} as it came, of {times['device_time'] or times['gateway_time']}"
    if kept := record.get("original_record"):
        return f"original: {_cut('  '.join(f'{k}={v}' for k, v in kept.items() if v is not None))}"
    if "original_text" in record:
        return f"original, {len(record['original_text'].encode())} bytes of text: {_cut(record['original_text'])!r}"
    return f"original, {len(record['original_hex'] + ' ') // 3} bytes: {_cut(record['original_hex'])}"


def _cut(text: str) -> str:
    return text if len(text) <= ORIGINAL_MAX else text[:ORIGINAL_MAX] + " ... (whole with --json)"
