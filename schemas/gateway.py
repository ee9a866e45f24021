"""The configuration of one gateway (DESIGN section 8) as models: every field once, with the sentence people read about it.

What a protocol or a sink needs beyond `AdapterConfig` and `SinkConfig` stands in its own folder and inherits from these.
Validated values travel between processes as the original JSON, so a model is always made by `model_validate`.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from schemas.records import Classification, Quality
from schemas.units import Duration, MaybeZeroDuration, Size

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
"""Ids of components: they become parts of paths, topics and file names."""


class Model(BaseModel):
    """Strict: unknown fields are errors, values never change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def _classification(given: Any) -> Any:
    names = Classification.__members__
    if isinstance(given, str) and given not in names:
        raise ValueError(f"is not one of {', '.join(names)}")
    return names[given] if isinstance(given, str) else given


def _quality(given: Any) -> Any:
    names = Quality.__members__
    if isinstance(given, str) and given not in names:
        raise ValueError(f"is not one of {', '.join(names)}")
    return names[given] if isinstance(given, str) else given


ClassificationField = Annotated[
    Classification,
    BeforeValidator(_classification, json_schema_input_type=Literal["TELEMETRY", "EVENT", "ALARM", "LOG"]),
]
QualityField = Annotated[
    Quality, BeforeValidator(_quality, json_schema_input_type=Literal["GOOD", "SUSPECT", "UNCERTAIN", "BAD"])
]


class GatewayIdentity(Model):
    id: Name
    """Names this gateway in every record."""
    site: str | None = None
    """Where it stands, for people."""


class StreamConfig(Model):
    durability: Literal["synced", "lazy"] = "synced"
    """`synced`: a reading counts as accepted when it is on the disk. `lazy`: when the broker has it; a power cut may lose the last seconds."""
    disk_budget: Size = 20 * 2**30
    """How much disk the local stream may use."""
    bootstrap: Annotated[str, Field(pattern=r"^[^\s:/]+:\d{1,5}(,[^\s:/]+:\d{1,5})*$")] | None = None
    """host:port of a Kafka-compatible cluster to use instead of the gateway's own broker."""
    port: Annotated[int, Field(ge=1024, le=65534)] = 19092
    """Loopback port of the gateway's own broker; the next one is the controller's."""
    partitions: Annotated[int, Field(ge=1, le=128)] = 12
    """Partitions of each topic; fixed when the topic is made."""
    java: str | None = None
    """Path of a Java 17 or newer to use instead of the one that came along."""
    heap: Size = 384 * 2**20
    """Most memory of the broker's heap."""


class PointConfig(Model):
    """What every point of every protocol has."""

    parameter: Annotated[str, Field(min_length=1, max_length=256)]
    """What is measured, as `oil_temperature`."""
    asset: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """The thing it is measured on; the partition key. Usually given once in `defaults`."""
    unit: str | None = None
    """Unit of the value after scaling."""
    classification: ClassificationField = Classification.TELEMETRY
    """TELEMETRY: every reading. EVENT and ALARM: only changes. Decides the topic."""
    range: tuple[float, float] | None = None
    """[lowest, highest] plausible value; outside is BAD."""

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        if self.range and self.range[0] >= self.range[1]:
            raise ValueError(f"range: {list(self.range)} is empty; right would be [lowest, highest]")
        return self


class RetryConfig(Model):
    first: Duration = 0.5
    """Pause after the first failure; doubles with jitter."""
    most: Duration = 30
    """Longest pause."""
    attempts: Annotated[int, Field(ge=1)] | None = None
    """Give up and crash after so many failures in a row; unset: never, a device that is off is normal."""


class AdapterConfig(Model):
    """What every adapter has. `defaults` are given to each point that does not say otherwise."""

    id: Name
    protocol: str
    """modbus_tcp, opcua, mqtt."""
    enabled: bool = True
    defaults: dict[str, Any] = Field(default_factory=dict)
    retry: RetryConfig = RetryConfig()
    connect_timeout: Duration = 10
    """How long a connection may take to stand."""

    @model_validator(mode="before")
    @classmethod
    def _spread_defaults(cls, given: Any) -> Any:
        """Give each point the defaults it does not set itself."""
        if not isinstance(given, dict) or not isinstance(given.get("defaults"), dict):
            return given
        points = given.get("points")
        if not isinstance(points, list):
            return given
        spread = [{**given["defaults"], **p} if isinstance(p, dict) else p for p in points]
        return {**given, "points": spread}


class Match(Model):
    """Which points a rule is for; patterns as in file names (`*`, `?`, `[ab]`). All that are given must match."""

    asset: str = "*"
    parameter: str = "*"
    adapter: str = "*"


class RangeRule(Model):
    min: float | None = None
    max: float | None = None
    quality: QualityField = Quality.BAD

    @model_validator(mode="after")
    def _holds_something(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("range: has neither min nor max; right would be at least one of them")
        if self.min is not None and self.max is not None and self.min >= self.max:
            raise ValueError(f"range: min {self.min:g} is not below max {self.max:g}")
        return self


class RateRule(Model):
    max_per_second: Annotated[float, Field(gt=0)]
    """Fastest plausible change of the value, in its unit a second."""
    quality: QualityField = Quality.SUSPECT


class DuplicateRule(Model):
    """Same asset, parameter and device time as a reading before."""

    quality: QualityField = Quality.BAD


class GapRule(Model):
    expected: Duration
    """How often a reading is expected; a gap event follows when twice this passes between two readings."""


class TimeRule(Model):
    """Missing device time, and a device clock that is off."""

    missing: QualityField = Quality.UNCERTAIN
    warn_skew: Duration = 5
    """Difference of device and gateway clock from which the quality is lowered to `skewed`."""
    skewed: QualityField = Quality.UNCERTAIN


class TypeRule(Model):
    type: Literal["number", "integer", "boolean", "string"]
    quality: QualityField = Quality.BAD


class FlatLineRule(Model):
    longer_than: Duration
    """A value that did not change by more than `tolerance` for so long is suspect."""
    tolerance: Annotated[float, Field(ge=0)] = 0.0
    quality: QualityField = Quality.SUSPECT


class StaleRule(Model):
    older_than: Duration
    """A reading whose device time lies further back than this when it arrives is stale."""
    quality: QualityField = Quality.SUSPECT


class Rule(Model):
    """Rules for all points that match. Later rules of the file win over earlier ones, field by field."""

    match: Match = Match()
    range: RangeRule | None = None
    rate_of_change: RateRule | None = None
    duplicate: DuplicateRule | None = None
    gap: GapRule | None = None
    time: TimeRule | None = None
    type: TypeRule | None = None
    flat_line: FlatLineRule | None = None
    stale: StaleRule | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.model_fields_set <= {"match"}:
            raise ValueError(
                "says nothing; right would be at least one of range, rate_of_change, duplicate, gap, time, type, flat_line, stale"
            )
        return self


Interval = Literal["1s", "10s", "1min", "1hour"]


class ProcessingConfig(Model):
    validators: Annotated[int, Field(ge=1, le=32)] = 1
    """Worker processes that share the partitions."""
    aggregators: Annotated[int, Field(ge=1, le=32)] = 1
    transaction_every: Duration = 0.1
    """One transaction each so often."""
    snapshot_every: Duration = 10
    lateness: Annotated[MaybeZeroDuration, Field(le=3600)] = 60
    """How late, by device time, a reading still changes its window; at most 1h, since all readings of that time are kept in memory."""


class BreakerConfig(Model):
    failures: Annotated[int, Field(ge=1)] = 5
    """Consecutive failures that open it."""
    pause: Duration = 30
    """How long it stays open before one trial."""


class SinkConfig(Model):
    """What every sink has."""

    id: Name
    type: str
    enabled: bool = True
    topics: Annotated[list[str], Field(min_length=1)]
    """Which topics of the local stream it delivers."""
    breaker: BreakerConfig = BreakerConfig()
    write_timeout: Duration = 60
    """How long one batch may take."""
    batch_records: Annotated[int, Field(ge=1, le=1_000_000)] = 20_000
    """Most records in one batch."""
    batch_bytes: Size = 16 * 2**20
    """Most bytes of records in one batch, which bounds the sink's memory."""
    flush_every: Duration = 0.1
    """How often a batch is written while records trickle in; a full one is written at once."""


class SupervisionConfig(Model):
    restarts_max: Annotated[int, Field(ge=0)] = 5
    """Most restarts of one supervisor's children within `restarts_window`; one more escalates."""
    restarts_window: Duration = 300
    heartbeat: Duration = 10
    """A component silent for so long counts as hung and is killed."""
    backoff_first: Duration = 0.2
    backoff_most: Duration = 30


def _address(given: Any) -> Any:
    """An IP address of this machine, or `localhost`: names may come to mean another address."""
    if isinstance(given, str) and given != "localhost":
        try:
            ipaddress.ip_address(given)
        except ValueError:
            raise ValueError("is not an IP address; right would be 127.0.0.1, or 0.0.0.0 for every network") from None
    return given


class ApiConfig(Model):
    host: Annotated[str, BeforeValidator(_address)] = "127.0.0.1"
    """Address the page and API listen on. Anything but loopback shows the plant's values to that network."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """0: a free one, printed at start."""


class Gateway(Model):
    """Everything one gateway does. Adapters and sinks are checked further by their own models."""

    gateway: GatewayIdentity
    stream: StreamConfig = StreamConfig()
    adapters: list[dict[str, Any]] = Field(default_factory=list)
    rules: list[Rule] = Field(default_factory=list)
    aggregates: list[Interval] = Field(default_factory=lambda: list[Interval](("1s", "10s", "1min", "1hour")))
    processing: ProcessingConfig = ProcessingConfig()
    sinks: list[dict[str, Any]] = Field(default_factory=list)
    supervision: SupervisionConfig = SupervisionConfig()
    api: ApiConfig = ApiConfig()

    @model_validator(mode="after")
    def _ports_differ(self) -> Self:
        if self.stream.bootstrap is None and self.api.port in (self.stream.port, self.stream.port + 1):
            raise ValueError(
                f"api.port: {self.api.port} is one of the local stream's ports; right would be another one"
            )
        return self


_SECRET = re.compile(r"\$\{secret:([A-Za-z0-9_.-]+)\}")


def secret_name(text: str) -> str | None:
    """The name in `${secret:name}`, or None for a text that is no reference."""
    found = _SECRET.fullmatch(text)
    return found[1] if found else None
