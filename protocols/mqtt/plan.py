"""The subscriptions of the configuration, parsed once: what mapping.py follows for each message. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from protocols.mqtt import names, paths, times
from protocols.mqtt.config import JsonPoint, JsonSubscription, RawPoint, RawSubscription, TimeConfig
from protocols.mqtt.filters import Levels, split_filter
from protocols.mqtt.names import Template
from protocols.mqtt.paths import Path
from schemas.records import Classification


@dataclass(frozen=True, slots=True)
class Time:
    path: Path
    read: Callable[[Any], times.Instant]


@dataclass(frozen=True, slots=True)
class Rule:
    """One point of a subscription, parsed."""

    parameter: Template
    asset: Template
    unit: str | None
    classification: Classification
    config: JsonPoint | RawPoint | None
    path: Path


@dataclass(frozen=True, slots=True)
class Plan:
    """One subscription, parsed."""

    levels: Levels
    config: JsonSubscription | RawSubscription
    rules: list[Rule]
    every: Rule | None
    """For `parameters: all`."""
    time: Time | None
    spoken_for: frozenset[str]
    """Members that `parameters: all` leaves alone."""


def plan(config: JsonSubscription | RawSubscription) -> Plan:
    rules = [_rule(config, point) for point in config.points]
    time, every = None, None
    if isinstance(config, JsonSubscription):
        if config.parameters:
            parameter, asset = names.parse(config.parameter), names.parse(config.asset or "")
            every = Rule(parameter, asset, None, config.classification, None, paths.parse("$"))
        if isinstance(config.time, TimeConfig):
            time = _time(config.time)
    used = [rule.path for rule in rules] + ([time.path] if time else [])
    members = frozenset(path.steps[0] for path in used if path.steps and isinstance(path.steps[0], str))
    return Plan(split_filter(config.topic), config, rules, every, time, members)


def _rule(config: JsonSubscription | RawSubscription, point: JsonPoint | RawPoint) -> Rule:
    asset = names.parse(point.asset or config.asset or "")
    path = paths.parse(point.path if isinstance(point, JsonPoint) else "$")
    return Rule(names.parse(point.parameter), asset, point.unit, point.classification, point, path)


def _time(config: TimeConfig) -> Time:
    return Time(
        paths.parse(config.path),
        partial(times.read, form=config.format, zone=ZoneInfo(config.zone) if config.zone else None),
    )
