"""What a person may say about one PostgreSQL destination, and nothing about how it is written."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from schemas.gateway import SinkConfig, matching
from schemas.mistakes import meant
from schemas.model import Unfit, together
from schemas.units import Duration, Wait, between

AGGREGATES = ("telemetry.1s", "telemetry.10s", "telemetry.1min", "telemetry.1hour")
TOPICS = ("telemetry.raw", "telemetry.clean", *AGGREGATES, "events.raw", "events.clean", "alarms.raw")
"""What has a table here."""

_PLAIN = "small letters, digits and _, not beginning with a digit"

Identifier = Annotated[str, matching(r"[a-z_][a-z0-9_]{0,40}", f"a plain name; right would be {_PLAIN}")]
Prefix = Annotated[str, matching(r"([a-z_][a-z0-9_]{0,30})?", f"a plain name; right would be {_PLAIN}")]


def _topic(given: str) -> str:
    if given not in TOPICS:
        raise ValueError(f"has no table here; right would be some of {', '.join(TOPICS)}{meant(given, TOPICS)}")
    return given


def _readable(dsn: str) -> str:
    from psycopg2 import ProgrammingError
    from psycopg2.extensions import parse_dsn

    try:
        parts = parse_dsn(dsn)
    except ProgrammingError:
        raise ValueError("is not a connection string; right would be postgresql://user@host:5432/database") from None
    if "password" in parts:
        raise ValueError('contains the password; right would be a field of its own: password: "${secret:name}"')
    return dsn


class PostgresConfig(SinkConfig):
    type: Literal["postgres"] = "postgres"
    topics: Annotated[list[Annotated[str, AfterValidator(_topic)]], Field(min_length=1)]
    """Which topics of the local stream it delivers, each to a table."""
    dsn: Annotated[str, AfterValidator(_readable)]
    """Where the database is: `postgresql://user@host:5432/database?sslmode=require`, without a password."""
    password: str | None = None
    """Usually `${secret:name}`."""
    schema_name: Identifier = "public"
    """Schema of the tables; made if it is missing."""
    table_prefix: Prefix = ""
    """Put before each table's name, to keep them apart from other tables of the schema."""
    connect_timeout: Wait = 10
    """How long connecting and preparing the tables may take, each."""
    lock_timeout: Annotated[Duration, between("10ms", "1h")] = 20
    """How long a statement waits for another connection's lock before the batch is given up and offered again."""

    @together
    def _readings_once(self) -> Unfit:
        for kind in ("telemetry", "events"):
            if {f"{kind}.raw", f"{kind}.clean"} <= set(self.topics):
                text = f"{kind}.raw and {kind}.clean hold the same readings; right would be one of them"
                yield ("topics",), text

    def place(self) -> str:
        """host:port/database, of several hosts each with its port, as messages name it: never user or password."""
        from psycopg2.extensions import parse_dsn

        parts = parse_dsn(self.dsn)
        hosts = (parts.get("host") or parts.get("hostaddr") or "localhost").split(",")
        ports = (parts.get("port") or "5432").split(",")
        ports = ports if len(ports) == len(hosts) else ports * len(hosts)
        at = ",".join(f"{host or 'localhost'}:{port or '5432'}" for host, port in zip(hosts, ports, strict=False))
        return f"{at}/{parts.get('dbname', parts.get('user', ''))}"
