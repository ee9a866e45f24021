"""What the demo's line shows, read from the running gateway's own API and, for the first stored reading, from the database."""

from __future__ import annotations

import random
import time
from typing import Any

import psycopg2

from actors.sink_figures import BOUNDS_MS
from control import view
from control.problems import Problem
from control.rates import Rates, total
from streamforge.demo.parts import DemoFailed, Parts
from streamforge.tables import number

STILL = 8
"""So many looks in a row without any movement count as drained: longer than lags take to be measured anew."""
LOOK_EVERY_S = 0.5


class Meter:
    """Looks at one running demo. A gateway that is just being restarted shows nothing for a moment."""

    def __init__(self, parts: Parts, begun: float) -> None:
        self._parts, self._begun = parts, begun
        self._tree: view.Node | None = None
        self._connection: Any = None
        self._restarts = 0
        self._pids: dict[str, int] = {}
        self._latencies: dict[float, float] = {}
        self._seen_buckets: dict[tuple[str, int | None], dict[str, float]] = {}

    def tree(self) -> view.Node | None:
        """The newest report, also of the past when there is none now."""
        try:
            with self._parts.gateway() as gateway:
                self._tree = gateway.get("/api/v1/tree")
        except Problem:
            return None
        for node in view.workers(self._tree):
            self._count_restart(node)
            self._take_latencies(node)
        return self._tree

    def _count_restart(self, node: view.Node) -> None:
        """A worker that lives under another pid was started again; the tree's own counts end with a supervisor that is killed."""
        pid = node.get("pid")
        if pid and self._pids.get(node["id"], pid) != pid:
            self._restarts += 1
        if pid:
            self._pids[node["id"]] = pid

    def _take_latencies(self, node: view.Node) -> None:
        """Add what the sink's latency histogram gained since the last look; a new process counts from nought."""
        buckets = {k: v for k, v in node.get("counters", {}).items() if k.startswith("latency_ms_total")}
        key = (node["id"], node.get("pid"))
        before = self._seen_buckets.get(key, {})
        for name, count in buckets.items():
            bound = float(name.split('upto="')[1].split('"')[0])
            self._latencies[bound] = self._latencies.get(bound, 0) + count - before.get(name, 0)
        self._seen_buckets[key] = buckets

    def page(self) -> str:
        tree = self.tree() or self._tree
        api = next((n for n in view.workers(tree) if n["id"].endswith("/api")), None) if tree else None
        return str(api["facts"].get("address", "")) if api else ""

    def bootstrap(self) -> str:
        return f"127.0.0.1:{self._parts.ports.kafka}"

    def first_stored_at(self) -> float | None:
        """Unix time at which the database held a reading that was read after the demo began, or None yet."""
        try:
            if self._connection is None:
                self._connection = psycopg2.connect(self._parts.historian.dsn)
                self._connection.autocommit = True
            with self._connection.cursor() as cursor:
                cursor.execute("SELECT extract(epoch FROM max(written)) FROM streamforge_offsets")
                newest = cursor.fetchone()[0]
                if newest is None or float(newest) < self._begun:
                    return None
                cursor.execute(
                    "SELECT 1 FROM readings WHERE device_time >= to_timestamp(%s) AND gateway_time >= to_timestamp(%s) LIMIT 1",
                    (self._begun,) * 2,
                )
                return time.time() if cursor.fetchone() else None
        except psycopg2.Error:
            self._connection = None
            return None

    def line(self, elapsed: float) -> str:
        """One line a second for the terminal."""
        try:
            with self._parts.gateway() as gateway:
                health, flow = gateway.get("/health"), gateway.get("/api/v1/flow")
        except Problem as problem:
            return f"{elapsed:6.0f} s  {problem.detail}"
        self.tree()
        read = sum(a["rate"] for a in flow["adapters"])
        stored = sum(s["readings_rate"] for s in flow["sinks"])
        lags = [s["lag"] for s in flow["sinks"]]
        waiting = None if None in lags else sum(lags)  # a sink that was just started does not know it yet
        late = [s["latency_p50_ms"] for s in flow["sinks"] if s["latency_p50_ms"] is not None]
        words = f"{elapsed:6.0f} s  {health['status']:<9}  read {number(read):>6}/s  stored {number(stored):>6}/s  waiting {number(waiting):>5}"
        words += f"  latency {number(max(late))} ms" if late else ""
        return words + f"  restarts {self.restarts()}" + (f"  {health['reason']}" if health["reason"] else "")

    def restarts(self) -> int:
        """How often a worker was seen to have been started again."""
        return self._restarts

    def latency_ms(self) -> dict[str, float | None]:
        """p50 and p99 from arrival to stored, of the readings that arrived in this run: upper bounds of the histogram's buckets."""
        total = sum(self._latencies.values())
        return {name: self._quantile(share, total) for name, share in (("p50", 0.5), ("p99", 0.99))}

    def _quantile(self, share: float, total: float) -> float | None:
        seen = 0.0
        for bound in sorted(self._latencies):
            seen += self._latencies[bound]
            if total and seen >= share * total:
                return min(bound, float(BOUNDS_MS[-1]))  # JSON knows no infinity
        return None

    def random_victim(self) -> tuple[str, int] | None:
        """A random living worker or branch."""
        tree = self.tree()
        nodes = [n for n in view.walk(tree) if n.get("pid") and n is not tree] if tree else []
        node = random.choice(nodes) if nodes else None  # noqa: S311 - no secret
        return (node["id"], node["pid"]) if node else None

    def wait_until_drained(self, stuck_s: float, most_s: float) -> None:
        """Until nothing waits and no counter moves any more. Raises DemoFailed when nothing has moved for `stuck_s`, or `most_s` are over."""
        begun = moved = time.monotonic()
        still, passed, tree = 0, None, None
        while still < STILL:
            if min(moved + stuck_s, begun + most_s) < time.monotonic():
                raise DemoFailed(
                    f"the gateway has not drained: {_what_waits(tree)}; its words are in {self._parts.data}"
                )
            time.sleep(LOOK_EVERY_S)
            self._parts.check()
            tree = self.tree()
            now = _passed(tree) if tree else passed
            if now != passed:
                moved = time.monotonic()
            still = still + 1 if tree and now == passed and not _waiting(tree) else 0
            passed = now


def _passed(tree: view.Node) -> tuple[float, ...]:
    """What has passed each hop so far."""
    names = ("read_total", "written_total", "stored_total", "readings_total")
    return tuple(total(node.get("counters", {}), name) for node in view.workers(tree) for name in names)


def _waiting(tree: view.Node) -> list[str]:
    """The hops that are not done, in words."""
    flow = view.flow(tree, Rates())
    hops = (*flow["stages"], *flow["sinks"])
    return [
        f"{hop['name']} is {hop['status']}, lag {number(hop['lag'])}"
        for hop in hops
        if hop["status"] != "HEALTHY" or hop["lag"] != 0
    ]


def _what_waits(tree: view.Node | None) -> str:
    return ", ".join(_waiting(tree)) or "it still moves" if tree else "it does not answer"
