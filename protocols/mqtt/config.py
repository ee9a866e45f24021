"""What can be set for one connection to an MQTT broker, every field with the sentence people read about it.

Checks everything that can be known without the broker: filters, paths, names, types. README.md is the same with examples.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Discriminator,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from protocols.contract import BadConfig
from protocols.mqtt import names, paths
from protocols.mqtt.filters import overlap, split_filter
from protocols.mqtt.times import Format
from protocols.mqtt.values import JsonType, RawType
from schemas.gateway import AdapterConfig, ClassificationField, Host, Model, PointConfig
from schemas.mistakes import Mistakes, Where, meant
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
        raise ValueError(
            f"{name!r} is no time zone of this machine; right would be such as Europe/Berlin or UTC"
        ) from None
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


class JsonPoint(_Scaled):
    path: PathField
    """JSON path of the value. With `[*]` each sample becomes a reading."""
    type: JsonType | None = None
    """`number`, `integer`, `boolean`, `string`. Unset: as JSON has it, numbers as floating point where that is exact."""
    optional: bool = False
    """True: a message without this value is normal and no reject."""

    @model_validator(mode="after")
    def _check_scale(self) -> Self:
        if self.is_scaled and self.type in {"boolean", "string"}:
            raise ValueError(f"scale and offset: a {self.type} has none; right would be `type: number`")
        return self


class RawPoint(_Scaled):
    type: RawType
    """`string`, `number`, `integer`, `boolean`: the payload is text. `int8` ... `uint64`, `float32`, `float64`: it is bytes."""
    byte_order: Literal["big", "little"] = "big"
    """For bytes."""
    at: Annotated[int, Field(ge=0)] | None = None
    """For bytes: where the value begins. Unset: the payload is exactly this one value."""

    @model_validator(mode="after")
    def _check_type(self) -> Self:
        if self.is_scaled and self.type in {"boolean", "string"}:
            raise ValueError(f"scale and offset: a {self.type} has none; right would be a type of numbers")
        if self.at is not None and self.type in {"boolean", "string", "number", "integer"}:
            raise ValueError(f"at: a {self.type} is the whole text; right would be a type of bytes such as float32")
        return self


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

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.points and not self.parameters:
            raise ValueError("takes nothing; right would be `points`, `parameters: all`, or both")
        if self.parameters and not self.asset:
            raise ValueError("asset: `parameters: all` needs one; right would be such as {topic[1]}")
        _check_names(self, [(point.parameter, point.asset, paths.parse(point.path)) for point in self.points])
        if self.parameters:
            _check_names(self, [(self.parameter, self.asset, paths.parse("$"))], key=True)
        if isinstance(self.time, TimeConfig):
            time = paths.parse(self.time.path)
            for point in self.points:
                _check_follows(time, paths.parse(point.path), "time.path")
            if self.parameters:
                _check_follows(time, paths.parse("$"), "time.path")
        return self


class RawSubscription(_Subscription):
    mapping: Literal["raw"]
    """The payload is one text, or bytes."""
    points: Annotated[list[RawPoint], Field(min_length=1)]
    """What is taken from it."""
    time: Literal["arrival"] | None = None
    """`arrival`: the time it came here counts as device time. Unset: the readings have none and are UNCERTAIN."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_names(self, [(point.parameter, point.asset, None) for point in self.points])
        return self


Subscription = Annotated[JsonSubscription | RawSubscription, Discriminator("mapping")]


def _check_names(
    one: _Subscription, points: list[tuple[str, str | None, paths.Path | None]], *, key: bool = False
) -> None:
    """Each point has names, and every placeholder in them can be filled."""
    wanted = split_filter(one.topic)
    seen = [(parameter, asset or one.asset) for parameter, asset, _ in points]
    if twice := {pair for pair in seen if seen.count(pair) > 1}:
        raise ValueError(
            f"points: {' and '.join(sorted(parameter for parameter, _ in twice))} stands there twice for one asset"
        )
    for parameter, asset, path in points:
        if not (asset or one.asset):
            raise ValueError(
                f"asset: {parameter!r} has none; right would be one in the point, the subscription or `defaults`"
            )
        for text in (parameter, asset or one.asset or ""):
            template = names.parse(text)
            template.check(wanted)
            if names.KEY in template.parts and not key:
                raise ValueError(f"{text!r}: {{key}} is for `parameters: all` only")
            for inner in template.paths():
                if path is None:
                    raise ValueError(f"{text!r}: a raw payload has no {inner.text}; right would be `mapping: json`")
                _check_follows(inner, path, text)


def _check_follows(path: paths.Path, value: paths.Path, where: str) -> None:
    if not path.follows(value):
        raise ValueError(
            f"{where}: {path.text!r} does not go the way of {value.text!r}; right would be the same beginning up to the last [*]"
        )


class TlsConfig(Model):
    """Encryption. `tls: {}` trusts the certificate authorities of this machine."""

    ca: str | None = None
    """PEM file with the authorities to trust instead of this machine's."""
    cert: str | None = None
    """PEM file with this gateway's certificate, for brokers that ask for one."""
    key: str | None = None
    """PEM file with its key. Unset: it stands in `cert`."""
    verify: bool = True
    """False: any certificate is taken. Whoever is on the wire can then read and change everything; for a trial only."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.key and not self.cert:
            raise ValueError("key: stands without cert; right would be both")
        return self


class MqttConfig(AdapterConfig):
    """One connection to one broker."""

    protocol: Literal["mqtt"] = "mqtt"
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

    @field_validator("defaults")
    @classmethod
    def _known_defaults(cls, given: dict[str, Any]) -> dict[str, Any]:
        """What no kind of point knows would pass by all of them unseen."""
        known = sorted({*JsonPoint.model_fields, *RawPoint.model_fields})
        wrong = [name for name in given if name not in known]
        if wrong:
            raise Mistakes([((name,), f"unknown key `{name}`{meant(name, known)}") for name in wrong])
        return given

    @model_validator(mode="before")
    @classmethod
    def _spread(cls, given: Any) -> Any:
        """What a subscription and `defaults` say for all their points."""
        if not isinstance(given, dict) or not isinstance(given.get("subscriptions"), list):
            return given
        defaults = given.get("defaults")
        defaults = defaults if isinstance(defaults, dict) else {}
        return {**given, "subscriptions": [_with_defaults(one, defaults) for one in given["subscriptions"]]}

    @model_validator(mode="after")
    def _check(self) -> Self:
        split = [(one.topic, split_filter(one.topic)) for one in self.subscriptions]
        for place, (topic, levels) in enumerate(split):
            for other, other_levels in split[:place]:
                if overlap(levels, other_levels):
                    raise ValueError(
                        f"subscriptions: {other!r} and {topic!r} share topics, and the broker may send a message once for each; "
                        "right would be filters that share none"
                    )
        if self.password is not None and self.user is None:
            raise ValueError("password: stands without user; right would be both")
        return self

    def lacking(self, data_dir: Path) -> list[tuple[Where, str]]:  # noqa: ARG002 - the paths are as they stand
        from protocols.mqtt.tls import context

        if self.tls is None:
            return []
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


def _with_defaults(one: Any, defaults: dict[str, Any]) -> Any:
    """The nearest asset wins: the point's, the subscription's, the adapter's. Defaults a kind of point does not know pass it by."""
    if not isinstance(one, dict):
        return one
    if "asset" in defaults:
        one = {"asset": defaults["asset"], **one}
    known: type[BaseModel] = RawPoint if one.get("mapping") == "raw" else JsonPoint
    inner = {name: value for name, value in defaults.items() if name in known.model_fields}
    inner |= {"asset": one["asset"]} if "asset" in one else {}
    points = one.get("points")
    if not isinstance(points, list):
        return one
    return {**one, "points": [{**inner, **point} if isinstance(point, dict) else point for point in points]}
