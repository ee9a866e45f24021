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


STAGES: dict[str, Callable[[dict[str, Any]], Stage]] = {"validator": validator, "aggregator": aggregator}
