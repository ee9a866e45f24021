"""What can be set for one connection to an MQTT broker, every field with the sentence people read about it.

Checks everything that can be known without the broker: filters, paths, names, types. README.md is the same with examples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Discriminator,
    Field,
    SecretStr,
)

from protocols import clear_text
from protocols.contract import BadConfig
from protocols.mqtt import names, paths
from protocols.mqtt.filters import Levels, overlap, split_filter
from protocols.mqtt.times import Format
from protocols.mqtt.tls import TlsConfig, context
from protocols.mqtt.values import JsonType, RawType
from schemas.gateway import AdapterConfig, ClassificationField, Host, PointConfig, points_once
from schemas.mistakes import Mistakes, Where, closest, unknown_key
from schemas.model import Model, Unfit, known, together
from schemas.records import Classification
from schemas.units import Duration, MaybeZeroDuration, Size, between


def _filter(text: str) -> str:
    split_filter(text)
    return text


def _path(text: str) -> str:
    paths.parse(text)
    return text


def _name(text: str) -> str:
    names.parse(text)
    return text


def _as_text(given: Any) -> Any:
    """YAML reads `version: 5` as a number."""
    return str(given) if isinstance(given, int) else given


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        raise ValueError("is no time zone of this machine; right would be such as Europe/Berlin or UTC") from None
    return name


PathField = Annotated[str, AfterValidator(_path), Field(max_length=1024, json_schema_extra={"examples": ["$.temp"]})]
TemplateField = Annotated[
    str, AfterValidator(_name), Field(min_length=1, max_length=256, json_schema_extra={"examples": ["{topic[1]}"]})
]


class TimeConfig(Model):
    """Where a payload says when it was measured."""

    path: PathField
    """JSON path of the time. With `[*]` it must begin as the points' paths do: then each sample has its own."""
    format: Format = "iso8601"
    """`iso8601`, or a number of `s`, `ms`, `us` or `ns` since 1970."""
    zone: Annotated[str, AfterValidator(_zone)] | None = None
    """Time zone of times that name no offset, as Europe/Berlin. Unset: such a time is rejected."""


class _Scaled(PointConfig):
    parameter: TemplateField
    """What is measured. May hold `{topic[3]}`, `{topic}` and, for JSON, `{$.path}`."""
    asset: TemplateField | None = None
    """The thing it is measured on, with the same placeholders. Unset: the subscription's."""
    scale: float = 1.0
    """The value is multiplied with this ..."""
    offset: float = 0.0
    """... and this is added."""

    @property
    def is_scaled(self) -> bool:
        return (self.scale, self.offset) != (1.0, 0.0)

    def _scaled_though(self, kind: str) -> Unfit:
        """Scale and offset of what is no number."""
        for name, plain in (("scale", 1.0), ("offset", 0.0)):
            if vars(self).get(name, plain) != plain:
                text = f"{vars(self)[name]:g} is for numbers, and a {kind} has none"
                yield (name,), f"{text}; right would be no {name}, or a type of numbers"


class JsonPoint(_Scaled):
    path: PathField
    """JSON path of the value. With `[*]` each sample becomes a reading."""
    type: JsonType | None = None
    """`number`, `integer`, `boolean`, `string`. Unset: as JSON has it, numbers as floating point where that is exact."""
    optional: bool = False
    """True: a message without this value is normal and no reject."""

    @together
    def _only_numbers_are_scaled(self) -> Unfit:
        if self.type in {"boolean", "string"}:
            yield from self._scaled_though(self.type)


class RawPoint(_Scaled):
    type: RawType
    """`string`, `number`, `integer`, `boolean`: the payload is text. `int8` ... `uint64`, `float32`, `float64`: it is bytes."""
    byte_order: Literal["big", "little"] = "big"
    """For bytes."""
    at: Annotated[int, Field(ge=0)] | None = None
    """For bytes: where the value begins. Unset: the payload is exactly this one value."""

    @together
    def _only_numbers_are_scaled(self) -> Unfit:
        if self.type in {"boolean", "string"}:
            yield from self._scaled_though(self.type)

    @together
    def _text_is_taken_whole(self) -> Unfit:
        if self.at is not None and self.type in {"boolean", "string", "number", "integer"}:
            text = f"{self.at} is for bytes, and type {self.type} is the whole text"
            yield ("at",), f"{text}; right would be a type of bytes such as float32"


class _Subscription(Model):
    topic: Annotated[str, AfterValidator(_filter)]
    """Topic filter, with + for one level and # for the rest. No two subscriptions may share a topic."""
    qos: Annotated[int, Field(ge=0, le=2)] = 1
    """0: may be lost on the way. 1: comes at least once. 2: exactly once."""
    retained: Literal["use", "ignore"] = "use"
    """What to do with the value the broker kept from before the subscription. Without a payload time it is UNCERTAIN."""
    asset: TemplateField | None = None
    """Asset of the points that name none."""


class JsonSubscription(_Subscription):
    mapping: Literal["json"]
    """The payload is a JSON document."""
    points: list[JsonPoint] = Field(default_factory=list)
    """What is taken from it."""
    parameters: Literal["all"] | None = None
    """`all`: each number, boolean and string at the top level becomes a parameter of its own name, unless `points` names it."""
    parameter: TemplateField = "{key}"
    """Name of what `parameters: all` takes; `{key}` is the member's name."""
    classification: ClassificationField = Classification.TELEMETRY
    """Classification of what `parameters: all` takes."""
    time: TimeConfig | Literal["arrival"] | None = None
    """When it was measured. `arrival`: when it came here. Unset: the readings have no device time and are UNCERTAIN."""

    @together
    def _takes_something(self) -> Unfit:
        if not self.points and not self.parameters:
            yield (), "takes nothing; right would be `points`, `parameters: all`, or both"

    @together
    def _points_are_of_assets(self) -> Unfit:
        if self.parameters and not self.asset:
            yield ("asset",), "is missing: `parameters: all` needs one; right would be such as {topic[1]}"
        else:
            yield from _without_asset(self.asset, self.points)

    @together
    def _names_once(self) -> Unfit:
        yield from points_once(known(self.points, lambda p: (p.asset or self.asset, p.parameter)))

    @together
    def _names_can_be_filled(self) -> Unfit:
        wanted = split_filter(self.topic)
        for number, (point, path) in known(self.points, lambda p: (p, paths.parse(p.path))):
            yield from _unfilled(point, ("points", number), wanted, path)

    @together
    def _names_of_all_can_be_filled(self) -> Unfit:
        for name in ("parameter", "asset") if self.parameters else ():
            for text in _wrong_in(vars(self).get(name), split_filter(self.topic), paths.parse("$"), key=True):
                yield (name,), text

    @together
    def _time_goes_the_points_way(self) -> Unfit:
        if isinstance(self.time, TimeConfig):
            time = paths.parse(self.time.path)
            ways = [way for _, way in known(self.points, lambda p: paths.parse(p.path))]
            for way in [*ways, *([paths.parse("$")] if self.parameters else [])]:
                if not time.follows(way):
                    yield ("time", "path"), _other_way(time, way)
                    return


class RawSubscription(_Subscription):
    mapping: Literal["raw"]
    """The payload is one text, or bytes."""
    points: Annotated[list[RawPoint], Field(min_length=1)]
    """What is taken from it."""
    time: Literal["arrival"] | None = None
    """`arrival`: the time it came here counts as device time. Unset: the readings have none and are UNCERTAIN."""

    @together
    def _points_are_of_assets(self) -> Unfit:
        yield from _without_asset(self.asset, self.points)

    @together
    def _names_once(self) -> Unfit:
        yield from points_once(known(self.points, lambda p: (p.asset or self.asset, p.parameter)))

    @together
    def _names_can_be_filled(self) -> Unfit:
        for number, point in enumerate(self.points):
            yield from _unfilled(point, ("points", number), split_filter(self.topic), None)


Subscription = Annotated[JsonSubscription | RawSubscription, Discriminator("mapping")]


def _without_asset(around: str | None, points: Sequence[PointConfig]) -> Unfit:
    bare = [] if around else [number for number, asset in known(points, lambda p: p.asset) if not asset]
    if len(bare) > 1:
        text = f"is missing, and {len(bare)} points have none of their own"
        yield ("asset",), f"{text}; right would be `asset` here, once in `defaults`, or in each point"
        return
    for number in bare:
        text = "is missing; right would be one in the point, the subscription or `defaults`"
        yield ("points", number, "asset"), text


def _unfilled(point: PointConfig, place: Where, wanted: Levels, path: paths.Path | None) -> Unfit:
    for name in ("parameter", "asset"):
        for text in _wrong_in(vars(point).get(name), wanted, path):
            yield (*place, name), text


def _wrong_in(name: str | None, wanted: Levels, path: paths.Path | None, *, key: bool = False) -> Iterator[str]:
    """Placeholders of a name that can never be filled: `wanted` is the topic filter, `path` where the value stands in a document."""
    if name is None:
        return
    template = names.parse(name)
    try:
        template.check(wanted)
    except ValueError as wrong:
        yield str(wrong)
    if names.KEY in template.parts and not key:
        yield f"{name!r} holds {{key}}, which is for `parameters: all`; right would be a name, or such as {{topic[1]}}"
    for inner in template.paths():
        if path is None:
            yield f"{name!r} holds {inner.text}, which a raw payload does not have; right would be `mapping: json`"
        elif not inner.follows(path):
            yield _other_way(inner, path)


def _other_way(path: paths.Path, value: paths.Path) -> str:
    return f"{path.text!r} does not go the way of {value.text!r}; right would be the same beginning up to the last [*]"


def _known_defaults(given: dict[str, Any]) -> dict[str, Any]:
    """What no kind of point knows would pass by all of them unseen."""
    known_here = sorted({*JsonPoint.model_fields, *RawPoint.model_fields})
    wrong = [name for name in given if name not in known_here]
    if wrong:
        raise Mistakes([((name,), unknown_key(name, known_here)) for name in wrong])
    return given


class MqttConfig(AdapterConfig):
    """One connection to one broker."""

    protocol: Literal["mqtt"] = "mqtt"
    defaults: Annotated[dict[str, Any], AfterValidator(_known_defaults)] = Field(default_factory=dict)
    """What each point has that does not say otherwise."""
    host: Host
    """Name or address of the broker."""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Unset: 1883, with TLS 8883."""
    version: Annotated[Literal["3.1.1", "5"], BeforeValidator(_as_text)] = "3.1.1"
    """Of the protocol. Every broker speaks 3.1.1; with 5 it says why it refuses or ends a connection, and keeps to the limits set here."""
    client_id: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """Must be this connection's own: the broker throws out the older of two. Unset: `streamforge-` and the adapter's id."""
    session: Literal["persistent", "clean"] = "persistent"
    """`persistent`: the broker keeps what comes (QoS 1 and 2) while the gateway is away. `clean`: it does not."""
    session_expiry: Annotated[Duration, between("1s", "10y")] = 7 * 86400
    """How long the broker keeps it (version 5; with 3.1.1 the broker's own setting decides)."""
    keepalive: Annotated[Duration, between("1s", "18h")] = 15
    """A broker silent for this long, though asked, counts as gone."""
    user: str | None = None
    password: SecretStr | None = None
    """As `${secret:name}`."""
    tls: TlsConfig | None = None
    """Unset: nothing is encrypted, the password neither."""
    receive_maximum: Annotated[int, Field(ge=1, le=65535)] = 2000
    """Most messages of QoS 1 and 2 that may wait for their acknowledgement (version 5 tells the broker; with 3.1.1 the broker's own setting decides)."""
    buffer_messages: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """Most messages that wait here for the local stream. Full: the socket is not read, and the broker queues or drops by its own rules."""
    buffer_size: Annotated[Size, between("1 KiB", "1 GiB")] = 16 * 2**20
    """The same in bytes."""
    max_payload: Annotated[Size, Field(le=16 * 2**20)] = 256 * 2**10
    """A longer payload becomes a reject with its first 64 KiB; it is never held whole."""
    max_points: Annotated[int, Field(ge=1, le=1_000_000)] = 100_000
    """Most different points. What names more becomes rejects: a name in the topic that never repeats is a mistake."""
    linger: Annotated[MaybeZeroDuration, between("0s", "1min")] = 0.0
    """How long to wait for more messages after the first before the batch is handed on."""
    subscriptions: Annotated[list[Subscription], Field(min_length=1, max_length=1000)]
    """What to listen to, and what to make of it."""

    @classmethod
    def spread(cls, given: dict[str, Any]) -> dict[str, Any]:
        """What a subscription and `defaults` say for all their points."""
        listed, defaults = given.get("subscriptions"), given.get("defaults")
        if not isinstance(listed, list):
            return given
        defaults = {_probably(name): value for name, value in defaults.items()} if isinstance(defaults, dict) else {}
        return {**given, "subscriptions": [_with_defaults(one, defaults) for one in listed]}

    @together
    def _filters_share_no_topic(self) -> Unfit:
        split = [(n, topic, split_filter(topic)) for n, topic in known(self.subscriptions, lambda one: one.topic)]
        for at, (number, topic, levels) in enumerate(split):
            for other, other_topic, other_levels in split[:at]:
                if overlap(levels, other_levels):
                    text = f"{topic!r} shares topics with {other_topic!r} of subscriptions[{other}]"
                    text += ", and the broker may send a message once for each; right would be filters that share none"
                    yield ("subscriptions", number, "topic"), text

    @together
    def _password_has_a_user(self) -> Unfit:
        if self.password is not None and self.user is None:
            yield ("password",), "stands without user; right would be both"

    def lacking(self, data_dir: Path) -> list[tuple[Where, str]]:  # noqa: ARG002 - the paths are as they stand
        if self.tls is None:
            clear = self.password is not None and not clear_text.is_loopback(self.host)
            return [(("password",), clear_text.MQTT.format(at=f"{self.host}:{self.real_port}"))] if clear else []
        try:
            context(self.tls)
        except BadConfig as wrong:
            field, _, text = str(wrong).partition(": ")
            return [(tuple(field.partition(",")[0].split(".")), text)]
        return []

    @property
    def real_port(self) -> int:
        return self.port or (8883 if self.tls else 1883)

    @property
    def real_client_id(self) -> str:
        return self.client_id or f"streamforge-{self.id}"


def _probably(name: str) -> str:
    """A misspelt default goes on as what it was meant to be: it is told where it stands, and nothing shall follow from it."""
    names = {*JsonPoint.model_fields, *RawPoint.model_fields}
    return name if name in names else next(iter(closest(name, names)), name)


def _with_defaults(one: Any, defaults: dict[str, Any]) -> Any:
    """The nearest asset wins: the point's, the subscription's, the adapter's. Defaults a kind of point does not know pass it by."""
    if not isinstance(one, dict):
        return one
    if "asset" in defaults:
        one = {"asset": defaults["asset"], **one}
    kind: type[BaseModel] = RawPoint if one.get("mapping") == "raw" else JsonPoint
    inner = {name: value for name, value in defaults.items() if name in kind.model_fields}
    inner |= {"asset": one["asset"]} if "asset" in one else {}
    points = one.get("points")
    if not isinstance(points, list):
        return one
    return {**one, "points": [{**inner, **point} if isinstance(point, dict) else point for point in points]}
