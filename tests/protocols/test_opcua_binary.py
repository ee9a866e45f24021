"""The decoder of answers: byte for byte what asyncua encodes, and never anything but Malformed or Refused for nonsense."""

from __future__ import annotations

import struct
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary
from hypothesis import given
from hypothesis import strategies as st

from protocols.opcua import binary
from tests.kit.opcua_values import data_value

KIND = ua.VariantType
_1601 = datetime(1601, 1, 1, tzinfo=UTC)


def scalars(kind, values):
    return st.tuples(st.just(kind), values)


SCALARS = st.one_of(
    scalars(KIND.Boolean, st.booleans()),
    *(
        scalars(getattr(KIND, f"Int{bits}"), st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1))
        for bits in (16, 32, 64)
    ),
    *(scalars(getattr(KIND, f"UInt{bits}"), st.integers(0, 2**bits - 1)) for bits in (16, 32, 64)),
    scalars(KIND.SByte, st.integers(-128, 127)),
    scalars(KIND.Byte, st.integers(0, 255)),
    scalars(KIND.Double, st.floats(allow_nan=False)),
    scalars(KIND.Float, st.floats(width=32, allow_nan=False)),
    scalars(KIND.String, st.text()),
)
TIMES = st.none() | st.datetimes(datetime(1970, 1, 1), datetime(2500, 1, 1)).map(lambda t: t.replace(tzinfo=UTC))  # noqa: DTZ001 - strategies want naive bounds


def ticks(at):
    return None if at is None else (at - _1601) // timedelta(microseconds=1) * 10


@given(SCALARS, st.sampled_from([0, 0x40900000, 0x80340000, 0x480]), TIMES, TIMES)
def test_scalars_as_asyncua_encodes_them(scalar, status, source, server):
    kind, value = scalar
    sent = struct_to_binary(ua.DataValue(ua.Variant(value, kind), ua.StatusCode(status), source, server))
    assert data_value(sent) == (kind.value, value, None, status, ticks(source), ticks(server), sent)


@given(SCALARS, st.integers(0, 5))
def test_arrays_are_stepped_over_and_one_element_is_kept(scalar, length):
    kind, value = scalar
    sent = struct_to_binary(ua.DataValue(ua.Variant([value] * length, kind, is_array=True)))
    found = data_value(sent)
    assert (found.kind, found.length) == (kind.value, length)
    assert found.value == (value if length == 1 else None)


ARRAYS = st.one_of(
    st.tuples(st.just(KIND.String), st.lists(st.text(), min_size=2)),
    st.tuples(st.just(KIND.Boolean), st.lists(st.booleans(), min_size=2)),
    st.tuples(st.just(KIND.Int16), st.lists(st.integers(-(2**15), 2**15 - 1), min_size=2)),
    st.tuples(st.just(KIND.Double), st.lists(st.floats(allow_nan=False), min_size=2)),
)


@given(ARRAYS, st.data())
def test_an_element_of_a_whole_array_is_the_one_that_a_server_cuts_out(array, data):
    kind, values = array
    index = data.draw(st.integers(0, len(values) - 1))
    whole = data_value(struct_to_binary(ua.DataValue(ua.Variant(values, kind, is_array=True))))
    cut = data_value(struct_to_binary(ua.DataValue(ua.Variant([values[index]], kind, is_array=True))))
    assert binary.element(whole, index) == cut._replace(raw=whole.raw)
    assert binary.element(whole, len(values)) is None


def test_a_matrix_is_not_taken_for_a_row():
    two_by_two = b"\x01\xcb" + struct.pack("<i4di2i", 4, 1.0, 2.0, 3.0, 4.0, 2, 2, 2)
    assert binary.element(data_value(two_by_two), 1) is None


@pytest.mark.parametrize(
    ("variant", "kind", "value"),
    [
        (ua.Variant(ua.EUInformation()), "Structure", None),
        (ua.Variant(ua.NodeId(5)), "NodeId", "i=5"),
        (ua.Variant(ua.NodeId(70000, 3)), "NodeId", "ns=3;i=70000"),
        (ua.Variant(ua.NodeId(uuid.UUID(int=1), 2)), "NodeId", "ns=2;g=00000000-0000-0000-0000-000000000001"),
        (ua.Variant(ua.QualifiedName("n", 2)), "QualifiedName", "n"),
        (ua.Variant(ua.LocalizedText("t", "en")), "LocalizedText", "t"),
        (ua.Variant(ua.StatusCode(0x80340000)), "StatusCode", 0x80340000),
        (ua.Variant(ua.DataValue(ua.Variant(1.0)), KIND.DataValue), "DataValue", None),
        (ua.Variant([ua.Variant(1), ua.Variant("x")], KIND.Variant), "Variant", None),
        (ua.Variant([ua.LocalizedText("a"), ua.LocalizedText("b", "de")]), "LocalizedText", None),
        (ua.Variant([ua.EUInformation(), ua.Range(0, 1)]), "Structure", None),
        (ua.Variant([[1, 2], [3, 4]]), "Int64", None),
        (ua.Variant(None, KIND.String), "String", None),
        (ua.Variant(None), "Null", None),
    ],
    ids=str,
)
def test_every_other_type_ends_where_it_should(variant, kind, value):
    sent = struct_to_binary(ua.DataValue(variant, ua.StatusCode(0x40000000), datetime(2026, 1, 1, tzinfo=UTC)))
    found = data_value(sent)
    assert (binary.KINDS[found.kind], found.value, found.status) == (kind, value, 0x40000000)
    assert found.raw == sent


def test_picoseconds_stand_behind_their_own_time():
    """OPC 10000-6 section 5.2.2.17; asyncua 2.1 reads them in another order."""
    sent = struct.pack("<BBdIqHqH", 0x3F, 11, 1.5, 0, 111, 7, 222, 8)
    assert data_value(sent)[:6] == (11, 1.5, None, 0, 111, 222)
    text = struct.pack("<BBi1sIqHqH", 0x3F, 12, 1, b"x", 0, 111, 7, 222, 8)
    assert data_value(text)[:6] == (12, "x", None, 0, 111, 222)


def publish_response(*values, status_change=None):
    response = ua.PublishResponse()
    response.ResponseHeader.StringTable = ["a", None]
    response.Parameters.SubscriptionId, response.Parameters.AvailableSequenceNumbers = 7, [8, 9]
    response.Parameters.MoreNotifications = True
    message = response.Parameters.NotificationMessage
    message.SequenceNumber = 9
    if values:
        items = [ua.MonitoredItemNotification(handle, value) for handle, value in values]
        message.NotificationData.append(ua.DataChangeNotification(MonitoredItems=items))
    if status_change is not None:
        message.NotificationData.append(ua.StatusChangeNotification(Status=ua.StatusCode(status_change)))
    return struct_to_binary(response)


def test_a_notification():
    sent = publish_response(
        (0, ua.DataValue(ua.Variant(1.5))), (300, ua.DataValue(ua.Variant("x"))), status_change=0x800A0000
    )
    found = binary.publish_response(sent)
    assert (found.subscription, found.more, found.notification.sequence) == (7, True, 9)
    assert [(handle, value.value) for handle, value in found.notification.changes] == [(0, 1.5), (300, "x")]
    assert (found.notification.status_change, found.notification.keep_alive) == (0x800A0000, False)


def test_a_keep_alive():
    assert binary.publish_response(publish_response()).notification.keep_alive


def test_events_in_a_message_are_stepped_over():
    response = ua.PublishResponse()
    response.Parameters.NotificationMessage.NotificationData = [ua.EventNotificationList(Events=[])]
    assert binary.publish_response(struct_to_binary(response)).notification.changes == []


def test_a_bad_service_result_is_refused_with_its_code():
    response = ua.ReadResponse()
    response.ResponseHeader.ServiceResult = ua.StatusCode(ua.StatusCodes.BadTooManyOperations)
    with pytest.raises(binary.Refused, match="BadTooManyOperations") as refused:
        binary.read_response(struct_to_binary(response))
    assert refused.value.code == ua.StatusCodes.BadTooManyOperations


@given(st.integers(0, 10_000), st.integers(0, 255), st.integers(0, 10_000))
def test_a_damaged_answer_is_malformed_and_nothing_else(place, byte, cut):
    sent = bytearray(publish_response((1, ua.DataValue(ua.Variant("text"))), (2, ua.DataValue(ua.Variant([1, 2, 3])))))
    sent[place % len(sent)] = byte
    assert decoded_or_refused(binary.publish_response, bytes(sent))
    assert decoded_or_refused(binary.publish_response, bytes(sent[: cut % len(sent)]))


@given(st.binary(max_size=200))
def test_nonsense_is_malformed_and_nothing_else(nonsense):
    for decode in (binary.publish_response, binary.republish_response, binary.read_response, data_value):
        assert decoded_or_refused(decode, nonsense)


def decoded_or_refused(decode, octets):
    """Something decoded, or words that say why not; any other error is the test's."""
    try:
        return decode(octets) is not None
    except (binary.Malformed, binary.Refused) as refused:
        return str(refused)


def test_deep_nesting_and_large_counts_cost_nothing():
    with pytest.raises(binary.Malformed, match="deep"):
        data_value(b"\x01" + b"\x18" * 5000)
    with pytest.raises(binary.Malformed, match="elements"):
        data_value(b"\x01\x80" + struct.pack("<i", 2**31 - 1))
