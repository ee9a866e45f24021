"""Percentiles: exact while everything is there, near it afterwards, and always the same for the same log."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.quantiles import EXACT, FRACTIONS, Sketch, weighted

N = 200_000
RANDOM = np.random.default_rng(3)
ORDERS = {
    "normal": RANDOM.normal(20, 3, N),
    "rising": np.arange(N, dtype=float),
    "falling": -np.arange(N, dtype=float),
    "saw": np.arange(N) % 1000 / 7,
    "steps": np.repeat(RANDOM.normal(size=N // 100), 100),
    "lognormal": RANDOM.lognormal(0, 3, N),
    "two values": RANDOM.integers(0, 2, N).astype(float),
    "alternating": np.where(np.arange(N) % 2, 1e6, 1.0) + RANDOM.normal(size=N),
}


@pytest.mark.parametrize("portion", [10, 600, 6000])
@pytest.mark.parametrize("order", ORDERS)
def test_the_rank_is_off_by_less_than_one_percent(order, portion):
    values = ORDERS[order]
    sketch = Sketch()
    for at in range(0, N, portion):
        sketch.add(np.sort(values[at : at + portion]))
    held, weights = sketch.items()
    assert weights.sum() == N
    assert len(held) < 1200
    ordered = np.sort(values)
    for fraction, found in zip(FRACTIONS, weighted(held, weights), strict=True):
        below, above = np.searchsorted(ordered, [found, found], "left")[0], np.searchsorted(ordered, found, "right")
        assert below / N - 0.01 <= fraction <= above / N + 0.01


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=EXACT), st.integers(1, 40))
def test_up_to_a_bound_it_is_exact(values, portion):
    sketch = Sketch()
    for at in range(0, len(values), portion):
        sketch.add(np.array(values[at : at + portion]))
    assert weighted(*sketch.items()) == pytest.approx([np.percentile(values, 100 * f) for f in FRACTIONS], rel=1e-12)


def test_the_same_portions_lead_to_the_same_sketch():
    one, other = Sketch(), Sketch()
    for at in range(0, 20_000, 77):
        one.add(ORDERS["normal"][at : at + 77])
        other.add(ORDERS["normal"][at : at + 77])
        # As it comes back from a snapshot.
        other = Sketch([level.copy() for level in other.levels], other.parity)
    assert np.array_equal(one.items()[0], other.items()[0])
