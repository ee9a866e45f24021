"""What Prometheus scrapes is what it asks for: each name once, base units, few series."""

import math
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from control.metrics import render
from tests.kit.pages import branch, worker

ROOT = Path(__file__).parents[2]
ABBREVIATIONS = ("s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "m", "h", "d")
BOUNDED = {"topic", "rule", "interval", "level", "code", "kind", "upto", "table"}
"""Labels whose values come from a list in the code or the configuration's few topics; never a point, an asset or a host."""


def lint(text):
    """`promtool check metrics`, its rules: https://github.com/prometheus/prometheus, promlint."""
    complaints = []
    for kind in ("HELP", "TYPE"):
        named = re.findall(rf"^# {kind} (\S+)", text, re.MULTILINE)
        complaints += [f"{name}: second {kind}" for name in named if named.count(name) > 1]
    for family in text_string_to_metric_families(text):
        name = family.name
        samples = [(s.name, tuple(sorted(s.labels.items()))) for s in family.samples]
        complaints += [f"{s}: twice" for s in samples if samples.count(s) > 1]
        if not family.documentation.strip():
            complaints.append(f"{name}: no help")
        if not re.fullmatch(r"[a-z_][a-z0-9_]*", name):
            complaints.append(f"{name}: odd letters")
        complaints += [f"{name}: abbreviated unit" for a in ABBREVIATIONS if f"_{a}_" in name or name.endswith(f"_{a}")]
        if family.type != "counter" and name.endswith("_total"):
            complaints.append(f"{name}: {family.type} named as a counter")
        if family.type != "histogram" and (
            name.endswith(("_bucket", "_count", "_sum")) or any("le" in s.labels for s in family.samples)
        ):
            complaints.append(f"{name}: {family.type} named as a histogram")
    return complaints


def families(*nodes):
    text = render(branch("streamforge", *nodes), "1.2.3").decode()
    assert lint(text) == []
    return {f.name: f for f in text_string_to_metric_families(text)}


SINK = worker(
    "data_path/sinks/historian",
    counters={
        'stored_total{topic="a"}': 3,
        "stored_total": 4,
        'latency_ms_total{upto="25"}': 2,
        'latency_ms_total{upto="+Inf"}': 1,
    },
    gauges={
        "latency_p50_ms": 113.0,
        'lag{topic="a"}': 7,
        "queue_fill": math.nan,
        "away_s": 2,
        "odd": None,
        "breaker_open": True,
    },
)
ADAPTER = worker(
    "data_path/adapters/a", counters={"values": 1, 'rejects_total{rule="range"}': 1, "rejects_total": 2, "größe": 1}
)


def test_every_name_is_described_once_in_base_units():
    found = families(SINK, ADAPTER)
    assert found["streamforge_latency_p50_seconds"].samples[0].value == pytest.approx(0.113)
    assert found["streamforge_away_seconds"].samples[0].value == 2
    assert math.isnan(found["streamforge_queue_fill"].samples[0].value)
    assert {s.labels.get("rule") for s in found["streamforge_rejects"].samples} == {"range", None}
    assert "streamforge_odd" not in found


def test_latencies_are_a_histogram_that_always_has_all_its_buckets():
    samples = families(SINK)["streamforge_latency_seconds"].samples
    buckets = [s for s in samples if s.name.endswith("_bucket")]
    assert len(buckets) == 26
    assert (buckets[0].labels["le"], buckets[0].value) == ("0.025", 2)
    assert (buckets[-1].labels["le"], buckets[-1].value) == ("+Inf", 3)
    assert [s.value for s in buckets] == sorted(s.value for s in buckets)
    assert next(s for s in samples if s.name.endswith("_count")).value == 3


def test_no_label_grows_with_the_number_of_points():
    """A point, an asset or a host as a label would make a series of each."""
    rooms = ("actors", "protocols", "pipeline", "sinks", "stream", "control")
    used = {
        (label, path.name)
        for room in rooms
        for path in (ROOT / room).rglob("*.py")
        for name in re.findall(r"""["'](\w+_total|lag|\w+)\{\{?(\w+)=\"""", path.read_text())
        for label in [name[1]]
    }
    assert {label for label, _ in used} <= BOUNDED | {"status"}, used


def test_before_the_first_report_there_is_nothing_to_scrape():
    assert render(None, "1") == b""
