"""When a message of MQTT may be acknowledged, and how one that comes again is known."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from protocols.mqtt.frames import Publish
from protocols.mqtt.ledger import Ack, Ledger


def message(packet_id, qos=1, dup=False, payload=b"1"):
    return Publish(b"t", payload, len(payload), qos, False, dup, packet_id)


def connected(*, session_present=False):
    ledger = Ledger()
    ledger.connected(session_present=session_present)
    return ledger


def test_acknowledgements_keep_the_order_of_arrival():
    ledger = connected()
    first, second, third = (ledger.came(message(n, qos)) for n, qos in ((1, 1), (2, 2), (3, 1)))
    ledger.stored([second, third])
    assert ledger.due() == []
    ledger.stored([first])
    assert ledger.due() == [Ack(1, 1), Ack(2, 2), Ack(3, 1)]
    assert ledger.due() == []


@pytest.mark.parametrize("qos", [1, 2])
def test_what_was_stored_and_comes_again_is_only_acknowledged(qos):
    ledger = connected()
    ticket = ledger.came(message(5, qos))
    ledger.connected(session_present=True)
    ledger.stored([ticket])
    assert ledger.due() == []
    assert ledger.came(message(5, qos, dup=True)) is None
    assert ledger.due() == [Ack(5, qos)]


def test_what_was_not_handed_on_and_comes_again_is_taken_again():
    ledger = connected()
    ledger.came(message(5))
    ledger.connected(session_present=True)
    assert ledger.came(message(5, dup=True)) is not None


@pytest.mark.parametrize("qos", [1, 2])
def test_what_is_on_its_way_to_the_stream_is_not_taken_again_and_acknowledged_when_it_is_there(qos):
    ledger = connected()
    ticket = ledger.came(message(5, qos))
    ledger.hand(ticket)
    for _ in range(2):
        ledger.connected(session_present=True)
        assert ledger.came(message(5, qos, dup=True)) is None
    assert ledger.due() == []
    ledger.stored([ticket])
    assert ledger.due() == [Ack(5, qos)]


@pytest.mark.parametrize(
    ("again", "why"),
    [
        (message(5, payload=b"2", dup=True), "another payload"),
        (message(5), "no DUP flag"),
        (message(6, dup=True), "another packet id"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_a_new_message_under_a_known_id_is_taken(again, why):
    ledger = connected()
    ledger.stored([ledger.came(message(5))])
    ledger.due()
    ledger.connected(session_present=True)
    assert ledger.came(again) is not None, why


def test_a_lost_session_forgets():
    ledger = connected()
    ticket = ledger.came(message(5))
    ledger.connected(session_present=False)
    ledger.stored([ticket])
    assert ledger.came(message(5, dup=True)) is not None


def test_after_an_answered_ping_the_ids_may_mean_something_new():
    ledger = connected()
    ledger.stored([ledger.came(message(5))])
    ledger.due()
    ledger.ping()
    ledger.stored([ledger.came(message(6))])
    ledger.due()
    ledger.pong()
    ledger.connected(session_present=True)
    assert ledger.came(message(5, dup=True)) is not None
    assert ledger.came(message(6, dup=True)) is None


def test_qos_2_is_known_until_it_is_released():
    ledger = connected()
    ledger.stored([ledger.came(message(5, 2))])
    assert ledger.due() == [Ack(5, 2)]
    assert ledger.came(message(5, 2, dup=True)) is None
    assert ledger.due() == [Ack(5, 2)]
    ledger.released(5)
    assert ledger.came(message(5, 2)) is not None


class Exchange(RuleBasedStateMachine):
    """A broker that keeps to the standard, connections that break at any time, and a stream that stores in any order.

    What must hold: every message the broker considers done was stored, and none was stored twice.
    """

    tickets = Bundle("tickets")

    def __init__(self):
        super().__init__()
        self.ledger = connected()
        self.unacknowledged = {}
        self.awaiting_release = set()
        self.stored = []
        self.next_id = self.next_payload = 0

    def send(self, packet_id, payload, qos, dup, read):
        ticket = self.ledger.came(message(packet_id, qos, dup, payload))
        if ticket is None or not read:
            return None
        self.ledger.hand(ticket)
        return ticket, payload

    @rule(target=tickets, qos=st.sampled_from([1, 2]), read=st.booleans())
    def publish(self, qos, read):
        self.next_id = self.next_id % 5 + 1
        if self.next_id in self.unacknowledged or self.next_id in self.awaiting_release:
            return None
        self.next_payload += 1
        payload = b"%d" % self.next_payload
        self.unacknowledged[self.next_id] = payload, qos
        return self.send(self.next_id, payload, qos, False, read)

    @rule(held=tickets)
    def store(self, held):
        if held is not None and not held[0].stored:
            self.stored.append(held[1])
            self.ledger.stored([held[0]])

    @rule()
    def acknowledge(self):
        self.acknowledgements(arrive=True)

    def acknowledgements(self, *, arrive):
        for ack in self.ledger.due():
            if arrive and ack.packet_id in self.unacknowledged:
                payload, qos = self.unacknowledged.pop(ack.packet_id)
                assert payload in self.stored, "acknowledged before it was stored"
                if qos == 2:
                    self.awaiting_release.add(ack.packet_id)

    @rule()
    def release(self):
        for packet_id in self.awaiting_release:
            self.ledger.released(packet_id)
        self.awaiting_release.clear()

    @rule()
    def ping(self):
        self.ledger.ping()
        self.acknowledgements(arrive=True)
        self.ledger.pong()

    @rule(target=tickets, read=st.booleans(), last_words=st.sampled_from([None, False, True]))
    def reconnect(self, read, last_words):
        """Acknowledgements just sent may arrive or not; the broker then repeats all it has no acknowledgement for, in order."""
        if last_words is not None:
            self.acknowledgements(arrive=last_words)
        self.ledger.connected(session_present=True)
        open_ = sorted(self.unacknowledged.items(), key=lambda item: int(item[1][0]))
        sent = [self.send(packet_id, payload, qos, True, read) for packet_id, (payload, qos) in open_]
        return multiple(*[one for one in sent if one is not None])

    @invariant()
    def nothing_done_is_missing_and_nothing_is_there_twice(self):
        open_ = {payload for payload, _ in self.unacknowledged.values()}
        done = {b"%d" % n for n in range(1, self.next_payload + 1)} - open_
        assert done <= set(self.stored)
        assert len(self.stored) == len(set(self.stored))


TestExchange = Exchange.TestCase
TestExchange.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
