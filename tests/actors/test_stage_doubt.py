"""One bad record must not kill a worker for ever, and a chance kill -9 must not condemn a good one."""

import pytest

from actors.stage_doubt import Doubt, Range

BATCH = Range("telemetry.raw", 3, 100, 200)
ONE = Range("telemetry.raw", 3, 150, 151)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "doubt" / "validator-0"


def after_death(path, *deaths):
    """What the next worker finds after these deaths; each is what the dying one did last."""
    for death in deaths:
        death(Doubt(path))
    return Doubt(path)


def in_batch(doubt):
    doubt.batch(BATCH)


def alone(doubt):
    doubt.alone(ONE)


def alone_by_exception(doubt):
    doubt.alone(ONE)
    doubt.proven()


def idle(doubt):
    doubt.batch(BATCH)
    doubt.done()


def test_a_first_start_doubts_nothing(path):
    found = after_death(path)
    assert (found.suspects, found.poison) == (None, None)


def test_a_death_between_batches_doubts_nothing(path):
    found = after_death(path, idle)
    assert (found.suspects, found.poison) == (None, None)


def test_a_death_in_a_batch_puts_the_batch_in_doubt(path):
    found = after_death(path, in_batch)
    assert (found.suspects, found.poison) == (BATCH, None)


def test_an_exception_over_the_record_alone_proves_it_poison(path):
    found = after_death(path, in_batch, alone_by_exception)
    assert (found.suspects, found.poison) == (BATCH, ONE)


def test_one_death_without_exception_proves_nothing_a_second_does(path):
    once = after_death(path, in_batch, alone)
    assert (once.suspects, once.poison) == (BATCH, None)
    twice = after_death(path, alone)
    assert (twice.suspects, twice.poison) == (BATCH, ONE)


def test_strikes_are_counted_for_the_same_record_only(path):
    other = Range("telemetry.raw", 3, 160, 161)
    found = after_death(path, in_batch, alone, lambda d: d.alone(other))
    assert (found.suspects, found.poison) == (BATCH, None)


def test_what_is_passed_is_forgotten(path):
    found = after_death(path, in_batch, alone_by_exception, lambda d: d.passed())
    assert (found.suspects, found.poison) == (None, None)


@pytest.mark.parametrize(
    ("place", "inside"),
    [(("telemetry.raw", 3, 150), True), (("telemetry.raw", 3, 200), False), (("events.raw", 3, 150), False)],
)
def test_a_range_knows_what_it_holds(place, inside):
    assert (place in BATCH) is inside
