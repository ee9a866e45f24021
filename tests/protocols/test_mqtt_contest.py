"""Two clients with one name: how they are told from connections that end by themselves."""

from __future__ import annotations

from protocols.mqtt.contest import Contest


def test_a_takeover_makes_the_next_connection_wait_longer_each_time():
    contest, waits = Contest(), []
    for n in range(8):
        contest.ended(1000.0 * n, 1, "another client", taken_over=True, by_broker=True)
        waits.append(contest.wait_s(1000.0 * n))
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300]
    contest.ended(9000, 61, "another client", taken_over=True, by_broker=True)
    assert contest.wait_s(9000) == 5


def test_without_a_reason_three_short_connections_look_like_a_contest():
    contest = Contest()
    for expected in (0, 0, 5, 10):
        contest.ended(0, 1, "probably", taken_over=False, by_broker=True)
        assert contest.wait_s(0) == expected
    assert Contest().wait_s(0) == 0


def test_connections_that_end_by_themselves_are_no_contest():
    contest = Contest()
    for _ in range(10):
        contest.ended(0, 1, "probably", taken_over=False, by_broker=False)
    assert contest.wait_s(0) == 0


def test_attempts_of_our_own_that_a_broker_reads_late_are_no_contest():
    contest = Contest()
    contest.unanswered()
    contest.unanswered()
    for _ in range(2):
        contest.ended(0, 1, "another client", taken_over=True, by_broker=False)
        assert contest.wait_s(0) == 0
    contest.ended(0, 1, "another client", taken_over=True, by_broker=False)
    assert contest.wait_s(0) == 5


def test_a_connection_that_stood_for_a_minute_has_outlived_them():
    contest = Contest()
    contest.unanswered()
    contest.ended(0, 61, "another client", taken_over=True, by_broker=False)
    assert contest.wait_s(0) == 5
