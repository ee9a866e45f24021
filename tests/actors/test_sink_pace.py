"""A sink that is behind says how far, and how long it will take; one that does not get nearer says that instead."""

from actors.sink_pace import SLOWER_STEP, STEP, Pace


def looked(*seen, flush_every_s=1.0):
    pace = Pace(flush_every_s)
    for now, waiting, oldest_s in seen:
        pace.look(now, waiting, oldest_s)
    return pace.behind


def test_what_waits_for_a_moment_is_not_behind():
    assert looked((0, 500, 2.0), (10, 900, 9.0)) is None
    assert looked((0, 500, 40.0), flush_every_s=60.0) is None


def test_it_says_how_far_behind_and_how_long_at_the_present_rate():
    behind = looked(*((s, 1_200_000 - 10_000 * s, 600.0) for s in range(11)))
    assert str(behind) == "catching up, 1 100 000 records behind, about 2 min at the present rate"
    assert behind.next_step == STEP


def test_the_rate_is_that_of_the_last_half_minute():
    slow = [(s, 100_000, 60.0) for s in range(100)]
    behind = looked(*slow, *((100 + s, 100_000 - 1000 * s, 60.0) for s in range(60)))
    assert 40 < behind.left_s < 43


def test_at_first_no_time_is_told():
    assert str(looked((0, 5000, 60.0), (1, 4000, 60.0))) == "catching up, 5 000 records behind".replace("5", "4")


def test_one_that_falls_back_is_told_from_one_that_catches_up():
    behind = looked(*((s, 5000 + 10 * s, 60.0) for s in range(11)))
    assert "do not become fewer" in str(behind)
    assert behind.next_step == SLOWER_STEP


def test_when_all_is_delivered_it_is_forgotten():
    assert looked((0, 5000, 60.0), (10, 0, 0.0)) is None
