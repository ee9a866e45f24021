"""From a message to readings and rejects, as the subscriptions say. Pure and total: whatever the payload, nothing is raised.

Remembers only names: which points exist (bounded), and which subscription a topic belongs to (bounded, a cache). What a value,
a time or a name may be is decided in values.py, times.py and names.py. Acknowledging is the client's business.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from protocols.contract import Point, Reading, Reject
from protocols.mqtt import paths, times, values
from protocols.mqtt.config import JsonPoint, JsonSubscription, MqttConfig, RawPoint
from protocols.mqtt.filters import matches
from protocols.mqtt.names import Unnamed
from protocols.mqtt.paths import MISSING, Indices, Path
from protocols.mqtt.plan import Plan, Rule, Time, plan
from protocols.mqtt.values import Unfit
from schemas.records import Quality, Value

KEPT: Final = 64 * 1024
"""How much of a rejected payload goes to the dead letters."""


@dataclass(frozen=True, slots=True)
class Message:
    """One PUBLISH as it came. `arrived` is microseconds since 1970; `length` the whole payload's, of which `payload` may be the beginning."""

    topic: bytes
    payload: bytes
    arrived: int
    length: int
    qos: int = 0
    retain: bool = False
    dup: bool = False
    packet_id: int = 0
    doubt: str | None = None
    """Why it may have been published long before it came, or None."""


@dataclass(slots=True)
class Mapped:
    readings: list[Reading] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    unmatched: bool = False
    """No subscription takes the topic; nothing was made of it."""


@dataclass(slots=True)
class _Route:
    """One topic: its plan, and the points that the topic alone names."""

    plan: Plan
    topic: str
    levels: list[str]
    points: dict[int, Point] = field(default_factory=dict)


class _Rejects:
    """What of one message did not fit, by rule: one dead letter for each rule, not one for each point."""

    def __init__(self, message: Message) -> None:
        self.message = message
        self.found: dict[str, list[tuple[str, str | None, str | None]]] = {}

    def add(self, rule: str, reason: str, asset: str | None = None, parameter: str | None = None) -> None:
        self.found.setdefault(rule, []).append((reason, asset, parameter))

    def all(self, topic: str) -> list[Reject]:
        return [self._one(topic, rule, several) for rule, several in self.found.items()]

    def _one(self, topic: str, rule: str, several: list[tuple[str, str | None, str | None]]) -> Reject:
        said = "; ".join(f"{parameter}: {reason}" if parameter else reason for reason, _, parameter in several[:10])
        more = f"; and {len(several) - 10} more" if len(several) > 10 else ""
        cut = f" (the first {KEPT} of {self.message.length} bytes are kept)" if self.message.length > KEPT else ""
        assets = {asset for _, asset, _ in several}
        return Reject(
            rule,
            f"{topic}: {said}{more}{cut}",
            bytes(self.message.payload[:KEPT]),
            assets.pop() if len(assets) == 1 else None,
            several[0][2] if len(several) == 1 else None,
        )


class Mapper:
    """The subscriptions of one adapter, ready to map."""

    def __init__(self, config: MqttConfig) -> None:
        self.max_payload, self.max_points = config.max_payload, config.max_points
        self.plans = [plan(one) for one in config.subscriptions]
        self.routes: dict[bytes, _Route] = {}
        self.known: dict[tuple[str, str], Point] = {}
        """By asset and parameter: which are there, in the order seen."""
        for one in self.plans:
            for rule in one.rules:
                if rule.asset.fixed and rule.parameter.fixed:
                    self._point(rule, rule.asset.text, rule.parameter.text)

    def points(self) -> list[Point]:
        return list(self.known.values())

    def map(self, message: Message) -> Mapped:
        """The readings and rejects of one message. Never raises."""
        rejects = _Rejects(message)
        try:
            route = self.routes.get(message.topic) or self._new_route(message.topic)
        except UnicodeDecodeError:
            rejects.add("topic", "the topic is no UTF-8 text")
            return Mapped([], rejects.all(repr(message.topic[:80])))
        if route is None:
            return Mapped(unmatched=True)
        if message.retain and route.plan.config.retained == "ignore":
            return Mapped()
        mapped = Mapped()
        if message.length > self.max_payload:
            rejects.add("too_large", f"{message.length} bytes are more than max_payload, {self.max_payload}")
        elif isinstance(route.plan.config, JsonSubscription):
            mapped.readings = list(self._json(route, message, rejects))
        else:
            mapped.readings = list(self._raw(route, message, rejects))
        mapped.rejects = rejects.all(route.topic)
        return mapped

    def _new_route(self, topic: bytes) -> _Route | None:
        text = topic.decode()
        levels = text.split("/")
        for one in self.plans:
            if matches(one.levels, levels):
                route = _Route(one, text, levels)
                if len(self.routes) < self.max_points:
                    self.routes[topic] = route
                return route
        return None

    def _raw(self, route: _Route, message: Message, rejects: _Rejects) -> Iterator[Reading]:
        when = _untimed(route.plan, message)
        for rule in route.plan.rules:
            config = rule.config
            assert isinstance(config, RawPoint)
            try:
                point = self._named(route, rule)
                value = _raw_value(message.payload, config)
            except Unnamed as wrong:
                rejects.add("name", f"{rule.asset.text} {rule.parameter.text}: {wrong}")
            except _TooMany as wrong:
                rejects.add("too_many_points", str(wrong))
            except Unfit as wrong:
                rejects.add(wrong.rule, str(wrong), point.asset, point.parameter)
            else:
                yield Reading(point, value, *when, raw=_raw_words(message.payload, config))

    def _json(self, route: _Route, message: Message, rejects: _Rejects) -> Iterator[Reading]:
        try:
            document = _document(message.payload)
        except Unfit as wrong:
            rejects.add(wrong.rule, str(wrong))
            return
        clock = _Clock(route.plan, message, document)
        for rule in route.plan.rules:
            for indices, value in paths.find(document, rule.path):
                if reading := self._json_one(route, rule, document, indices, value, clock, rejects):
                    yield reading
        if route.plan.every:
            yield from self._json_all(route, route.plan.every, document, clock, rejects)

    def _json_all(
        self, route: _Route, rule: Rule, document: Any, clock: _Clock, rejects: _Rejects
    ) -> Iterator[Reading]:
        if not isinstance(document, dict):
            rejects.add("type", "the document is no object; `parameters: all` takes the members of one")
            return
        for key, value in document.items():
            if key not in route.plan.spoken_for and isinstance(value, bool | int | float | str):
                reading = self._json_one(route, rule, document, (), value, clock, rejects, key)
                if reading:
                    yield reading

    def _json_one(
        self,
        route: _Route,
        rule: Rule,
        document: Any,
        indices: Indices,
        value: Any,
        clock: _Clock,
        rejects: _Rejects,
        key: str = "",
    ) -> Reading | None:
        config = rule.config
        if value is MISSING and isinstance(config, JsonPoint) and config.optional:
            return None
        point: Point | None = None
        try:
            point = self._named(route, rule, document, indices, key)
            device_time, status, reason = clock.at(indices)
            if value is None:
                return Reading(point, None, device_time, Quality.BAD, "null: the source has no value")
            result, raw = _json_value(value, config, rule.path)
            return Reading(point, result, device_time, status, reason, raw)
        except Unnamed as wrong:
            rejects.add("name", f"{rule.asset.text} {rule.parameter.text}: {wrong}")
        except _TooMany as wrong:
            rejects.add("too_many_points", str(wrong))
        except times.Unreadable as wrong:
            if ("time", str(wrong)) not in {("time", said) for said, _, _ in rejects.found.get("time", [])}:
                rejects.add("time", str(wrong))
        except Unfit as wrong:
            rejects.add(wrong.rule, str(wrong), *((point.asset, point.parameter) if point else ()))
        return None

    def _named(self, route: _Route, rule: Rule, document: Any = None, indices: Indices = (), key: str = "") -> Point:
        """The rule's point for this message. Raises Unnamed or _TooMany."""
        point = route.points.get(id(rule))
        if point is None:
            asset = rule.asset.render(route.topic, route.levels, document, indices, key)
            parameter = rule.parameter.render(route.topic, route.levels, document, indices, key)
            point = self._point(rule, asset, parameter)
            if rule.asset.of_topic and rule.parameter.of_topic:
                route.points[id(rule)] = point
        return point

    def _point(self, rule: Rule, asset: str, parameter: str) -> Point:
        point = self.known.get((asset, parameter))
        if point is None:
            if len(self.known) >= self.max_points:
                raise _TooMany(f"{asset} {parameter} would be one more than max_points, {self.max_points}")
            point = self.known[asset, parameter] = Point(asset, parameter, rule.unit, rule.classification)
        return point


class _TooMany(Exception):
    pass


class _Clock:
    """When the values of one message were measured, by the message's own word. `at` raises times.Unreadable."""

    def __init__(self, plan: Plan, message: Message, document: Any) -> None:
        self.time, self.document = plan.time, document
        self.last: tuple[Indices, tuple[int | None, Quality, str | None]] | None = None
        self.untimed = _untimed(plan, message)

    def at(self, indices: Indices) -> tuple[int | None, Quality, str | None]:
        if self.time is None:
            return self.untimed
        indices = indices[: self.time.path.each]
        if self.last is None or self.last[0] != indices:
            self.last = indices, self._read(self.time, indices)
        return self.last[1]

    def _read(self, time: Time, indices: Indices) -> tuple[int | None, Quality, str | None]:
        given = paths.at(self.document, time.path, indices)
        if given is MISSING:
            raise times.Unreadable(f"there is no {time.path.text}")
        instant = time.read(given)
        if instant.ambiguous:
            return instant.microseconds, Quality.UNCERTAIN, f"local time {given} happens twice, the first is taken"
        return instant.microseconds, Quality.GOOD, None


def _untimed(plan: Plan, message: Message) -> tuple[int | None, Quality, str | None]:
    """Time and status of a message whose payload says nothing of time. What may be old is never stamped as new."""
    if message.retain:
        return None, Quality.UNCERTAIN, "retained: kept by the broker, of unknown age"
    if message.dup:
        return (
            None,
            Quality.UNCERTAIN,
            "redelivered: sent again after a broken connection, perhaps stored before, of unknown age",
        )
    if plan.config.time != "arrival":
        return None, Quality.GOOD, None
    if message.doubt:
        return None, Quality.UNCERTAIN, message.doubt
    return message.arrived, Quality.GOOD, None


def _document(payload: bytes) -> Any:
    if not payload:
        raise Unfit("empty", "the payload is empty; right would be a JSON document")
    try:
        return json.loads(payload.decode("utf-8-sig"), object_pairs_hook=_once)
    except UnicodeDecodeError as wrong:
        raise Unfit("utf8", f"byte {wrong.start} is no UTF-8 text") from None
    except RecursionError:
        raise Unfit("json", "the document is nested too deeply") from None
    except ValueError as wrong:
        raise Unfit("json", f"no JSON document: {wrong}") from None


def _once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object. Which of two members with one name is meant nobody knows, and readers of JSON differ."""
    found = dict(members)
    if len(found) < len(members):
        names = [name for name, _ in members]
        twice = next(name for name in names if names.count(name) > 1)
        raise Unfit("json", f"{twice!r:.80} stands twice in one object")
    return found


def _json_value(value: Any, config: JsonPoint | RawPoint | None, path: Path) -> tuple[Value, bytes | None]:
    """The value, and its JSON text where the value is not simply that."""
    if value is MISSING:
        raise Unfit("missing", f"there is no {path.text}")
    if not isinstance(config, JsonPoint):
        return values.from_json(value, None), None
    result = values.from_json(value, config.type)
    if config.is_scaled:
        return values.scaled(result, config.scale, config.offset), json.dumps(value).encode()
    return result, json.dumps(value).encode() if config.type and isinstance(
        value, str
    ) and config.type != "string" else None


def _raw_words(payload: bytes, config: RawPoint) -> bytes | None:
    """The bytes the value was made of; a string is its own."""
    if config.type == "string":
        return None
    return payload if config.at is None else payload[config.at : config.at + values.size(config.type)]


def _raw_value(payload: bytes, config: RawPoint) -> Value:
    if config.type in values.CODES:
        value = values.from_bytes(payload, config.type, config.byte_order, config.at)  # type: ignore[arg-type]
    else:
        value = values.from_text(payload, config.type)  # type: ignore[arg-type]
    return values.scaled(value, config.scale, config.offset) if config.is_scaled else value
