"""Packets out of a byte stream, what may be acknowledged, and who contests our client id: the pure parts of the connection."""

from __future__ import annotations

import inspect
import ssl
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule
from paho.mqtt import _packet
from paho.mqtt import client as paho
from paho.mqtt.enums import MQTTProtocolVersion

from protocols.mqtt import words
from protocols.mqtt.contest import Contest
from protocols.mqtt.frames import HEAD_MOST, OTHER_MOST, Malformed, Publish, Splitter
from protocols.mqtt.ledger import Ack, Ledger


def varint(value):
    out = bytearray()
    while True:
        value, low = divmod(value, 128)
        out.append(low | (128 if value else 0))
        if not value:
            return bytes(out)


def publish(topic=b"a/b", payload=b"1", qos=0, packet_id=1, retain=False, dup=False, properties=None):
    body = len(topic).to_bytes(2, "big") + topic + (packet_id.to_bytes(2, "big") if qos else b"")
    body += (varint(len(properties)) + properties) if properties is not None else b""
    body += payload
    return bytes([0x30 | dup << 3 | qos << 1 | retain]) + varint(len(body)) + body


PACKET = st.one_of(
    st.builds(
        publish,
        st.binary(min_size=1, max_size=20),
        st.binary(max_size=200),
        st.sampled_from([0, 1, 2]),
        st.integers(1, 65535),
        st.booleans(),
        st.booleans(),
        st.sampled_from([b"", b"\x01\x01", b"\x26\x00\x01k\x00\x01v"]),
    ),
    st.builds(lambda body: b"\x90" + varint(len(body)) + body, st.binary(max_size=150)),
    st.just(b"\xd0\x00"),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PACKET, max_size=8), st.lists(st.integers(1, 40), max_size=60))
def test_packets_come_out_whole_however_the_stream_is_cut(packets, cuts):
    stream, whole = b"".join(packets), Splitter(5, 10_000)
    expected = whole.feed(stream)
    pieces, got, place = Splitter(5, 10_000), [], 0
    for cut in [*cuts, len(stream)]:
        got += pieces.feed(stream[place : place + cut])
        place += cut
    assert got == expected
    assert len(expected) == len(packets)
    assert not whole.buffer


@settings(deadline=None)
@given(
    st.binary(min_size=1, max_size=20),
    st.binary(max_size=50),
    st.sampled_from([0, 1, 2]),
    st.integers(1, 65535),
    st.booleans(),
    st.booleans(),
    st.sampled_from([4, 5]),
)
def test_a_publish_is_what_paho_reads(topic, payload, qos, packet_id, retain, dup, version):
    packet = publish(topic, payload, qos, packet_id, retain, dup, b"\x01\x01" if version == 5 else None)
    theirs = _packet.decode_publish(packet[0], packet[2:], MQTTProtocolVersion(version))
    assert Splitter(version, 1000).feed(packet) == [
        Publish(
            theirs.topic, bytes(theirs.payload), len(theirs.payload), theirs.qos, theirs.retain, theirs.dup, theirs.mid
        )
    ]


@pytest.mark.parametrize("version", [4, 5])
def test_a_payload_of_256_mb_is_cut_and_the_next_packet_read(version):
    most, size = 1000, 268_435_000
    splitter = Splitter(version, most)
    head = publish(b"big", b"", 1, 7, properties=b"" if version == 5 else None)[2:]
    packets = splitter.feed(b"\x32" + varint(len(head) + size) + head)
    chunk, sent = bytes(1 << 20), 0
    while sent < size:
        packets += splitter.feed(chunk[: size - sent])
        sent += min(len(chunk), size - sent)
        assert len(splitter.buffer) <= HEAD_MOST + most
    packets += splitter.feed(b"\xd0\x00")
    assert packets[1] == b"\xd0\x00"
    assert packets[0].length == size
    assert most <= len(packets[0].payload) <= most + HEAD_MOST
    assert packets[0].packet_id == 7


@pytest.mark.parametrize(
    "wrong",
    [
        b"\x30\xff\xff\xff\xff\x01",
        b"\x36\x05\x00\x01a\x00\x01",
        b"\x32\x05\x00\x01a\x00\x00",
        b"\x30\x03\x00\x09a",
        b"\x30\x02\x00\x00",
        b"\x30\x04\x00\x01a\x7f",
        b"\x90" + varint(OTHER_MOST + 1),
    ],
)
def test_nonsense_is_refused(wrong):
    with pytest.raises(Malformed):
        Splitter(5, 100).feed(wrong)


@settings(deadline=None)
@given(st.binary(max_size=300), st.sampled_from([4, 5]))
def test_any_bytes_are_packets_or_malformed(data, version):
    splitter = Splitter(version, 100)
    with suppress(Malformed):
        assert all(splitter.feed(data))


# The ledger


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


# The contest


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


# paho


def test_the_names_of_paho_that_are_overridden_or_called_are_as_they_were():
    """protocols/mqtt/engine.py stands on these; another version of paho must be looked at."""
    for name, arguments in {
        "_create_socket": ["self"],
        "_send_pubrec": ["self", "mid"],
        "_send_pingreq": ["self"],
    }.items():
        assert list(inspect.signature(getattr(paho.Client, name)).parameters) == arguments
    assert "self._last_mid += 1" in inspect.getsource(paho.Client._mid_generate)
    assert "self._sock = self._create_socket()" in inspect.getsource(paho.Client.reconnect)


def test_certificate_faults_have_words():
    for code, said in ((10, "expired"), (20, "authority"), (62, "another name"), (99, "cannot be trusted")):
        wrong = ssl.SSLCertVerificationError()
        wrong.verify_code, wrong.verify_message = code, "something"
        assert said in words.unreachable(wrong)
