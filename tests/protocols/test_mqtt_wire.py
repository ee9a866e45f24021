"""Packets out of a byte stream, what may be acknowledged, and who contests our client id: the pure parts of the connection."""

from __future__ import annotations

import inspect
import ssl
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt import _packet
from paho.mqtt import client as paho
from paho.mqtt.enums import MQTTProtocolVersion

from protocols.mqtt import words
from protocols.mqtt.frames import HEAD_MOST, OTHER_MOST, Malformed, Publish, Splitter


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
