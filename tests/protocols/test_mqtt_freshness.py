"""When a message may have stood in the broker's queue: the rule alone, with brokers played by a few lines."""

from __future__ import annotations

import random

import pytest

from protocols.mqtt.freshness import AWAY, PROVEN_BY, SLOW, TRUSTED_S, Freshness


def opened(*, session_present=True):
    one = Freshness()
    one.opened(0.0, session_present=session_present)
    return one


def asked(one, now, unacknowledged=0, meanwhile=0):
    """One ping, its answer, and so many messages between."""
    one.asks(unacknowledged)
    for n in range(meanwhile):
        one.message(unacknowledged + n + 1)
    one.answered(now)
    return one.doubt(now)


def test_a_new_session_has_no_queue_and_a_kept_one_is_in_doubt():
    assert opened(session_present=False).doubt(1.0) is None
    assert opened().doubt(1.0) == AWAY


def test_several_answers_without_a_message_before_them_end_the_doubt():
    one = opened()
    assert [asked(one, n * 0.2) for n in range(PROVEN_BY)] == [AWAY] * (PROVEN_BY - 1) + [None]


def test_a_message_before_the_answer_starts_the_count_again():
    one = opened()
    for n in range(20):
        assert asked(one, n * 0.2, meanwhile=n % 2) == AWAY


def test_a_full_window_proves_nothing_however_long_it_is_full():
    one = opened()
    for _ in range(20):
        one.message(20)
    for n in range(20):
        assert asked(one, n * 0.2, unacknowledged=20) == AWAY


def test_messages_that_leave_room_in_the_window_do_not_keep_the_doubt_alive():
    """A busy line is never silent; but the broker has shown that it sends 20 at once, and now sends 3."""
    one = opened()
    one.message(20)
    assert [asked(one, n * 0.2, unacknowledged=5, meanwhile=3) for n in range(PROVEN_BY)][-1] is None


def test_without_a_proof_for_some_seconds_the_doubt_comes_back_with_another_reason():
    one = opened(session_present=False)
    one.message(4)
    for now in (1.0, 2.0, TRUSTED_S):
        assert asked(one, now, unacknowledged=4) is None
    assert one.doubt(TRUSTED_S + 0.1) == SLOW
    for n in range(PROVEN_BY):
        asked(one, TRUSTED_S + 1 + n)
    assert one.doubt(TRUSTED_S + 5) is None


@pytest.mark.parametrize("refill_s", [0.0, 0.002], ids=["at once", "2 ms after the acknowledgement"])
def test_no_broker_with_a_queue_is_believed_to_have_none(refill_s):
    """A backlog of 40 s, a window of 10, asked at random moments; the stream acknowledges ten together every 50 ms."""
    chance = random.Random(7)
    for _ in range(100):
        one = opened()
        one.message(10)
        for ping in range(200):
            out = 10 if chance.random() * 0.05 >= refill_s else 0
            assert asked(one, ping * 0.2, unacknowledged=out) == AWAY
