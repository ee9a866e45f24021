"""A snapshot is found again whole, or not at all; what stands already is not written again."""

import json
import os

import pytest

from actors.stage_snapshots import PIECE_BYTES, Shelf, Snapshot, assemble

OFFSETS = {"telemetry.raw": 17, "events.raw": 0}


class Topic:
    """The newest record of each key, as compaction leaves them."""

    def __init__(self):
        self.newest, self.written = {}, 0

    def write(self, shelf, offsets, parts):
        keys, values = shelf.records(offsets, parts)
        self.newest.update(zip(keys, values, strict=True))
        self.written = sum(map(len, values))


@pytest.mark.parametrize(
    "state", [b"", b"small", os.urandom(3 * PIECE_BYTES + 17)], ids=["empty", "small", "several pieces"]
)
def test_what_was_written_is_found(state):
    topic = Topic()
    topic.write(Shelf(4), OFFSETS, {"all": state})
    found, shelf = assemble(4, topic.newest)
    assert found == Snapshot(4, OFFSETS, {"all": state})
    assert "all" in shelf.written


def test_parts_that_stand_are_kept_and_numbers_used_again():
    topic, shelf = Topic(), Shelf(4)
    big, head = os.urandom(2 * PIECE_BYTES), b"head"
    topic.write(shelf, OFFSETS, {"head": head, "rows-1": big, "rows-2": big})
    keys = len(topic.newest)
    for _ in range(5):
        topic.write(shelf, OFFSETS, {"head": b"other", "rows-2": None, "rows-3": big})
        assert topic.written < 3 * PIECE_BYTES
        topic.write(shelf, OFFSETS, {"head": head, "rows-2": None, "rows-3": None})
        assert topic.written < 1000
    assert assemble(4, topic.newest)[0].parts == {"head": head, "rows-2": big, "rows-3": big}
    assert len(topic.newest) == keys


def test_a_restored_shelf_goes_on_where_the_last_one_ended():
    topic = Topic()
    topic.write(Shelf(4), OFFSETS, {"a": b"1", "b": b"2"})
    _, shelf = assemble(4, topic.newest)
    topic.write(shelf, OFFSETS, {"b": None, "c": b"3"})
    assert assemble(4, topic.newest)[0].parts == {"b": b"2", "c": b"3"}


@pytest.mark.parametrize(
    "damage",
    [{b"4/0": None}, {b"4/1": b"other"}, {b"4": b"junk"}, {b"4": b"[]"}, {b"4": json.dumps({"version": 1}).encode()}],
)
def test_half_a_snapshot_or_a_strange_one_is_none(damage):
    topic = Topic()
    topic.write(Shelf(4), OFFSETS, {"all": os.urandom(2 * PIECE_BYTES)})
    assert assemble(4, topic.newest | damage) is None
