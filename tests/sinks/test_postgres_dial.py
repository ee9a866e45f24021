"""A server that does not let the sink in: told by its code whatever language it speaks, and what to do is said."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sinks.contract import Batch, NeedsPerson, NotConnected
from tests.kit.certificates import Authority
from tests.kit.postgres import Postgres, query
from tests.kit.postgres_server import INSTALLED, Server
from tests.kit.records import NOON, readings, series
from tests.sinks.postgres_kit import sink_for

HBA = """host all +with_password 127.0.0.1/32 scram-sha-256
host all outside 127.0.0.1/32 reject
host all all 127.0.0.1/32 trust
"""
ROLES = (
    "with_password",
    "outside LOGIN",
    "no_login",
    "known LOGIN PASSWORD 'right' IN ROLE with_password",
    "few LOGIN CONNECTION LIMIT 0",
)


async def told(dsn: str, kind: type[NotConnected] = NeedsPerson, **other: object) -> str:
    sink = sink_for(dsn, **other)
    with pytest.raises(NotConnected) as caught:
        await sink.connect()
    await sink.close()
    assert type(caught.value) is kind, caught.value
    return str(caught.value)


@pytest.fixture(scope="module")
def opened() -> Iterator[Path]:
    """A folder that the database's user can walk to."""
    with tempfile.TemporaryDirectory(prefix="sf-postgres-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.fixture(scope="module")
def german(opened: Path) -> Iterator[Server]:
    """Debian's PostgreSQL, speaking German."""
    words = Path("/usr/share/locale/de/LC_MESSAGES") / f"postgres-{INSTALLED.parent.name}.mo" if INSTALLED else None
    if words is None or not words.exists() or not shutil.which("localedef"):
        pytest.skip("needs the packages postgresql and locales, with German messages")
    locales = opened / "locales"
    locales.mkdir()
    made = subprocess.run(
        ["localedef", "-i", "de_DE", "-f", "UTF-8", str(locales / "de_DE.UTF-8")],
        check=False,
        capture_output=True,
        timeout=60,
    )
    if not (locales / "de_DE.UTF-8").exists():
        pytest.skip(f"no German locale here: {made.stderr.decode()}")
    server = Server(opened / "german", "lc_messages=de_DE.UTF-8", hba=HBA, programs=INSTALLED, locales=locales)
    server.start()
    for role in ROLES:
        query(server.dsn, f"CREATE ROLE {role}")
    yield server
    server.stop()


@pytest.mark.parametrize(
    ("user", "database", "password", "words", "advice"),
    [
        ("known", "postgres", "wrong", "Passwort-Authentifizierung", "check `password` and the user"),
        ("outside", "postgres", None, "pg_hba.conf lehnt Verbindung ab", "pg_hba.conf must let it in from here"),
        ("no_login", "postgres", None, "keine Berechtigung zum Einloggen", "may log in"),
        ("nobody", "postgres", None, "existiert nicht", "the role must exist"),
        ("postgres", "nowhere", None, "existiert nicht", "create the database"),
    ],
)
async def test_a_server_that_speaks_german_is_understood(
    german: Server, user: str, database: str, password: str | None, words: str, advice: str
) -> None:
    message = await told(f"postgresql://{user}@127.0.0.1:{german.port}/{database}", password=password)
    assert words in message
    assert advice in message


async def test_a_german_server_without_a_free_connection_is_waited_for(german: Server) -> None:
    message = await told(f"postgresql://few@127.0.0.1:{german.port}/postgres", NotConnected)
    assert "zu viele Verbindungen" in message
    assert "raise max_connections" in message


async def test_a_german_server_refuses_a_row_in_its_words(german: Server) -> None:
    sink = sink_for(german.dsn)
    await sink.connect()
    query(german.dsn, "ALTER TABLE readings ADD CONSTRAINT plausible CHECK (value < 1000)")
    rows = readings([(series(), NOON + i, 2000.0 if i == 17 else float(i)) for i in range(100)])
    refused = await sink.write(Batch([rows]), {("telemetry.clean", 0): 100})
    assert [r.offset for r in refused] == [17]
    assert "verletzt Check-Constraint »plausible«" in refused[0].reason
    await sink.write(Batch([rows]), {("telemetry.clean", 0): 100})  # every key is there already
    assert query(german.dsn, "SELECT count(*) FROM readings") == [(99,)]
    await sink.close()


async def test_a_full_server_is_waited_for(postgres: Postgres, database: str) -> None:
    role = f"r{uuid.uuid4().hex[:10]}"
    query(database, f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 0")
    message = await told(database.replace("postgres@", f"{role}@"), NotConnected)
    assert "too many connections" in message
    assert "raise max_connections" in message
    query(database, f"DROP ROLE {role}")


@pytest.fixture(scope="module")
def guarded(opened: Path) -> Iterator[tuple[Server, Authority]]:
    """A server that takes TLS only, with a certificate of its plant's own authority."""
    if INSTALLED is None:
        pytest.skip("needs the package postgresql: the wheel's has no TLS")
    authority = Authority(opened / "ca")
    hba = "hostssl all certified 127.0.0.1/32 cert\nhostssl all all 127.0.0.1/32 trust\n"
    server = Server(opened / "guarded", "ssl=on", "ssl_ca_file=root.crt", programs=INSTALLED, hba=hba)
    pair = authority.sign("server", host="historian.plant.example")
    for source, name in ((pair.cert, "server.crt"), (pair.key, "server.key"), (authority.cert, "root.crt")):
        target = server.directory / name
        shutil.copy(source, target)
        target.chmod(0o600)
        shutil.chown(target, server.directory.stat().st_uid)
    server.start()
    yield server, authority
    server.stop()


async def test_tls_with_the_plants_own_authority(guarded: tuple[Server, Authority], tmp_path: Path) -> None:
    server, authority = guarded
    dsn = f"host=historian.plant.example hostaddr=127.0.0.1 port={server.port} user=postgres dbname=postgres"
    sink = sink_for(f"{dsn} sslmode=verify-full sslrootcert={authority.cert}")
    assert await sink.connect() == {}
    await sink.close()
    assert "check sslmode" in await told(
        f"{dsn.replace('historian', 'other')} sslmode=verify-full sslrootcert={authority.cert}"
    )
    stranger = Authority(tmp_path / "stranger", "another authority")
    message = await told(f"{dsn} sslmode=verify-full sslrootcert={stranger.cert}")
    assert "certificate verify failed; check sslmode" in message
    assert "root certificate file" in await told(f"{dsn} sslmode=verify-full sslrootcert={tmp_path}/none")
    assert "with TLS or without" in await told(f"{dsn} sslmode=disable")


async def test_a_server_that_asks_for_a_certificate(guarded: tuple[Server, Authority], tmp_path: Path) -> None:
    server, authority = guarded
    query(server.dsn, "CREATE ROLE certified LOGIN; GRANT CREATE ON DATABASE postgres TO certified")
    dsn = f"host=127.0.0.1 port={server.port} user=certified dbname=postgres sslmode=require"
    mine = {"schema_name": "certified"}

    def given(name: str, by: Authority, **other: Any) -> str:
        pair = by.sign(name, **other)
        pair.key.chmod(0o600)
        return f"{dsn} sslcert={pair.cert} sslkey={pair.key}"

    sink = sink_for(given("certified", authority), **mine)
    assert await sink.connect() == {}
    await sink.close()
    assert "with a certificate where it asks for one" in await told(f"{dsn} sslcert={tmp_path}/none", **mine)
    assert "with a certificate where it asks for one" in await told(given("somebody", authority), **mine)
    for unwanted in (given("certified", Authority(tmp_path / "s")), given("certified", authority, days=-1)):
        assert "check sslmode in `dsn` and the certificates" in await told(unwanted, **mine)
    open_key = given("certified", authority)
    (authority.directory / "certified.key").chmod(0o644)
    assert "group or world access" in await told(open_key, **mine)


async def test_a_server_without_tls_where_it_is_required(database: str) -> None:
    assert "server does not support SSL" in await told(f"{database}?sslmode=require")
