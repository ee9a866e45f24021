"""The demo's database runs as root and as a plain user, and opens no folder that is not its own."""

import os
import stat
import subprocess
import tempfile
from pathlib import Path

import psycopg2
import pytest

from streamforge.demo import cluster as module
from streamforge.demo.cluster import NoHistorian, cluster
from streamforge.demo.historian import Historian

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become someone else")


@pytest.fixture
def checkout(monkeypatch):
    """A folder of root's that nobody else may walk through, and a home for what has to lie elsewhere."""
    with (
        tempfile.TemporaryDirectory(prefix="sf-private-") as private,
        tempfile.TemporaryDirectory(prefix="sf-home-") as home,
    ):
        Path(home).chmod(0o755)
        monkeypatch.setattr(module, "ROOT_HOME", Path(home) / "demo")
        yield Path(private) / "var"


def serves(historian):
    historian.start()
    try:
        with psycopg2.connect(historian.dsn) as connection, connection.cursor() as cursor:
            cursor.execute(
                "CREATE TABLE IF NOT EXISTS kept (n int); INSERT INTO kept VALUES (1); SELECT count(*) FROM kept"
            )
            return cursor.fetchone()[0]
    finally:
        historian.stop()


def modes(folder):
    return {p: stat.S_IMODE(p.stat().st_mode) for p in (folder, *folder.parents)}


def test_a_private_checkout_stays_private_and_the_data_are_kept(checkout):
    checkout.mkdir()
    before = modes(checkout)
    assert [serves(Historian(checkout / "postgres")) for _ in range(2)] == [1, 2]
    assert modes(checkout) == before
    assert not list(checkout.glob("*.new"))


def test_who_does_not_know_the_password_is_not_let_in(checkout):
    historian = Historian(checkout / "postgres")
    checkout.mkdir()
    historian.start()
    try:
        with pytest.raises(psycopg2.OperationalError, match="password"):
            psycopg2.connect(historian.address, connect_timeout=30)
    finally:
        historian.stop()
    assert stat.S_IMODE((checkout / "postgres.password").stat().st_mode) == 0o600


@as_root
def test_data_of_a_demo_that_was_removed_are_removed(checkout):
    old = cluster(checkout / "old" / "postgres")
    assert old.data.parent == module.ROOT_HOME
    (checkout / "old" / "postgres").unlink()
    new = cluster(checkout / "new" / "postgres")
    assert {p.name for p in module.ROOT_HOME.glob("data-*")} == {new.data.name, f"{new.data.name}.link"}
    assert not old.data.exists()


@as_root
def test_in_a_folder_that_is_open_to_all_the_data_stay_there(checkout):
    checkout.parent.chmod(0o755)
    made = cluster(checkout / "postgres")
    assert made.data == checkout / "postgres"
    assert made.data.stat().st_uid == made.user.pw_uid


@as_root
def test_a_database_of_another_user_is_left_alone(checkout):
    checkout.parent.chmod(0o755)
    (checkout / "postgres").mkdir(parents=True)
    (checkout / "postgres" / "PG_VERSION").write_text("18\n")
    os.chown(checkout / "postgres", 12345, 12345)
    with pytest.raises(NoHistorian, match=r"belongs to user id 12345.*--data"):
        cluster(checkout / "postgres")


@as_root
def test_a_copy_of_the_programs_is_readable_whatever_the_umask(checkout, monkeypatch):
    before = os.umask(0o077)
    try:
        monkeypatch.setattr(module, "_open_to_all", lambda *_: False)
        made = cluster(checkout / "postgres")
    finally:
        os.umask(before)
    assert made.programs.is_relative_to(module.ROOT_HOME)
    told = subprocess.run(
        [made.programs / "postgres", "--version"],
        capture_output=True,
        text=True,
        cwd="/",
        check=False,
        **made.identity(),
    )
    assert "PostgreSQL" in told.stdout, told.stderr


def test_an_interrupted_initdb_is_made_anew(checkout):
    checkout.parent.chmod(0o755)
    half = checkout / "postgres.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    assert serves(Historian(checkout / "postgres")) == 1
