"""Whole reads decode as their points do one by one, whatever stands beside or across each other."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.modbus.config import WORDS, ModbusPoint
from protocols.modbus.decode import LONG_MAX, BitDecoder, RegisterDecoder, decode

CODES = {
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "int64": "q",
    "uint64": "Q",
    "float32": "f",
    "float64": "d",
}
ORDERS = st.sampled_from(["big", "little"])


def point(**given):
    return ModbusPoint.model_validate({"parameter": "p", "address": 40001, **given})


def words_of(number, kind, byte_order, word_order):
    """The other direction, written apart from the code under test: words most significant first, then turned as told."""
    packed = struct.pack(">" + CODES[kind], number)
    words = [packed[at : at + 2] for at in range(0, len(packed), 2)]
    words = words[::-1] if word_order == "little" else words
    return b"".join(word[::-1] if byte_order == "little" else word for word in words)


def numbers(kind):
    if kind.startswith("float"):
        return st.floats(width=int(kind[5:]), allow_nan=False, allow_infinity=False)
    bits = int(kind.removeprefix("u")[3:])
    return (
        st.integers(0, min(2**bits - 1, LONG_MAX))
        if kind[0] == "u"
        else st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    )


@given(st.data(), st.sampled_from(list(WORDS)), ORDERS, ORDERS)
def test_every_number_comes_back_from_every_order(data, kind, byte_order, word_order):
    number = data.draw(numbers(kind))
    value, problem = decode(
        point(type=kind, byte_order=byte_order, word_order=word_order), words_of(number, kind, byte_order, word_order)
    )
    assert problem is None
    assert value == number
    assert type(value) is type(number)


SOMETHING = st.one_of(
    st.builds(
        lambda t, b, w: {"type": t, "byte_order": b, "word_order": w}, st.sampled_from(list(WORDS)), ORDERS, ORDERS
    ),
    st.builds(
        lambda t, b, w: {"type": t, "scale": 0.5, "byte_order": b, "word_order": w},
        st.sampled_from(list(WORDS)),
        ORDERS,
        ORDERS,
    ),
    st.builds(
        lambda n, b: {"type": "string", "length": n, "encoding": "latin-1", "byte_order": b}, st.integers(1, 12), ORDERS
    ),
    st.builds(lambda bit, b: {"bit": bit, "byte_order": b}, st.integers(0, 15), ORDERS),
    st.builds(lambda bit, w: {"bits": [3, bit], "type": "uint32", "word_order": w}, st.integers(3, 31), ORDERS),
)


@given(
    st.lists(st.tuples(SOMETHING, st.integers(0, 50)), min_size=1, max_size=30), st.binary(min_size=130, max_size=130)
)
def test_a_read_decodes_as_its_points_one_by_one(wanted, payload):
    places = sorted(((point(**given), start) for given, start in wanted), key=lambda place: place[1])
    found = RegisterDecoder(places)(payload)
    for i, (one, start) in enumerate(places):
        words = payload[2 * start : 2 * (start + one.count)]
        value, problem = decode(one, words)
        assert found.raws[i] == words
        assert found.problems.get(i) == problem
        assert found.values[i] == value or (math.isnan(found.values[i]) and math.isnan(value))
        assert type(found.values[i]) is type(value)


@given(st.lists(st.integers(0, 1999), min_size=1, unique=True), st.binary(min_size=250, max_size=250))
def test_coils_are_counted_from_the_lowest_bit(places, payload):
    found = BitDecoder(places)(payload)
    bits = "".join(f"{byte:08b}"[::-1] for byte in payload)
    assert found.values == [bits[place] == "1" for place in places]
    assert found.raws == [bytes([int(bits[place])]) for place in places]


def test_one_nan_among_many_floats_is_found():
    places = [(point(type="float32"), 2 * n) for n in range(62)]
    found = RegisterDecoder(places)(struct.pack(">62f", *([1.0] * 40), math.nan, *([1.0] * 20), math.inf))
    assert found.problems == {40: "the device sent NaN: not a number", 61: "the device sent inf: not a finite number"}


def test_large_floats_whose_sum_overflows_are_no_problem():
    places = [(point(type="float64"), 4 * n) for n in range(3)]
    assert RegisterDecoder(places)(struct.pack(">3d", 1.7e308, 1.7e308, -1.7e308)).problems == {}


def test_a_scale_that_overflows_is_said():
    value, problem = decode(point(type="float64", scale=1e300), struct.pack(">d", 1e300))
    assert math.isinf(value)
    assert problem


@pytest.mark.parametrize("kind", ["int16", "uint32", "int64"])
def test_whole_numbers_stay_whole_without_scale_and_become_floats_with(kind):
    words = words_of(3, kind, "big", "big")
    assert type(decode(point(type=kind), words)[0]) is int
    assert type(decode(point(type=kind, scale=1), words)[0]) is float
    assert type(decode(point(type=kind, offset=1), words)[0]) is float


@pytest.mark.parametrize(
    ("kind", "number", "more", "value"),
    [
        ("uint16", 273, {"scale": 0.1}, 27.3),
        ("int16", 7, {"scale": 0.7}, 4.9),
        ("int32", -123456789, {"scale": 0.001}, -123456.789),
        ("uint16", 3, {"scale": 0.1, "offset": -0.3}, 0.0),
        ("int64", 2**53 + 2, {"scale": 1}, float(2**53 + 2)),
        ("int64", 10**18 + 1, {"scale": 0.001, "offset": 0.5}, 1000000000000000.501),
        ("uint64", 2**64 - 1, {"scale": 1e-9}, 18446744073.709551615),
        ("int32", 5, {"scale": 1e300}, 5e300),
    ],
)
def test_a_scaled_whole_number_is_the_float_nearest_to_what_the_digits_say(kind, number, more, value):
    assert decode(point(type=kind, **more), struct.pack(">" + CODES[kind], number)) == (value, None)
