"""Machine to database: offered rates rising until the gateway no longer keeps up, synced and lazy, beside the naive way in the same run.

Modbus simulator, the whole gateway (broker, validator, aggregator, sink) and PostgreSQL share this one box. A rate is kept when at
least 99 % of what was offered in the window was read and stored in it, and no lag of more than two seconds stood at its end.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from actors import guard
from bench import plant
from bench.naive_run import naive_step
from bench.usage import UsageMeter, family
from control import rates, view
from control.problems import Problem
from stream.broker.ports import free_pair
from streamforge.client import Gateway
from streamforge.system import free_ports

RATES = (10_000, 20_000, 30_000, 40_000, 50_000, 65_000, 80_000)
WARM_UP_S = 8.0
KEPT = 0.99
LOOK_EVERY_S = 0.5
LAG_S = 2.0
START_WITHIN_S = 90.0


class Running:
    """One gateway for one step."""

    def __init__(self, directory: Path, text: str, password: str) -> None:
        (directory / "data" / "secrets").mkdir(parents=True)
        (directory / "data" / "secrets" / "historian").write_text(password)
        (directory / "gateway.yaml").write_text(text)
        parent = os.getpid()
        with (directory / "gateway.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "streamforge", "run", str(directory / "gateway.yaml"), "--data", str(directory / "data")],
                stdout=log, stderr=log, preexec_fn=lambda: guard.die_with(parent),
            )  # fmt: skip
        self.directory = directory

    def tree(self) -> view.Node | None:
        try:
            with Gateway(self.directory / "data") as gateway:
                tree: view.Node = gateway.get("/api/v1/tree")
                return tree
        except Problem:
            return None

    def wait_until_flowing(self) -> None:
        deadline = time.monotonic() + START_WITHIN_S
        while time.monotonic() < deadline:
            tree = self.tree()
            if tree and total(tree, "stored_total") > 0:
                return
            if self.process.poll() is not None:
                break
            time.sleep(LOOK_EVERY_S)
        sys.exit(f"the gateway did not start: {(self.directory / 'gateway.log').read_text()[-3000:]}")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()


def total(tree: view.Node, counter: str, branch: str = "") -> float:
    return sum(rates.total(n.get("counters", {}), counter) for n in view.workers(tree) if branch in n["id"])


def watched(running: Running, seconds: float) -> list[tuple[float, float, float]]:
    """(time, read so far, stored so far) over the window."""
    began = time.monotonic()
    seen = []
    while (now := time.monotonic()) - began < seconds:
        if tree := running.tree():
            # Readings of telemetry.clean only: the sink stores aggregates too.
            seen.append((now, total(tree, "readings_total"), total(tree, 'stored_total{topic="telemetry.clean"}')))
        time.sleep(LOOK_EVERY_S)
    return seen


def slope(seen: list[tuple[float, float, float]], column: int) -> float:
    """A second, by least squares: each count is up to a second old, which two looks would make an error of."""
    times, counts = [row[0] for row in seen], [row[column] for row in seen]
    return statistics.linear_regression(times, counts).slope


def lag(tree: view.Node) -> float:
    return sum(rates.total(n.get("gauges", {}), "lag") for n in view.workers(tree))


def buckets(tree: view.Node) -> dict[float, float]:
    """The sinks' latency histogram: upper bound in ms to count."""
    found: dict[float, float] = {}
    for node in view.workers(tree):
        for name, count in node.get("counters", {}).items():
            if name.startswith("latency_ms_total"):
                bound = float(name.split('upto="')[1].split('"')[0])
                found[bound] = found.get(bound, 0) + count
    return found


def quantile(before: dict[float, float], after: dict[float, float], share: float) -> float | None:
    gained = {bound: count - before.get(bound, 0) for bound, count in after.items()}
    everything, seen = sum(gained.values()), 0.0
    for bound in sorted(gained):
        seen += gained[bound]
        if everything and seen >= share * everything:
            return bound
    return None


def step(here: plant.Plant, rate: int, durability: str, seconds: float) -> dict[str, Any]:
    """One rate for one window."""
    kafka, page = free_pair(), free_ports(1)[0]
    directory = here.directory / f"{durability}-{rate}-{kafka}"
    running = Running(directory, plant.gateway_file(here, rate, durability, kafka, page), here.historian.password())
    try:
        running.wait_until_flowing()
        time.sleep(WARM_UP_S)
        before = running.tree()
        assert before
        meter = UsageMeter(groups(before, running.process.pid, here))
        seen = watched(running, seconds)
        usage = meter.stop()
        after = running.tree()
        assert after
    finally:
        running.stop()
    read, stored = slope(seen, 1), slope(seen, 2)
    wanted = plant.offered(rate)
    waiting = lag(after)
    python = sum(mb for name, mb in usage.pss_mb.items() if name not in ("jvm", "postgres", "simulator"))
    return {
        "durability": durability,
        "offered": wanted,
        "read": round(read),
        "stored": round(stored),
        "lag": round(waiting),
        "p50_ms": quantile(buckets(before), buckets(after), 0.5),
        "p99_ms": quantile(buckets(before), buckets(after), 0.99),
        "box_percent": usage.box_percent,
        "cores": usage.cores,
        "python_pss_mb": round(python),
        "broker_pss_mb": round(usage.pss_mb["jvm"]),
        "kept": read >= KEPT * wanted and stored >= KEPT * read and waiting <= LAG_S * wanted * 2,
    }


def groups(tree: view.Node, daemon: int, here: plant.Plant) -> dict[str, list[int]]:
    """Pids by the name of the component; everything else of the gateway as `tree`."""
    named = {n["id"].rsplit("/", 1)[-1]: [n["pid"]] for n in view.workers(tree) if n.get("pid")}
    broker = next(n for n in view.workers(tree) if n["id"].endswith("/broker"))
    jvm = [pid for pid in family(broker["pid"]) if pid != broker["pid"]]
    known = {pid for pids in named.values() for pid in pids} | set(jvm)
    rest = [pid for pid in family(daemon) if pid not in known]
    rest += [n["pid"] for n in view.walk(tree) if n.get("pid") and n["pid"] not in known and n["pid"] not in rest]
    return {**named, "jvm": jvm, "tree": rest, "postgres": here.historian.pids(), "simulator": [here.simulator_pid]}


def show(row: dict[str, Any]) -> None:
    cores = " ".join(f"{name} {used:.2f}" for name, used in row.get("cores", {}).items() if used >= 0.01)
    print(
        f"{row['durability']:<7} offered {row['offered']:>6}/s  read {row['read']:>6}  stored {row['stored']:>6}  lag {row['lag']:>7}"
        f"  p50/p99 {row['p50_ms']}/{row['p99_ms']} ms  box {row['box_percent']:.0f} %  {'kept' if row['kept'] else 'NOT KEPT'}\n"
        f"        cores: {cores}  PSS: python {row.get('python_pss_mb')} MB, broker {row.get('broker_pss_mb')} MB",
        flush=True,
    )


def rising(here: plant.Plant, rates: list[int], durability: str, seconds: float) -> list[dict[str, Any]]:
    rows = []
    for rate in rates:
        rows.append(naive_step(here, rate, seconds) if durability == "naive" else step(here, rate, durability, seconds))
        show(rows[-1])
        if not rows[-1]["kept"]:
            break
    return rows


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=60, help="the window in which a rate must be kept")
    options.add_argument("--rates", type=lambda text: [int(r) for r in text.split(",")], default=list(RATES))
    options.add_argument("--ways", default="synced,lazy,naive")
    options.add_argument("--json", action="store_true")
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="sf-bench-") as directory:
        Path(directory).chmod(0o755)
        with plant.Plant(Path(directory)) as here:
            rows = {way: rising(here, given.rates, way, given.seconds) for way in given.ways.split(",")}
    best = {way: max((r["stored"] for r in steps if r["kept"]), default=0) for way, steps in rows.items()}
    ratio = round(best["synced"] / best["naive"], 2) if best.get("naive") and "synced" in best else None
    print(f"kept: {best}; ours, synced, over naive: {ratio}")
    if given.json:
        print(json.dumps({"ratio": ratio, "kept": best, "steps": rows}))


if __name__ == "__main__":
    main()
