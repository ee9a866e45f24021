"""What the stages cost a reading, without Kafka: microseconds of CPU, beside the same rules written reading by reading in plain Python.

`./run bench stages [--json]`. One partition as a worker sees it: every 100 ms a batch with one twelfth of 50,000 readings a second, over
ten minutes of the plant's time where the aggregator's windows need it. `late`: a tenth of the readings comes up to 3 s late.
The naive way is that of tests/pipeline/naive_*.py, which the stages are tested against. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from pipeline.aggregator import Aggregator
from pipeline.contract import Stage
from pipeline.rules import Rules
from pipeline.validator import Validator
from schemas.gateway import Rule
from schemas.records import Classification, Records, Series
from tests.kit.readings import Row
from tests.pipeline.naive_aggregator import NaiveAggregator, figures
from tests.pipeline.naive_validator import NaiveValidator

SECOND = 1_000_000
START = 1_700_000_000 * SECOND
PARTITIONS = 12
THREE = [{"range": {"min": -50, "max": 150}}, {"rate_of_change": {"max_per_second": 500}}]
"""Range and rate of change, with the duplicate rule that is always on; and the time rule."""
ALL = [
    *THREE,
    {
        "gap": {"expected": "10s"},
        "type": {"type": "number"},
        "flat_line": {"longer_than": "1min"},
        "stale": {"older_than": "1min"},
    },
]


def table(points: int) -> list[Series]:
    return [
        Series(f"asset_{i // 10}", f"p{i}", "bar", Classification.TELEMETRY, "plc", "1", None, "gw")
        for i in range(points)
    ]


def batches(
    points: int, rate: int, seconds: int, topic: str, late: float = 0.0, every_s: float = 0.1
) -> Iterator[Records]:
    """One partition's log: `points` in turn, `rate` readings a second."""
    rng, known, n = np.random.default_rng(1), table(points), max(1, int(rate * every_s))
    for first in range(0, rate * seconds, n):
        place = np.arange(first, first + n)
        arrived = START + place * SECOND // rate
        time_us = arrived - rng.integers(1000, 5000, n)
        if late:
            time_us -= np.where(rng.random(n) < late, rng.integers(0, 3 * SECOND, n), 0)
        yield Records(
            topic, 0, known, place, arrived, (place % points).astype(np.int32), time_us, time_us + 1000, np.full(n, 1, np.uint8),
            20 + np.sin(place / 1000) + rng.normal(0, 0.1, n), np.zeros(n, np.uint8), [b""] * n,
        )  # fmt: skip


def as_rows(given: list[Records]) -> list[Row]:
    return [
        Row(value, at, got, arrived, asset=r.table[s].asset, parameter=r.table[s].parameter)
        for r in given
        for value, at, got, arrived, s in zip(
            r.number.tolist(),
            r.device_time.tolist(),
            r.gateway_time.tolist(),
            r.arrived.tolist(),
            r.series.tolist(),
            strict=True,
        )
    ]


def cost(stage: Stage, log: Iterator[Records], warm: float = 0.1) -> dict[str, float]:
    """Microseconds of CPU a reading, the longest step, and the size of the snapshot at the end."""
    read, spent, longest, documents = 0, 0.0, 0.0, 0
    for n, records in enumerate(log):
        began = time.process_time()
        outputs = stage.step(0, records, 0)
        took = time.process_time() - began
        documents += len(outputs.documents)
        longest = max(longest, took)
        if n >= warm * 100:
            read, spent = read + len(records), spent + took
    began = time.process_time()
    snapshot = stage.snapshot(0)
    return {
        "us": round(spent / read * 1e6, 2),
        "longest_ms": round(longest * 1e3, 1),
        "documents": documents,
        "snapshot_kb": round(len(snapshot) / 1000),
        "snapshot_ms": round((time.process_time() - began) * 1e3, 1),
    }


def naive_validator(rules: list[dict[str, Any]], rows: list[Row]) -> float:
    naive = NaiveValidator(Rules([Rule.model_validate(r) for r in rules]).limits)
    # Merging the rules again for each reading would be too naive.
    known = {row.series: naive.limits(row.series) for row in rows}
    naive.limits = known.__getitem__
    began = time.process_time()
    for row in rows:
        naive.judge(row)
    return (time.process_time() - began) / len(rows) * 1e6


def naive_aggregator(rows: list[Row]) -> float:
    naive = NaiveAggregator(60, 10**9)
    began = time.process_time()
    for row in rows:
        naive.take(row)
    for readings in naive.windows.values():
        figures(readings)
    return (time.process_time() - began) / len(rows) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="nothing but the last line")
    quiet = parser.parse_args().json
    found: dict[str, Any] = {}

    def say(name: str, figures_: dict[str, float], naive: float) -> None:
        found[name] = figures_ | {"naive_us": round(naive, 2), "ratio": round(naive / figures_["us"], 1)}
        if not quiet:
            print(f"{name:42} {figures_['us']:6.2f} us   naive {naive:6.2f} us   {naive / figures_['us']:5.1f} x   "
                  f"longest step {figures_['longest_ms']:6.1f} ms   snapshot {figures_['snapshot_kb']:6.0f} kB in {figures_['snapshot_ms']:5.1f} ms")  # fmt: skip

    for name, rules in (("three rules", THREE), ("all rules", ALL)):
        naive = naive_validator(rules, as_rows(list(batches(417, 4167, 10, "telemetry.raw"))))
        for points, rate, late in ((42, 833, 0.0), (417, 4167, 0.0), (417, 4167, 0.1), (10_000, 50_000, 0.0)):
            stage = Validator([Rule.model_validate(r) for r in rules])
            log = batches(points, rate, 30 if points < 1000 else 10, "telemetry.raw", late)
            say(f"validator, {name}, {points} points, {rate}/s{', late' if late else ''}", cost(stage, log), naive)
    naive = naive_aggregator(as_rows(list(batches(417, 4167, 20, "telemetry.clean"))))
    for points, rate, late in ((42, 833, 0.0), (42, 4167, 0.0), (417, 4167, 0.0), (417, 4167, 0.1), (4167, 4167, 0.0)):
        log = batches(points, rate, 200, "telemetry.clean", late)
        say(f"aggregator, {points} points, {rate}/s{', late' if late else ''}", cost(Aggregator(), log), naive)
    found["memory_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
