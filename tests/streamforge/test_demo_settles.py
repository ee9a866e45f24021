"""What the demo's comparison does while the gateway still moves: it reads all again, and in the end tells what it found."""

import pytest

from streamforge.demo import compare as module
from streamforge.demo.seen import Names

PLACE = ("telemetry.raw", 3)


class Consumer:
    """Stands for an opened one: only its log's end is asked for here."""

    def __init__(self, *ends):
        self._ends = list(ends)

    async def ends(self, places):
        return dict.fromkeys(places, self._ends.pop(0))


@pytest.fixture
def readings(monkeypatch):
    """What one look after the other finds, and whether something moved meanwhile."""
    looks = []

    async def look(*_):
        return looks.pop(0)

    async def opened(*_):
        return None

    monkeypatch.setattr(module, "_compare_once", look)
    monkeypatch.setattr(module, "_opened", opened)
    monkeypatch.setattr(module, "AGAIN_S", 0)
    return looks


def test_all_is_read_again_until_nothing_moves(readings):
    readings[:] = [("first", True), ("second", True), ("third", False), ("fourth", False)]
    assert module.compare("", 12, "", 0) == "third"


def test_what_moves_for_ever_is_told_as_it_is(readings, monkeypatch):
    monkeypatch.setattr(module, "SETTLES_WITHIN_S", -1)
    readings[:] = [("first", True), ("second", True)]
    assert module.compare("", 12, "", 0) == "first"


@pytest.mark.parametrize(("passed", "waits"), [(None, True), (0, True), (41, True), (42, False), (50, False)])
def test_a_hop_has_passed_a_record_when_its_offset_is_behind_it(passed, waits):
    reader = module._Reader(Consumer(), 0, Names())
    reader._last[PLACE] = 41
    assert reader.waits({PLACE: passed, ("telemetry.raw", 4): None}) is waits, "nothing was read of the other partition"


@pytest.mark.parametrize(("ends", "has_grown"), [((7, 7), False), ((7, 8), True)])
async def test_a_log_that_grew_meanwhile_is_noticed(ends, has_grown):
    reader = module._Reader(Consumer(*ends), 0, Names())
    reader._ends = await reader._consumer.ends([PLACE])
    assert await reader.has_grown() is has_grown
