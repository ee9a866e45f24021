"""Connecting, and finding out why a server does not let us in. Blocking; nothing here knows about tables.

libpq gives each address its whole `connect_timeout`, one after the other. A dead host that swallows packets, as after a failover,
would use up all of ours before the living one is asked; so each address has its share.

psycopg2 gives no SQLSTATE for a failed connect, only the server's words, in the server's language. libpq writes the code into
these words when it is asked for verbose errors before the attempt begins, which psycopg2 only allows for a connection it opens
step by step. So a refusal is tried a second time that way, for the code alone; a server that is not there at all is not.
"""

from __future__ import annotations

import ctypes
import math
import re
import select
import socket
import time
from contextlib import suppress

import psycopg2
from psycopg2 import _psycopg
from psycopg2.extensions import POLL_OK, POLL_READ, make_dsn, parse_dsn
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class with a small name

from sinks.contract import Origin
from sinks.postgres.config import PostgresConfig

_PQERRORS_VERBOSE = 2
_LEAST_S = 2
"""libpq takes a shorter `connect_timeout` for this."""
_SPARE_S = 0.5
"""So much before the deadline for the whole libpq gives up: it knows which address did not answer."""
_SAID_BY_SERVER = re.compile(r"(?:^|: )[^:\n]+:  \S", re.MULTILINE)
"""libpq puts two blanks behind the severity of what a server said, whatever the language; nowhere else."""
_CODE = re.compile(r":  ([0-9A-Z]{5}): ")


class Refused(psycopg2.OperationalError):
    """A server answered, and said no. `pgcode` is its SQLSTATE, or None where that could not be learnt."""

    pgcode: str | None = None


def application_name(config: PostgresConfig, origin: Origin) -> str:
    """What pg_stat_activity shows for our connection."""
    return f"streamforge {origin.gateway}/{config.id}"[:63]


def dial(config: PostgresConfig, origin: Origin) -> Connection:
    """Connect, and nothing more. Raises psycopg2.Error; with a code, if a server said why."""
    began = time.monotonic()
    password = {} if config.password is None else {"password": config.password}
    dsn = make_dsn(
        config.dsn, **password,
        connect_timeout=_each_s(config),
        application_name=application_name(config, origin),
        client_encoding="UTF8",
        keepalives=1, keepalives_idle=30, keepalives_interval=10, keepalives_count=3, tcp_user_timeout=30_000,
    )  # fmt: skip
    try:
        return psycopg2.connect(dsn)
    except psycopg2.OperationalError as error:
        if not _SAID_BY_SERVER.search(str(error)):
            raise
        refused = Refused(*error.args)
        refused.pgcode = _decisive(_ask_again(dsn, began + within_s(config) - _SPARE_S))
        raise refused from None


def within_s(config: PostgresConfig) -> float:
    """How long all of `dial` may take: `connect_timeout`, or longer where several hosts could not all be asked in it."""
    hosts = len(_hosts(config))
    return config.connect_timeout if hosts == 1 else max(config.connect_timeout, hosts * _LEAST_S + _SPARE_S)


def _hosts(config: PostgresConfig) -> list[tuple[str, bool]]:
    """The hosts of the DSN, each with whether it is a name, of which there may be several addresses."""
    parts = parse_dsn(config.dsn)
    addresses, names = (parts.get(field, "").split(",") for field in ("hostaddr", "host"))
    if any(addresses):
        return [(address, False) for address in addresses]
    return [(name, name != "" and name[0] not in "/@") for name in names]


def _each_s(config: PostgresConfig) -> int:
    """One address's share of the time, in whole seconds as libpq wants it."""
    addresses = 0
    for host, is_name in _hosts(config):
        found: set[object] = set()
        with suppress(OSError, UnicodeError):  # libpq will say it
            found = {info[4][0] for info in socket.getaddrinfo(host, None)} if is_name else set()
        addresses += max(1, len(found))
    return max(_LEAST_S, math.floor((within_s(config) - _SPARE_S) / addresses))


def _decisive(codes: list[str]) -> str | None:
    """Several hosts, or an attempt with TLS and one without, give several codes: a server that is merely away or a standby
    is not the reason to think that nobody need do anything."""
    lasting = [code for code in codes if code[:2] in ("28", "3D", "42")]
    return next(iter(lasting or codes), None)


def _ask_again(dsn: str, deadline: float) -> list[str]:
    """The codes with which the servers refuse a connection; none if it comes about this time."""
    try:
        probe = psycopg2.connect(dsn, async_=1)
        _verbose(probe)
        while (state := probe.poll()) != POLL_OK:
            left = deadline - time.monotonic()
            wanted = ([probe], []) if state == POLL_READ else ([], [probe])
            if left <= 0 or not any(select.select(*wanted, [], left)):
                break
        probe.close()
    except psycopg2.OperationalError as error:
        return _CODE.findall(str(error))
    return []


def _verbose(connection: Connection) -> None:
    libpq = ctypes.CDLL(_psycopg.__file__)  # finds what the module itself is linked to, wherever that lies
    libpq.PQsetErrorVerbosity.argtypes = [ctypes.c_void_p, ctypes.c_int]
    libpq.PQsetErrorVerbosity(connection.pgconn_ptr, _PQERRORS_VERBOSE)
