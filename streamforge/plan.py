"""From a checked file to the tree that runs it: what each worker is told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from schemas.gateway import Match, PointConfig, RangeRule, Rule
from streamforge.config_file import Checked
from supervisors.spec import Child
from supervisors.tree import tree


def plan(checked: Checked, data_dir: Path) -> Child:
    """The supervision tree for one file."""
    stream = checked.gateway.stream
    common = {
        "gateway_id": checked.gateway.gateway.id,
        "data_dir": str(data_dir),
        "bootstrap": stream.bootstrap or f"127.0.0.1:{stream.port}",
        "config_version": checked.version,
        "partitions": stream.partitions,
        "durability": stream.durability,
    }
    return tree(checked.gateway, rules(checked), common)


def rules(checked: Checked) -> list[dict[str, Any]]:
    """The points' own ranges first, then the file's rules: later ones win."""
    own = [rule for adapter in checked.adapters for rule in _point_rules(adapter.id, _points(adapter))]
    return [rule.model_dump(mode="json", exclude_unset=True) for rule in [*own, *checked.gateway.rules]]


def _points(config: Any) -> list[PointConfig]:
    """Every point of an adapter's configuration, wherever its model keeps them."""
    if isinstance(config, PointConfig):
        return [config]
    if isinstance(config, list | tuple):
        return [point for item in config for point in _points(item)]
    if hasattr(type(config), "model_fields"):
        return [point for name in type(config).model_fields for point in _points(getattr(config, name))]
    return []


def _point_rules(adapter: str, points: list[PointConfig]) -> list[Rule]:
    return [
        Rule(
            match=Match(
                adapter=literal(adapter), asset=literal(p.asset) if p.asset else "*", parameter=literal(p.parameter)
            ),
            range=RangeRule(min=p.range[0], max=p.range[1]),
        )
        for p in points
        if p.range
    ]


def literal(text: str) -> str:
    """A pattern that matches just this text; a part filled in at run time (`{topic[1]}`) may be anything."""
    return re.sub(r"\{[^{}]*\}", "*", re.sub(r"([*?]|\[(?!\d+\]\}))", r"[\1]", text))
