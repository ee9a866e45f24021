"""State goes into bytes and comes back the same; anything else is refused with words."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.packing import pack, unpack

COLUMN = arrays.arrays(
    st.sampled_from(["u1", "i4", "i8", "f8", "?"]), arrays.array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=20)
)


@given(
    header=st.dictionaries(st.text(), st.integers() | st.text() | st.none()),
    columns=st.dictionaries(st.text(max_size=8), COLUMN),
)
def test_what_was_packed_is_unpacked(header, columns):
    found, kept = unpack(b"TST1", pack(b"TST1", header, columns))
    assert found == header
    assert kept.keys() == columns.keys()
    for name, column in columns.items():
        assert kept[name].dtype == column.dtype
        np.testing.assert_array_equal(kept[name], column)


GOOD = pack(b"TST1", {"a": 1}, {"x": np.arange(100)})


@pytest.mark.parametrize(
    ("packed", "words"),
    [
        (b"", "not a snapshot"),
        (b"TST2" + GOOD[4:], "begins with b'TST2'"),
        (GOOD[:-9], "not a snapshot"),
        (GOOD[:8] + b"junk", "not a snapshot"),
        (b"TST1\xff\xff\xff\x7f" + GOOD[8:], "not a snapshot"),
    ],
)
def test_anything_else_is_refused(packed, words):
    with pytest.raises(ValueError, match=words):
        unpack(b"TST1", packed)


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_a_flipped_byte_is_a_value_error_or_harmless(at, flip):
    broken = bytearray(GOOD)
    broken[at] ^= flip
    assert unpacked_or_refused(bytes(broken))


def unpacked_or_refused(packed):
    """Two dicts, or words that say what is wrong; any other error is the test's."""
    try:
        return list(map(type, unpack(b"TST1", packed))) == [dict, dict]
    except ValueError as wrong:
        return str(wrong)
