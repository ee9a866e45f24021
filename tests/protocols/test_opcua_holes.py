"""Which numbers missing between the messages of a taken over subscription are a loss, and which only the server's word to the session before."""

from __future__ import annotations

from collections import Counter

from protocols.opcua.binary import Notification
from protocols.opcua.receipts import Receipts
from protocols.opcua.recovery import Recovery


def message(number):
    return Notification(number, [], None, False)


class Takeover(Recovery):
    """From a server that keeps exactly the messages it says it has."""

    available = ()

    async def _repeated(self, subscription, number):
        return message(number) if number in self.available else None


async def given(receipts, available, *numbers):
    """What a takeover says of holes, when messages with these numbers follow."""
    holes = []
    takeover = Takeover(None, None, receipts, Counter(), lambda _: None, holes.append, set())
    takeover.available = available
    await takeover._fetch(1, available)
    for number in numbers:
        takeover._give(message(number))
    return holes


LOST = ["the server did not keep 1 messages"]


async def test_the_word_to_the_session_before_takes_a_number_but_is_no_lost_message():
    receipts = Receipts(None)
    receipts.handed = 4
    assert await given(receipts, [5], 7) == []
    assert await given(receipts, [5, 7], 9) == [], "of two takeovers, the first of which broke off"
    assert await given(Receipts(None), [5], 6, 7) == [], "a server that does not count its word"


async def test_more_than_this_word_or_of_a_server_that_shows_no_message_may_be_a_loss():
    assert await given(Receipts(None), [5], 8) == LOST
    assert await given(Receipts(None), [5, 7], 8) == LOST
    silent = Receipts(None)
    silent.handed = 4
    assert await given(silent, [], 6) == LOST
