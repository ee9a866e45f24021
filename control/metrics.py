"""The tree's report as Prometheus text: every counter and gauge of every component, labelled with its place in the tree."""

from __future__ import annotations

import re
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from control.view import Node, walk

_LABEL = re.compile(r'(\w+)="([^"]*)"')
STATUSES = ("STARTING", "HEALTHY", "DEGRADED", "UNHEALTHY", "FAILED")


def split(name: str) -> tuple[str, dict[str, str]]:
    """`rejects_total{rule="range"}` to its name and labels."""
    bare, _, labels = name.partition("{")
    return re.sub(r"\W", "_", bare), dict(_LABEL.findall(labels))


class TreeCollector(Collector):
    """One scrape of one report."""

    def __init__(self, tree: Node, version: str) -> None:
        self._tree, self._version = tree, version

    def collect(self) -> Iterable[Metric]:
        families: dict[tuple[str, tuple[str, ...]], Metric] = {}
        for node in walk(self._tree):
            for name, value, counter in _samples(node):
                bare, labels = split(name)
                labels["component"] = node["id"]
                key = (bare, tuple(sorted(labels)))
                if key not in families:
                    kind = CounterMetricFamily if counter else GaugeMetricFamily
                    families[key] = kind(f"streamforge_{bare}", f"{bare} of a component", labels=key[1])
                families[key].add_metric([labels[label] for label in key[1]], value)  # type: ignore[attr-defined]
        yield from families.values()
        build = GaugeMetricFamily("streamforge_build_info", "what runs here", labels=["version"])
        build.add_metric([self._version], 1)
        yield build


def _samples(node: Node) -> Iterable[tuple[str, float, bool]]:
    for name, value in node.get("counters", {}).items():
        yield name.replace("_total", "", 1), value, True
    for name, value in node.get("gauges", {}).items():
        yield name, value, False
    yield "restarts", float(node.get("restarts_total", 0)), True
    for status in STATUSES if node["role"] == "worker" else ():
        yield f'status{{status="{status}"}}', float(node.get("status") == status), False


def render(tree: Node | None, version: str) -> bytes:
    """The text a scrape of /metrics gets."""
    registry = CollectorRegistry()
    if tree is not None:
        registry.register(TreeCollector(tree, version))
    return generate_latest(registry)


CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
