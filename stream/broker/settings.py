"""The broker's settings as tables, each with its reason (DESIGN 6, PITFALLS 2), and the files made from them.

Pure: values in, text out. Topic settings stand in topics.py, JVM options in java.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MIB = 2**20
NODE_ID = 1
MOST_INT = 2**31 - 1
MOST_LONG = 2**63 - 1
TEN_YEARS_MIN = 10 * 365 * 24 * 60

COMMON: dict[str, tuple[str | int, str]] = {
    "node.id": (NODE_ID, "one node, for ever"),
    "controller.listener.names": ("CONTROLLER", "kept apart from clients"),
    "listener.security.protocol.map": (
        "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "loopback only; nothing leaves the box here",
    ),
    "metadata.max.idle.interval.ms": (
        10_000,
        "an idle controller syncs a no-op twice a second by default: flash wear for nothing",
    ),
    "metadata.log.segment.bytes": (8 * MIB, "default 1 GiB; small files free their space"),
    "metadata.log.max.record.bytes.between.snapshots": (MIB, "a short log to replay at start"),
    "metadata.max.retention.bytes": (32 * MIB, "default 100 MiB"),
}
"""What the broker and the controller of a safe start share."""

BROKER: dict[str, tuple[str | int, str]] = {
    "process.roles": ("broker,controller", "one process"),
    "inter.broker.listener.name": ("BROKER", "as Kafka wants it named; one node talks to nobody"),
    # One node
    "offsets.topic.replication.factor": (1, "one node"),
    "transaction.state.log.replication.factor": (1, "one node"),
    "transaction.state.log.min.isr": (1, "one node"),
    "share.coordinator.state.topic.replication.factor": (1, "one node"),
    "share.coordinator.state.topic.min.isr": (1, "one node"),
    "default.replication.factor": (1, "one node"),
    "auto.leader.rebalance.enable": ("false", "nobody to rebalance to"),
    "group.initial.rebalance.delay.ms": (0, "the gateway assigns by itself; a tool's consumer need not wait"),
    # Recovery and transactions
    "broker.session.timeout.ms": (
        60_000,
        "a stalled JVM is not fenced for nothing; after a crash the safe start does not wait for it",
    ),
    "transaction.partition.verification.enable": (
        "false",
        "else the first write of every transaction fails once and costs 100 ms; open transactions are watched for instead",
    ),
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": (
        2_000,
        "default 10 s: how long a dead worker's transaction can hold its readers up",
    ),
    "num.recovery.threads.per.data.dir": (2, "after a crash logs are read again"),
    "log.flush.offset.checkpoint.interval.ms": (10_000, "default 60 s: less to read again after a crash"),
    "log.flush.start.offset.checkpoint.interval.ms": (10_000, "as above, for deleted records"),
    # Ids that must not expire while a gateway is switched off
    "offsets.retention.minutes": (TEN_YEARS_MIN, "default 7 days: a plant shutdown would forget what was read"),
    "transactional.id.expiration.ms": (MOST_INT, "default 7 days; an int in Kafka, so 24.8 days is the most"),
    "producer.id.expiration.ms": (MOST_INT, "default 1 day; as above"),
    # Time: record timestamp = arrival, given by us
    "log.message.timestamp.type": ("CreateTime", "the adapter's arrival time is kept; a replay must see the same"),
    "log.message.timestamp.before.max.ms": (
        MOST_LONG,
        "a clock stepped forward between arrival and write must not reject",
    ),
    "log.message.timestamp.after.max.ms": (MOST_LONG, "default 1 h; nor a clock stepped back"),
    # Disk
    "log.segment.bytes": (32 * MIB, "only whole segments are freed, and the last one is read again after a crash"),
    "log.index.size.max.bytes": (MIB, "default 10 MiB, allocated for each open segment"),
    "log.retention.ms": (-1, "topics say their own"),
    "log.retention.bytes": (-1, "topics say their own"),
    "log.retention.check.interval.ms": (60_000, "default 5 min: how far a topic can outgrow its share"),
    "log.segment.delete.delay.ms": (10_000, "default 60 s: freed space is needed"),
    "auto.create.topics.enable": ("false", "a misspelt name is an error, not a topic"),
    # Memory and threads
    "offsets.topic.num.partitions": (4, "default 50: 50 open logs for a handful of groups"),
    "transaction.state.log.num.partitions": (4, "default 50; as above"),
    "share.coordinator.state.topic.num.partitions": (1, "default 50; not used"),
    "log.cleaner.dedupe.buffer.size": (8 * MIB, "default 128 MiB, allocated at start"),
    "log.cleaner.threads": (1, "two internal topics and our snapshots"),
    "num.network.threads": (2, "a small machine"),
    "num.io.threads": (4, "they wait for fsync, so more than cores"),
    "background.threads": (2, "default 10"),
    "queued.max.requests": (64, "default 500"),
    "queued.max.request.bytes": (48 * MIB, "unbounded by default: what waits must fit the heap"),
    "socket.request.max.bytes": (16 * MIB, "default 100 MiB; a snapshot of 8 MiB fits, half a heap does not"),
}

SAFE_START: dict[str, tuple[str | int, str]] = {
    "process.roles": ("controller", "the controller alone: no partition is led"),
    "broker.session.timeout.ms": (150, "the dead broker is fenced at once"),
    "broker.heartbeat.interval.ms": (50, "must be well below the session"),
}
"""DESIGN 6, safe start."""

SYNCED: dict[str, tuple[str | int, str]] = {
    "log.flush.interval.messages": (
        1,
        "acknowledged means on the disk; broker-wide, or the internal topics would roll back after a power cut",
    ),
}


@dataclass(frozen=True)
class Place:
    """Where one broker lives. Files beside `data` belong to the actor, files in it to Kafka."""

    root: Path
    """The gateway's stream directory."""
    port: int

    @property
    def data(self) -> Path:
        return self.root / "kafka"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def controller_port(self) -> int:
        return self.port + 1

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"


def _lines(table: dict[str, str | int]) -> str:
    return "".join(f"{name}={escaped(str(value))}\n" for name, value in table.items())


def escaped(text: str) -> str:
    """As Java reads a properties file: in Latin-1, so that a folder with an umlaut would be another folder."""
    units = text.replace("\\", "\\\\").encode("utf-16-be", "surrogatepass")
    codes = [int.from_bytes(units[i : i + 2], "big") for i in range(0, len(units), 2)]
    return "".join(chr(code) if 32 <= code < 127 else f"\\u{code:04x}" for code in codes)


def _values(*tables: dict[str, tuple[str | int, str]]) -> dict[str, str | int]:
    return {name: value for table in tables for name, (value, _) in table.items()}


def broker_properties(place: Place, durability: str) -> str:
    """server.properties of the broker. `durability` is `synced` or `lazy`."""
    if durability not in ("synced", "lazy"):
        raise ValueError(f"durability {durability!r} is not known; right would be synced or lazy")
    return _lines(
        {
            **_values(COMMON, BROKER, SYNCED if durability == "synced" else {}),
            "log.dirs": str(place.data),
            "listeners": f"BROKER://127.0.0.1:{place.port},CONTROLLER://127.0.0.1:{place.controller_port}",
            "advertised.listeners": f"BROKER://127.0.0.1:{place.port},CONTROLLER://127.0.0.1:{place.controller_port}",
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{place.controller_port}",
        }
    )


def controller_properties(place: Place) -> str:
    """The settings of a safe start: the same data, the controller role only."""
    return _lines(
        {
            **_values(COMMON, SAFE_START),
            "log.dirs": str(place.data),
            "listeners": f"CONTROLLER://127.0.0.1:{place.controller_port}",
            "advertised.listeners": f"CONTROLLER://127.0.0.1:{place.controller_port}",
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{place.controller_port}",
        }
    )


SWALLOWED = "likely deleted already and hence can be skipped"
"""Kafka dropped a transaction's commit marker (DESIGN 6): a reading may appear twice. Must never be logged."""
STRAY = "marked stray and renamed"
"""Kafka found data of a topic that its metadata does not have (a warning, so it is seen anyway)."""


QUIET = (
    "org.apache.kafka.common.config.AbstractConfig",
    "org.apache.kafka.controller.PartitionChangeBuilder",
    "org.apache.kafka.controller.ReplicationControlManager",
    "org.apache.kafka.controller.ClusterControlManager",
    "org.apache.kafka.controller.ConfigurationControlManager",
    "org.apache.kafka.coordinator.common.runtime.CoordinatorRuntime",
    "org.apache.kafka.server.purgatory",
    "org.apache.kafka.storage.internals.log",
    "kafka.cluster.Partition",
    "kafka.coordinator.transaction.TransactionStateManager",
    "kafka.log.LogManager",
    "kafka.server.ReplicaFetcherManager",
    "kafka.server.metadata.DynamicConfigPublisher",
    "state.change.logger",
)
"""Loggers that write a line for each partition or setting at each start, the controller's even one for each change since the last snapshot: seconds
of a start on a slow machine."""


def log_properties(logs: Path) -> str:
    """log4j2: everything of note into a bounded file; warnings and the lines named above to the console, for the actor.

    log4j2 asks filters in the order of their names.
    """
    quiet = "".join(f"logger.q{n}.name={name}\nlogger.q{n}.level=WARN\n" for n, name in enumerate(QUIET))
    return f"""status=ERROR
shutdownHook=disable
appender.file.type=RollingFile
appender.file.name=file
appender.file.fileName={escaped(str(logs))}/kafka.log
appender.file.filePattern={escaped(str(logs))}/kafka.log.%i
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=%d{{ISO8601}} %p %m (%c{{1}})%n
appender.file.policies.type=Policies
appender.file.policies.size.type=SizeBasedTriggeringPolicy
appender.file.policies.size.size=4MB
appender.file.strategy.type=DefaultRolloverStrategy
appender.file.strategy.max=4
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%p %m (%c{{1}})%n%rEx{{4}}
appender.console.filters.type=Filters
appender.console.filters.a_level.type=ThresholdFilter
appender.console.filters.a_level.level=WARN
appender.console.filters.a_level.onMatch=ACCEPT
appender.console.filters.a_level.onMismatch=NEUTRAL
appender.console.filters.b_lines.type=RegexFilter
appender.console.filters.b_lines.regex=(?s).*{SWALLOWED}.*
appender.console.filters.b_lines.onMatch=ACCEPT
appender.console.filters.b_lines.onMismatch=DENY
rootLogger.level=INFO
rootLogger.appenderRef.file.ref=file
rootLogger.appenderRef.console.ref=console
{quiet}"""
