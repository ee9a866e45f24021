"""The stages there are, by the name that stands in a worker's configuration. What a stage needs is imported only where it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipeline.contract import Stage
from schemas.gateway import ProcessingConfig, Rule


def validator(config: dict[str, Any]) -> Stage:
    from pipeline.validator import Validator

    return Validator([Rule.model_validate(rule) for rule in config["rules"]])


def aggregator(config: dict[str, Any]) -> Stage:
    from pipeline.aggregator import Aggregator

    lateness = ProcessingConfig.model_validate(config["processing"]).lateness
    return Aggregator(config["aggregates"], lateness)


NICE = {"aggregator": 5}
"""Who gives way while the box is busy (setpriority(2)): a second's windows end all at once, and the readings under way come first."""
STAGES: dict[str, Callable[[dict[str, Any]], Stage]] = {"validator": validator, "aggregator": aggregator}
