"""The tree's report as Prometheus text: every counter and gauge of every component, labelled with its place in the tree.

Base units only, as Prometheus asks: what components count in milliseconds leaves here in seconds. The labels are few and bounded (topics,
rules, kinds): what there is of each point is in the API and the stream, never a label. Each component reports at most 500 names.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from actors.sink_figures import BOUNDS_MS
from control.view import Node, walk

_LABEL = re.compile(r'([A-Za-z_]\w*)="([^"]*)"', re.ASCII)
STATUSES = ("STARTING", "HEALTHY", "DEGRADED", "UNHEALTHY", "FAILED")
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LATENCY = "latency_ms_total"
"""Readings by latency, each in the first bucket it fits (actors/sink_figures.py): a histogram for Prometheus."""
_UNITS = (("_ms", "_seconds", 1e-3), ("_s", "_seconds", 1.0), ("_kb", "_bytes", 1024.0), ("_mb", "_bytes", 1048576.0))

_FALL_TOO = ("points_in_trouble",)
"""An adapter's health has one list of figures; these are no counters."""

Labels = dict[str, str]
Family = type[CounterMetricFamily] | type[GaugeMetricFamily]


def split(name: str) -> tuple[str, Labels]:
    """`rejects_total{rule="range"}` to its name and labels."""
    bare, _, labels = name.partition("{")
    return re.sub(r"[^a-zA-Z0-9_]", "_", bare), dict(_LABEL.findall(labels))


def in_base_units(bare: str) -> tuple[str, float]:
    """The name with its unit as Prometheus writes it, and what a value is multiplied by."""
    for suffix, unit, factor in _UNITS:
        if bare.endswith(suffix):
            return bare.removesuffix(suffix) + unit, factor
    return bare, 1.0


class TreeCollector(Collector):
    """One scrape of one report."""

    def __init__(self, tree: Node, version: str) -> None:
        self._tree, self._version = tree, version
        self._families: dict[tuple[Family, str], Metric] = {}
        self._seen: set[tuple[str, tuple[tuple[str, str], ...]]] = set()

    def collect(self) -> Iterable[Metric]:
        for node in walk(self._tree):
            for name, value in node.get("counters", {}).items():
                if not name.startswith(LATENCY):
                    family = GaugeMetricFamily if name in _FALL_TOO else CounterMetricFamily
                    self._add(family, name.replace("_total", "", 1), value, node["id"])
            for name, value in node.get("gauges", {}).items():
                self._add(GaugeMetricFamily, name, value, node["id"])
            self._add(CounterMetricFamily, "restarts", float(node.get("restarts_total", 0)), node["id"])
            for status in STATUSES if node["role"] == "worker" else ():
                self._add(GaugeMetricFamily, f'status{{status="{status}"}}', node.get("status") == status, node["id"])
        yield from self._families.values()
        yield from self._latencies()
        build = GaugeMetricFamily("streamforge_build_info", "What runs here.", labels=["version"])
        build.add_metric([self._version], 1)
        yield build

    def _add(self, family: Family, name: str, value: object, component: str) -> None:
        if not isinstance(value, int | float):
            return
        bare, labels = split(name)
        bare, factor = in_base_units(bare)
        whole = f"streamforge_{bare}" + ("_total" if family is CounterMetricFamily else "")
        labels = {"component": component, **labels}
        sample = whole, tuple(sorted(labels.items()))
        if sample in self._seen:
            return
        self._seen.add(sample)
        key = family, bare
        if key not in self._families:
            self._families[key] = family(f"streamforge_{bare}", f"{bare.replace('_', ' ').capitalize()}, by component.")
        self._families[key].add_sample(whole, labels, float(value) * factor)

    def _latencies(self) -> Iterable[Metric]:
        """Always with every bucket: Prometheus compares them over time."""
        family = HistogramMetricFamily(
            "streamforge_latency_seconds", "From the gateway's clock to the destination, by sink."
        )
        for node in walk(self._tree):
            counted = {split(k)[1].get("upto"): v for k, v in node.get("counters", {}).items() if k.startswith(LATENCY)}
            if counted:
                so_far = 0.0
                labels = {"component": node["id"]}
                for bound in (*BOUNDS_MS, math.inf):
                    so_far += counted.get("+Inf" if bound == math.inf else str(bound), 0)
                    le = "+Inf" if bound == math.inf else repr(bound / 1000)
                    family.add_sample("streamforge_latency_seconds_bucket", {**labels, "le": le}, so_far)
                family.add_sample("streamforge_latency_seconds_count", labels, so_far)
        if family.samples:
            yield family


def render(tree: Node | None, version: str) -> bytes:
    """The text a scrape of /metrics gets."""
    registry = CollectorRegistry()
    if tree is not None:
        registry.register(TreeCollector(tree, version))
    return generate_latest(registry)
