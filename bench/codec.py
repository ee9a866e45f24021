"""The codec beside fastavro, in one run: CPU time for one reading written, read, passed on; `ratio` is ours over fastavro (smaller is better)."""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from aiokafka import ConsumerRecord

from schemas.records import Classification, Document, Quality, Series
from stream.codec import Codec, SchemaIds, Template, encode_columns
from stream.codec.avro import Writers, encode
from tests.kit.messages import series_fields

SERIES = 1000
NOW = time.time_ns() // 1000
STATISTICS = ("avg", "min", "max", "stddev", "p50", "p95", "p99", "first", "last")


def templates() -> list[Template]:
    names = (f"line_{n % 40}_sensor_{n // 40}" for n in range(SERIES))
    series = (
        Series(
            name,
            "temperature",
            "celsius",
            Classification.TELEMETRY,
            "adapter_modbus_001",
            "1.2.0",
            None,
            "press-shop-1",
        )
        for name in names
    )
    return [Template(one, 1) for one in series]


def messages(wires: list[bytes]) -> list[ConsumerRecord[bytes, bytes]]:
    return [
        ConsumerRecord("telemetry.raw", 0, n, NOW // 1000, 0, b"k", wire, None, 1, len(wire), ())
        for n, wire in enumerate(wires)
    ]


def fields_of(template: Template, value: float) -> dict[str, Any]:
    """What fastavro is given for the same reading."""
    return {
        **series_fields(template.series, template.prefix[5:13]),
        "timestamps": {"device_time": NOW, "gateway_time": NOW},
        "value": ("double", value),
        "quality": "GOOD",
        "quality_reason": None,
        "raw": b"abcd",
    }


def aggregate() -> Document:
    fields = {
        "asset_id": "line_1",
        "parameter": "temperature",
        "unit": "celsius",
        "interval": "1s",
        "gateway_id": "press-shop-1",
    }
    fields |= {
        "window_start": NOW,
        "window_end": NOW + 10**6,
        "count": 10,
        "good": 10,
        "suspect": 0,
        "uncertain": 0,
        "bad": 0,
    }
    return Document(
        "telemetry.1s", b"line_1", "aggregate", {**fields, **dict.fromkeys(STATISTICS, 85.4), "percent_good": 100.0}
    )


def us_each(work: Callable[[], object], n: int, seconds: float) -> float:
    """Best CPU time of one of n, in microseconds: the best of many is what the code costs, the rest is the machine."""
    best, until = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < until:
        began = time.process_time_ns()
        work()
        best = min(best, time.process_time_ns() - began)
    return best / n / 1000


def measure(seconds: float) -> dict[str, tuple[float, float]]:
    """Step to (ours, fastavro's), microseconds for one."""
    ids, known = SchemaIds(), templates()
    codec, writers = Codec(ids), Writers(ids)
    figures: dict[str, tuple[float, float]] = {}

    def of(work: Callable[[], object], n: int) -> float:
        return us_each(work, n, seconds)

    many = known * 5
    values = [random.random() * 100 for _ in many]
    n = len(many)
    times, raws, quality = [NOW] * n, [b"abcd"] * n, [0] * n
    given = [fields_of(t, v) for t, v in zip(known, values, strict=False)]
    avro = of(lambda: [encode("reading", 1, fields) for fields in given], len(given))
    figures["write one"] = (
        of(lambda: [t.encode(v, NOW, NOW, 0, None, b"abcd") for t, v in zip(many, values, strict=True)], n),
        avro,
    )
    figures["write columns"] = of(lambda: encode_columns(many, values, NOW, times, quality, None, raws), n), avro

    wires = encode_columns(many, values, NOW, times, quality, None, raws)
    read = messages(wires)
    codec.decode("telemetry.raw", 0, read)
    avro = of(lambda: [writers.decode(wire) for wire in wires[:1000]], 1000)
    for size in (5000, 500, 50):
        batch = read[:size]
        figures[f"read {size}"] = of(lambda batch=batch: codec.decode("telemetry.raw", 0, batch), size), avro

    records = codec.decode("telemetry.raw", 0, read).records[0]
    rows, worse = np.arange(n), np.full(n, Quality.UNCERTAIN, np.uint8)
    reasons = dict.fromkeys(range(n), "no device time")
    again = avro + figures["write one"][1]
    figures["pass on unchanged"] = of(lambda: codec.judged(records, rows, records.quality, {}), n), again
    figures["pass on, worse, with a reason"] = of(lambda: codec.judged(records, rows, worse, reasons), n), again

    window = aggregate()
    avro = of(lambda: [encode("aggregate", 3, window.fields) for _ in range(500)], 500)
    figures["write an aggregate"] = of(lambda: [codec.encode_document(window) for _ in range(500)], 500), avro
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one object on the last line")
    parser.add_argument("--seconds", type=float, default=0.5, help="for each step")
    given = parser.parse_args()
    figures = measure(given.seconds)
    print(f"{'us a record':34} {'ours':>8} {'fastavro':>9} {'ratio':>7}")
    for step, (ours, avro) in figures.items():
        print(f"{step:34} {ours:8.3f} {avro:9.3f} {ours / avro:7.3f}")
    whole = [sum(figures[step][at] for step in ("write columns", "read 500", "pass on unchanged")) for at in (0, 1)]
    print(f"{'write, read, pass on':34} {whole[0]:8.3f} {whole[1]:9.3f} {whole[0] / whole[1]:7.3f}")
    if given.json:
        steps = {step: {"ours_us": round(o, 4), "fastavro_us": round(a, 4)} for step, (o, a) in figures.items()}
        print(json.dumps({"bench": "codec", "ratio": round(whole[0] / whole[1], 4), "steps": steps}))


if __name__ == "__main__":
    main()
