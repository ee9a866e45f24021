"""The configuration of one gateway (DESIGN section 8) as models: every field once, with the sentence people read about it.

What a protocol or a sink needs beyond `AdapterConfig` and `SinkConfig` stands in its own folder and inherits from these.
Validated values travel between processes as the original JSON, so a model is always made by `model_validate`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from schemas.mistakes import Where, as_text, meant
from schemas.model import Model, Unfit, known, together
from schemas.records import Classification, Quality
from schemas.units import Duration, MaybeZeroDuration, Size, Wait, between


def matching(pattern: str, wanted: str) -> AfterValidator:
    """A text of a form that people are told in words."""

    def check(given: str) -> str:
        if not re.fullmatch(pattern, given):
            raise ValueError(f"is not {wanted}")
        return given

    return AfterValidator(check)


def _host(given: str) -> str:
    """A bare name or address: what else stands in a URL has fields of its own."""
    bare = given.partition("://")[2].partition("/")[0] or given
    port = bare.rpartition(":")[2] if bare.count(":") == 1 else ""
    if "://" in given or port.isdigit():
        right = bare.rpartition("@")[2].removesuffix(f":{port}") if port else bare.rpartition("@")[2]
        raise ValueError(f"is more than a host; right would be {right}, with the port as `port`")
    if not given or re.search(r"[\s/@]", given):
        raise ValueError("is not a host; right would be a name or an address, as 192.0.2.14")
    return given


_ID, _HOST_PORT = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", r"[^\s:/]+:\d{1,5}(,[^\s:/]+:\d{1,5})*"
Name = Annotated[
    str,
    matching(
        _ID, "an id; right would be at most 64 letters, digits, `_`, `.` and `-`, beginning with a letter or digit"
    ),
    Field(json_schema_extra={"pattern": f"^{_ID}$"}),
]
"""Ids of components: they become parts of paths, topics and file names."""

Host = Annotated[str, AfterValidator(_host), Field(max_length=253)]
"""Name or address of a machine."""


def points_once(found: Iterable[tuple[int, tuple[str | None, str]]]) -> Unfit:
    """What is wrong with points of one name: the number, asset and parameter of each."""
    first: dict[tuple[str, str], int] = {}
    for number, (asset, parameter) in found:
        if asset and first.setdefault((asset, parameter), number) != number:
            there = as_text(("points", first[asset, parameter]))
            text = f"{asset}/{parameter} is there already, as {there}; right would be another asset or parameter"
            yield ("points", number), text


def with_assets(points: Iterable[PointConfig], defaults: dict[str, Any]) -> Unfit:
    """What is wrong with points that are measured on nothing: told once where they all are."""
    bare = [number for number, asset in known(points, lambda point: point.asset) if not asset]
    if len(bare) > 1 and "asset" not in defaults:
        text = f"is missing, and {len(bare)} points have none of their own"
        yield ("defaults", "asset"), f"{text}; right would be `defaults: {{asset: ...}}`, or `asset` in each point"
        return
    for number in bare:
        yield ("points", number, "asset"), "is missing; right would be `asset` here or once in the adapter's `defaults`"


def each_once(given: list[Any], place: Where) -> Unfit:
    """What a list has twice."""
    for number, one in enumerate(given):
        if one in given[:number]:
            yield (*place, number), f"{one} is given twice; right would be once"


def _classification(given: Any) -> Any:
    names = Classification.__members__
    if isinstance(given, str) and given not in names:
        known = [name for name in names if name != "LOG"]  # log lines are no points
        raise ValueError(f"is not one of {', '.join(known)}{meant(given, known)}")
    return names[given] if isinstance(given, str) else given


def _quality(given: Any) -> Any:
    names = Quality.__members__
    if isinstance(given, str) and given not in names:
        raise ValueError(f"is not one of {', '.join(names)}{meant(given, names)}")
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
    disk_budget: Annotated[Size, between("512 MiB", "1000 TiB")] = 20 * 2**30
    """How much disk the local stream may use."""
    bootstrap: (
        Annotated[
            str,
            matching(_HOST_PORT, "the address of a cluster; right would be host:port, several with commas"),
            Field(json_schema_extra={"pattern": f"^{_HOST_PORT}$"}),
        ]
        | None
    ) = None
    """host:port of a Kafka-compatible cluster to use instead of the gateway's own broker."""
    port: Annotated[int, Field(ge=1024, le=65534)] = 19092
    """Loopback port of the gateway's own broker; the next one is the controller's."""
    partitions: Annotated[int, Field(ge=1, le=128)] = 12
    """Partitions of each topic; fixed when the topic is made."""
    java: str | None = None
    """Path of a Java 17 or newer to use instead of the one that came along."""
    heap: Annotated[Size, between("128 MiB", "64 GiB")] = 384 * 2**20
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

    @together
    def _range_holds_something(self) -> Unfit:
        if self.range and self.range[0] >= self.range[1]:
            low, high = self.range
            yield ("range",), f"[{low:g}, {high:g}] holds nothing; right would be [lowest, highest]"


class RetryConfig(Model):
    first: Wait = 0.5
    """Pause after the first failure; doubles with jitter."""
    most: Wait = 30
    """Longest pause."""
    attempts: Annotated[int, Field(ge=1)] | None = None
    """Give up and crash after so many failures in a row; unset: never, a device that is off is normal."""


class AdapterConfig(Model):
    """What every adapter has. `defaults` are given to each point that does not say otherwise."""

    id: Name
    """What paths, records and messages call it."""
    protocol: str
    """modbus_tcp, opcua, mqtt."""
    enabled: bool = True
    defaults: dict[str, Any] = Field(default_factory=dict)
    retry: RetryConfig = RetryConfig()
    connect_timeout: Wait = 10
    """How long a connection may take to stand."""

    def lacking(self, data_dir: Path) -> list[tuple[Where, str]]:  # noqa: ARG002 - a protocol with files of its own says more
        """What this adapter needs on this machine and does not find, and what a person should know before it runs: (way from here, sentence). Reads files, opens no connection."""
        return []

    @classmethod
    def spread(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Each point is given the defaults it does not set itself."""
        points = given.get("points")
        if not isinstance(points, list) or not isinstance(given.get("defaults"), dict):
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

    @together
    def _holds_something(self) -> Unfit:
        if self.min is None and self.max is None:
            yield (), "has neither min nor max; right would be at least one of them"
        elif self.min is not None and self.max is not None and self.min >= self.max:
            yield ("min",), f"{self.min:g} is not below max {self.max:g}; right would be less than that"


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

    @together
    def _says_something(self) -> Unfit:
        if self.model_fields_set <= {"match"}:
            kinds = ", ".join(name for name in type(self).model_fields if name != "match")
            yield (), f"says nothing; right would be at least one of {kinds}"


Interval = Literal["1s", "10s", "1min", "1hour"]


class ProcessingConfig(Model):
    validators: Annotated[int, Field(ge=1, le=32)] = 1
    """Worker processes that share the partitions."""
    aggregators: Annotated[int, Field(ge=1, le=32)] = 1
    transaction_every: Annotated[Duration, between("1ms", "10s")] = 0.05
    """One transaction each so often; half as often while a worker's time is filled with judging."""
    snapshot_every: Annotated[Duration, between("100ms", "1h")] = 10
    lateness: Annotated[MaybeZeroDuration, between("0s", "1h")] = 60
    """How much older than its point's newest, by device time, a reading may be and still change its window; at most 1h, since all readings
    of that time are kept in memory."""


class BreakerConfig(Model):
    failures: Annotated[int, Field(ge=1)] = 5
    """Consecutive failures that open it."""
    pause: Wait = 30
    """How long it stays open before one trial."""


class SinkConfig(Model):
    """What every sink has."""

    id: Name
    """What paths and messages call it."""
    type: str
    enabled: bool = True
    topics: Annotated[list[str], Field(min_length=1)]
    """Which topics of the local stream it delivers."""
    breaker: BreakerConfig = BreakerConfig()
    write_timeout: Annotated[Duration, between("100ms", "1h")] = 60
    """How long one batch may take."""
    batch_records: Annotated[int, Field(ge=1, le=1_000_000)] = 20_000
    """Most records in one batch."""
    batch_bytes: Annotated[Size, between("64 KiB", "1 GiB")] = 16 * 2**20
    """Most bytes of records in one batch, which bounds the sink's memory."""
    flush_every: Annotated[Duration, between("1ms", "1h")] = 0.05
    """How often a batch is written while records trickle in, half as often while writing fills the time; a full one is written at once."""

    @together
    def _topics_once(self) -> Unfit:
        yield from each_once(self.topics, ("topics",))


class SupervisionConfig(Model):
    restarts_max: Annotated[int, Field(ge=0)] = 5
    """Most restarts of one supervisor's children within `restarts_window`; one more escalates."""
    restarts_window: Annotated[Duration, between("1s", "7d")] = 300
    heartbeat: Annotated[Duration, between("1s", "1h")] = 10
    """A component silent for so long counts as hung and is killed."""
    backoff_first: Wait = 0.2
    """Pause before the first restart; doubles with each further one."""
    backoff_most: Wait = 30

    @together
    def _backoff_grows(self) -> Unfit:
        if self.backoff_first > self.backoff_most:
            first, most = self.backoff_first, self.backoff_most
            yield ("backoff_first",), f"{first:g}s is longer than backoff_most, {most:g}s; right would be at most that"


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
    names: tuple[Annotated[str, matching(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}", "a host name")], ...] = ()
    """Names by which browsers reach this page, as behind a proxy; an address, `localhost` and, off loopback, the machine's own need none."""


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

    @together
    def _aggregates_once(self) -> Unfit:
        yield from each_once(self.aggregates, ("aggregates",))

    @together
    def _ports_differ(self) -> Unfit:
        if self.stream.bootstrap is None and self.api.port in (self.stream.port, self.stream.port + 1):
            ours = f"({self.stream.port} and the next)"
            yield (
                ("api", "port"),
                f"{self.api.port} is one of the local stream's ports {ours}; right would be another one",
            )


_SECRET = re.compile(r"\$\{secret:([A-Za-z0-9_][A-Za-z0-9_.-]*)\}")


def secret_name(text: str) -> str | None:
    """The name in `${secret:name}`, or None for a text that is no reference."""
    found = _SECRET.fullmatch(text)
    return found[1] if found else None
