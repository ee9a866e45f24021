"""What the sink says of a database that refuses it: rights, names, tables that are not ours, nobody there."""

from __future__ import annotations

import uuid

import pytest

from sinks.contract import NeedsPerson, NotConnected
from tests.kit.ports import free_port
from tests.kit.postgres import Postgres, query
from tests.sinks.postgres_kit import AT, batch, sink_for


async def refused_connect(dsn: str, **other: object) -> str:
    sink = sink_for(dsn, **other)
    with pytest.raises(NeedsPerson) as caught:
        await sink.connect()
    await sink.close()
    return str(caught.value)


async def test_a_wrong_password_is_said_without_the_password(postgres: Postgres, database: str) -> None:
    role = f"r{uuid.uuid4().hex[:10]}"
    query(
        database,
        f"SET password_encryption = 'scram-sha-256'; CREATE ROLE {role} LOGIN PASSWORD 'right' IN ROLE with_password",
    )
    query(database, f"GRANT CREATE ON SCHEMA public TO {role}")
    dsn = database.replace("postgres@", f"{role}@")
    told = await refused_connect(dsn, password="wrong-one")
    assert "password authentication failed" in told
    assert "check `password`" in told
    assert "wrong-one" not in told
    assert "no password supplied" in await refused_connect(dsn)
    sink = sink_for(dsn, password="right")
    assert await sink.connect() == {}
    await sink.close()
    query(database, f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_an_unknown_database_and_role_are_named(postgres: Postgres, database: str) -> None:
    told = await refused_connect(postgres.dsn("nowhere"))
    assert 'database "nowhere" does not exist' in told
    assert "create the database" in told
    assert 'role "nobody" does not exist' in await refused_connect(postgres.dsn(user="nobody"))


async def test_missing_rights_are_said(postgres: Postgres, database: str) -> None:
    role = f"r{uuid.uuid4().hex[:10]}"
    query(database, f"REVOKE CREATE ON SCHEMA public FROM public; CREATE ROLE {role} LOGIN")  # as 15 and newer begin
    dsn = database.replace("postgres@", f"{role}@")
    assert "permission denied for schema public; grant it" in await refused_connect(dsn)
    await refused_connect(dsn, schema_name="plant")
    owner = sink_for(database)
    await owner.connect()
    await owner.close()
    assert "permission denied for table streamforge_version" in await refused_connect(dsn)
    query(database, f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}")
    sink = sink_for(dsn)
    await sink.connect()
    await sink.write(batch(0), {AT: 10})
    query(database, f"REVOKE INSERT ON readings FROM {role}")
    with pytest.raises(NeedsPerson, match="permission denied for table readings"):
        await sink.write(batch(10), {AT: 20})
    await sink.close()
    query(database, f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_a_dropped_column_is_named(database: str) -> None:
    sink = sink_for(database)
    await sink.connect()
    query(database, "ALTER TABLE readings RENAME COLUMN reason TO because")
    with pytest.raises(NeedsPerson, match='column "reason"'):
        await sink.write(batch(0), {AT: 10})
    assert "readings.reason is missing" in await refused_connect(database)
    query(database, "ALTER TABLE readings RENAME COLUMN because TO reason")
    await sink.connect()
    await sink.write(batch(0), {AT: 10})
    await sink.close()


async def test_somebody_elses_table_is_left_alone(database: str) -> None:
    query(database, "CREATE TABLE readings (mine text)")
    told = await refused_connect(database)
    assert "readings is there already and not of StreamForge" in told
    assert "table_prefix" in told
    sink = sink_for(database, table_prefix="sf_")
    await sink.connect()
    await sink.close()


async def test_tables_of_a_newer_program_are_left_alone(database: str) -> None:
    sink = sink_for(database)
    await sink.connect()
    await sink.close()
    query(database, "INSERT INTO streamforge_version VALUES (99, now())")
    assert "version 99, this program knows 1" in await refused_connect(database)


async def test_a_read_only_database_is_waited_for(postgres: Postgres, database: str) -> None:
    name = database.rsplit("/", 1)[1]
    query(database, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    sink = sink_for(database)
    with pytest.raises(NotConnected, match="read-only") as caught:
        await sink.connect()
    assert not isinstance(caught.value, NeedsPerson)
    query(postgres.dsn(), f"ALTER DATABASE {name} RESET default_transaction_read_only")
    assert await sink.connect() == {}
    await sink.close()


async def test_nobody_there_and_no_such_host_are_told_apart() -> None:
    nobody = ("127.0.0.1", "Connection refused", "listen_addresses")
    for host, told, step in (nobody, ("no-such-host.invalid", "could not translate host name", "getent hosts")):
        sink = sink_for(f"postgresql://postgres@{host}:{free_port()}/plant")
        with pytest.raises(NotConnected, match=told) as caught:
            await sink.connect()
        assert "Is the server running" not in str(caught.value)
        assert step in (caught.value.next_step or "")
        await sink.close()
