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


def in_batch_by_exception(doubt):
    doubt.batch(BATCH)
    doubt.proven()


def alone(doubt):
    doubt.alone(ONE)


def alone_by_exception(doubt):
    doubt.alone(ONE)
    doubt.proven()


def idle(doubt):
    doubt.batch(BATCH)
    doubt.done()


@pytest.mark.parametrize("deaths", [[], [idle], [in_batch], [in_batch, idle], [in_batch, idle, in_batch]])
def test_a_first_start_and_chance_deaths_doubt_nothing(path, deaths):
    found = after_death(path, *deaths)
    assert (found.suspects, found.poison) == (None, None)


@pytest.mark.parametrize("deaths", [[in_batch, in_batch], [in_batch_by_exception]])
def test_two_deaths_over_a_batch_or_an_exception_put_it_in_doubt(path, deaths):
    found = after_death(path, *deaths)
    assert (found.suspects, found.poison) == (BATCH, None)


def test_a_batch_that_is_cut_otherwise_the_second_time_is_the_same_one(path):
    other = Range("telemetry.raw", 3, 140, 300)
    assert after_death(path, in_batch, lambda d: d.batch(other)).suspects == other
    elsewhere = Range("telemetry.raw", 4, 140, 300)
    assert after_death(path, idle, in_batch, lambda d: d.batch(elsewhere)).suspects is None


def test_an_exception_over_the_record_alone_proves_it_poison(path):
    found = after_death(path, in_batch_by_exception, alone_by_exception)
    assert (found.suspects, found.poison) == (BATCH, ONE)


def test_one_death_without_exception_proves_nothing_a_second_does(path):
    once = after_death(path, in_batch_by_exception, alone)
    assert (once.suspects, once.poison) == (BATCH, None)
    twice = after_death(path, alone)
    assert (twice.suspects, twice.poison) == (BATCH, ONE)


def test_strikes_are_counted_for_the_same_record_only(path):
    other = Range("telemetry.raw", 3, 160, 161)
    found = after_death(path, in_batch_by_exception, alone, lambda d: d.alone(other))
    assert (found.suspects, found.poison) == (BATCH, None)


def test_what_is_passed_is_forgotten(path):
    found = after_death(path, in_batch_by_exception, alone_by_exception, lambda d: d.passed())
    assert (found.suspects, found.poison) == (None, None)


@pytest.mark.parametrize(
    ("place", "inside"),
    [(("telemetry.raw", 3, 150), True), (("telemetry.raw", 3, 200), False), (("events.raw", 3, 150), False)],
)
def test_a_range_knows_what_it_holds(place, inside):
    assert (place in BATCH) is inside
