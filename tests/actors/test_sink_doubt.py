"""What the end of a worker tells about the batch that its destination was being given."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from actors.sink_doubt import GivenDoubt, Span
from sinks.contract import NotConnected

BATCH: list[Span] = [("t", 0, 10, 20), ("u", 3, 5, 6)]
ONE: list[Span] = [("t", 0, 14, 15)]


def dies_over(path: Path, batch: list[Span], error: BaseException | None = None) -> None:
    """The worker ends in there: by an exception, or without a word."""
    doubt, left = GivenDoubt(path), b""
    with suppress(ValueError, NotConnected, KeyboardInterrupt), doubt.over(batch):
        left = path.read_bytes()
        if error is not None:
            raise error
    if error is None:
        path.write_bytes(left)
    doubt.close()


def test_two_deaths_make_suspects_and_two_more_poison(tmp_path: Path) -> None:
    path = tmp_path / "doubt"
    dies_over(path, BATCH)
    assert not GivenDoubt(path).one_by_one
    dies_over(path, [("t", 0, 10, 12)])
    dies_over(path, BATCH)
    assert GivenDoubt(path).one_by_one
    for _ in range(2):
        assert GivenDoubt(path).poison is None
        dies_over(path, ONE)
    doubt = GivenDoubt(path)
    assert doubt.poison == ("t", 0, 14)
    assert doubt.one_by_one
    doubt.passed({("t", 0): 15, ("u", 3): 5})
    assert doubt.poison is None
    doubt.passed({("t", 0): 20, ("u", 3): 6})
    assert not doubt.one_by_one
    assert not GivenDoubt(path).one_by_one


def test_an_exception_proves_at_once(tmp_path: Path) -> None:
    path = tmp_path / "doubt"
    dies_over(path, BATCH, ValueError("x"))
    assert GivenDoubt(path).one_by_one
    dies_over(path, ONE, ValueError("x"))
    assert GivenDoubt(path).poison == ("t", 0, 14)


@pytest.mark.parametrize("error", [NotConnected("away"), KeyboardInterrupt()])
def test_a_destination_away_and_a_stop_put_nothing_in_doubt(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "doubt"
    for _ in range(3):
        dies_over(path, BATCH, error)
    assert not GivenDoubt(path).one_by_one


def test_kills_over_different_records_prove_nothing(tmp_path: Path) -> None:
    path = tmp_path / "doubt"
    for n in range(6):
        dies_over(path, [("t", 0, 10 * n, 10 * n + 10)])
    assert not GivenDoubt(path).one_by_one
    dies_over(path, [("t", 0, 100, 101)])
    dies_over(path, [("t", 0, 101, 102)])
    assert GivenDoubt(path).poison is None


def test_suspects_outlive_an_orderly_stop_but_not_their_stream(tmp_path: Path) -> None:
    path = tmp_path / "doubt"
    dies_over(path, BATCH, ValueError("x"))
    GivenDoubt(path).close()
    doubt = GivenDoubt(path)
    assert doubt.one_by_one
    doubt.located({("t", 0): 12, ("u", 3): 5}, {("t", 0): 500, ("u", 3): 6})
    assert doubt.one_by_one
    doubt.located({("t", 0): 0}, {("t", 0): 5})
    assert not doubt.one_by_one


def test_a_torn_or_foreign_file_is_taken_as_empty(tmp_path: Path) -> None:
    path = tmp_path / "doubt"
    path.write_bytes(b"\x01\x00\x00\x00\x09\x00\x00\x00{nonsense")
    doubt = GivenDoubt(path)
    assert not doubt.one_by_one
    with doubt.over(BATCH):
        pass
    assert not GivenDoubt(path).one_by_one
