"""From the tree's report to what people ask: is data flowing, how fast, how late, what is wrong, what should be done. Pure.

A node of the tree is the JSON that supervisors push (supervisors/report.py): id, role, state, status, reason, counters, gauges,
facts, children and so on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from actors.surroundings import command, log_place
from actors.traces import last_words
from control.rates import Rates, total

Node = dict[str, Any]

RANK = {"HEALTHY": 0, "STARTING": 1, "DEGRADED": 2, "UNHEALTHY": 3, "FAILED": 4}
CRITICAL = ("stream", "data_path/processing")
"""Branches whose failure makes the gateway UNHEALTHY; anything else makes it DEGRADED."""

STARTS = {
    "stream/broker": "Kafka starts, which takes some seconds",
    "stream/topics": "looks for the topics of the stream, and makes those that are missing",
}
"""What is under way in components that say nothing of their start themselves."""

READINGS = ("telemetry.raw", "telemetry.clean", "events.raw", "events.clean", "alarms.raw")
"""Topics that hold readings; sinks store windows besides."""


def walk(node: Node) -> Iterator[Node]:
    """The node and all below it, in the order of the tree."""
    yield node
    for child in node.get("children", []):
        yield from walk(child)


def workers(tree: Node) -> list[Node]:
    return [node for node in walk(tree) if node["role"] == "worker"]


def health(tree: Node | None) -> dict[str, Any]:
    """Overall status with the reason and what to do next, and every problem by component."""
    if tree is None:
        return {
            "status": "STARTING",
            "reason": "the supervision tree has not reported yet",
            "next_step": "wait a moment",
            "problems": [],
            "dead_letters": [],
        }
    names = Counter(last_part(node["id"]) for node in walk(tree))
    problems = [problem(node, names) for node in walk(tree) if is_problem(node)]
    problems.sort(key=urgency)
    status = overall(problems)
    worst = problems[0] if problems else None
    return {
        "status": status,
        "reason": f"{worst['component']}: {worst['reason']}" if worst else None,
        "next_step": worst["next_step"] if worst else None,
        "problems": problems,
        "dead_letters": dead_letters(tree),
    }


def urgency(told: dict[str, Any]) -> tuple[bool, int]:
    """What sorts problems: first a stream that does not run, for it is why the others complain; then the worst."""
    stream_away = told["component"].startswith("stream") and told["status"] in ("STARTING", "UNHEALTHY", "FAILED")
    return not stream_away, -RANK.get(told["status"], 0)


def is_problem(node: Node) -> bool:
    """Of a branch only when it does not run itself: what is below it speaks for itself."""
    if node["role"] == "supervisor" and node.get("state") not in ("backoff", "failed"):
        return False
    return node.get("status") not in ("HEALTHY", None) and node.get("state") != "finished"


def overall(problems: list[dict[str, Any]]) -> str:
    """SPEC section 11: a critical part failed is UNHEALTHY, another is DEGRADED, one still starting is STARTING."""
    bad = [p for p in problems if p["status"] != "STARTING"]
    if any(p["critical"] and p["status"] in ("UNHEALTHY", "FAILED") for p in bad):
        return "UNHEALTHY"
    if bad:
        return "DEGRADED"
    return "STARTING" if problems else "HEALTHY"


def last_part(path: str) -> str:
    return path.rpartition("/")[2]


def within(path: str, branch: str) -> bool:
    """Is it this branch or below it?"""
    return f"{path}/".startswith(f"{branch}/")


def problem(node: Node, names: Mapping[str, int] | None = None) -> dict[str, Any]:
    """`names`: how many components are called so; one whose name is not its own is told by its path."""
    path = node["id"]
    name = last_part(path)
    if names and names[name] > 1:
        name = path
    reason = last_words(node.get("reason") or node.get("last_exit") or "")
    if not reason:
        reason = STARTS.get(path, "starts") if node["status"] == "STARTING" else f"is {node['status']}"
    return {
        "component": path,
        "status": node["status"],
        "critical": any(within(path, branch) or within(branch, path) for branch in CRITICAL),
        "reason": reason,
        "next_step": with_places(next_step(node["status"], name, path, node.get("next_step")), node),
        "causes": causes(node),
    }


def causes(node: Node) -> list[dict[str, Any]]:
    """What a worker that runs says is wrong, one by one: in words, with the next step, since when, and the points it befalls."""
    runs = node.get("state") in ("running", "starting")
    found = node.get("facts", {}).get("causes", []) if runs else []
    return [{**cause, "next_step": with_places(cause["next_step"], node)} for cause in found]


def with_places(step: str | None, node: Node) -> str | None:
    """A step that speaks of a secret says where the one in use was read: there may be another where it is not looked for."""
    places = node.get("facts", {}).get("secrets", {})
    if step is None or " secret " not in step or node.get("state") not in ("running", "starting"):
        return step
    return "; ".join([step, *(f"{name!r} was read from {place}" for name, place in places.items())])


def next_step(status: str, name: str, path: str, advice: str | None = None) -> str:
    """`advice` is the worker's own, which knows the reason; without it, what is right for any reason."""
    if status == "FAILED":
        return f"{advice or 'mend the cause'}, then: {command(f'restart {name}')}"
    if advice:
        return advice
    if status == "STARTING":
        return "wait a moment"
    if "adapters/" in path:
        return "check the source and the network; the adapter tries again by itself"
    if "sinks/" in path:
        return "check the destination and the network to it; the sink tries again by itself"
    return f"see the log ({log_place()}), then: {command(f'restart {name}')}"


def flow(tree: Node, rates: Rates) -> dict[str, list[dict[str, Any]]]:
    """Adapters, stages and sinks with their rates a second, lags in records and latencies in milliseconds."""
    return {
        "adapters": [_adapter(n, rates) for n in workers(tree) if "/adapters/" in n["id"]],
        "stages": [_stage(n, rates) for n in workers(tree) if "/processing/" in n["id"]],
        "sinks": [_sink(n, rates) for n in workers(tree) if "/sinks/" in n["id"]],
    }


def dead_letters(tree: Node) -> list[dict[str, Any]]:
    """Who refused something since it was started: how much, the newest with its reason, and the command that shows them."""
    return [_letters(node) for node in workers(tree) if refused_by(node)]


def refused_by(node: Node) -> float:
    """Readings and payloads that became dead letters."""
    counters = node.get("counters", {})
    return total(counters, "rejects_total") + total(counters, "refused_total")


def _letters(node: Node) -> dict[str, Any]:
    last = node.get("facts", {}).get("last_refused") or {}
    topic = last.get("letters", "dlq.telemetry")
    return {
        "component": node["id"],
        "count": refused_by(node),
        "since": node.get("started_at"),
        "last_at": last.get("at"),
        "rule": last.get("rule"),
        "point": "/".join(filter(None, (last.get("asset"), last.get("parameter")))) or None,
        "reason": last.get("reason"),
        "topic": topic,
        "command": command(f"tail {topic} --last 5 --no-follow"),
    }


def _base(node: Node) -> dict[str, Any]:
    name = last_part(node["id"])
    return {"id": node["id"], "name": name, "status": node.get("status"), "reason": node.get("reason")}


def _lag(node: Node) -> float | None:
    """Records that wait; None while nobody counts them, as of a worker that does not run."""
    gauges = node.get("gauges", {})
    is_known = node.get("pid") is not None and any(name.partition("{")[0] == "lag" for name in gauges)
    return total(gauges, "lag") if is_known else None


def _adapter(node: Node, rates: Rates) -> dict[str, Any]:
    facts = node.get("facts", {})
    return {
        **_base(node),
        "rate": rates.of(node["id"], "readings_total"),
        "rejected": total(node.get("counters", {}), "rejects_total"),
        "since": node.get("started_at"),
        "last_reading_at": facts.get("last_reading_at"),
        "protocol": facts.get("protocol"),
        "stream": facts.get("stream"),
    }


def _stage(node: Node, rates: Rates) -> dict[str, Any]:
    return {
        **_base(node),
        "read_rate": rates.of(node["id"], "read_total"),
        "rate": rates.of(node["id"], "written_total"),
        "refused_rate": rates.of(node["id"], "refused_total"),
        "refused": total(node.get("counters", {}), "refused_total"),
        "since": node.get("started_at"),
        "lag": _lag(node),
    }


def _sink(node: Node, rates: Rates) -> dict[str, Any]:
    gauges, facts = node.get("gauges", {}), node.get("facts", {})
    return {
        **_base(node),
        "rate": rates.of(node["id"], "stored_total"),
        "readings_rate": sum(rates.of(node["id"], f'stored_total{{topic="{topic}"}}') for topic in READINGS),
        "refused": total(node.get("counters", {}), "refused_total"),
        "since": node.get("started_at"),
        "lag": _lag(node),
        "catch_up_s": gauges.get("catch_up_s") or None,
        "latency_p50_ms": gauges.get("latency_p50_ms"),
        "latency_p99_ms": gauges.get("latency_p99_ms"),
        "breaker": facts.get("breaker"),
    }
