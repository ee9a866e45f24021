"""A snapshot is found again whole, or not at all."""

import os

import pytest

from actors.stage_snapshots import CHUNK_BYTES, Snapshot, assemble, parcel


def written(snapshot):
    made = parcel("state.validator", snapshot, 0)
    return list(zip(made.keys, made.values, strict=True))


@pytest.mark.parametrize("state", [b"", b"small", os.urandom(3 * CHUNK_BYTES + 17)])
def test_what_was_written_is_found(state):
    snapshot = Snapshot(4, {"telemetry.raw": 17, "events.raw": 0}, state)
    assert assemble(4, written(snapshot)) == snapshot


def test_the_newest_wins_even_when_an_older_one_was_longer():
    long, short = Snapshot(1, {"t": 1}, os.urandom(2 * CHUNK_BYTES)), Snapshot(1, {"t": 2}, b"x")
    assert assemble(1, written(long) + written(short)) == short
    compacted = written(short)[:1] + written(long)[1:]
    assert assemble(1, compacted[1:] + compacted[:1]) == short


def test_half_a_snapshot_is_none():
    assert assemble(1, written(Snapshot(1, {"t": 1}, os.urandom(2 * CHUNK_BYTES)))[1:]) is None


@pytest.mark.parametrize("junk", [b"", b"\0\0\0\x02{}", b"\xff" * 40, None])
def test_what_this_program_did_not_write_is_passed_over(junk):
    assert assemble(1, [(b"1/0", junk)]) is None
