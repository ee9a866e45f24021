"""The embedded PostgreSQL that the other tests stand on."""

from tests.kit.postgres import query
from tests.kit.postgres_server import Server


def test_each_test_has_a_database_of_its_own(database: str) -> None:
    assert query(database, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == [(0,)]


def test_a_server_of_the_tests_own_keeps_its_data_over_a_stop(own_postgres: Server) -> None:
    query(own_postgres.dsn, "CREATE TABLE kept (n int)")
    own_postgres.stop()
    own_postgres.start()
    assert query(own_postgres.dsn, "SELECT count(*) FROM kept") == [(0,)]
