"""Plans of reads: every point once, whole, within the limits, across no cut; and a refused read falls apart to the culprit."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from protocols.load import validated
from protocols.modbus.addresses import Table
from protocols.modbus.plan import Cut, Limits, border, halves, hole, plan, read_of, signals

KINDS = ["int16", "uint32", "float64", {"type": "string", "length": 30}]


def adapter(points):
    base = {"id": "a", "protocol": "modbus_tcp", "host": "h", "defaults": {"asset": "press"}}
    return validated({**base, "points": [{"parameter": f"p{n}", **point} for n, point in enumerate(points)]})


def register(address, kind="int16", table="holding"):
    return {"table": table, "address": address, **(kind if isinstance(kind, dict) else {"type": kind})}


REGISTER = st.builds(register, st.integers(0, 400), st.sampled_from(KINDS), st.sampled_from(["holding", "input"]))
COIL = st.builds(lambda address: {"table": "coil", "address": address}, st.integers(0, 6000))
POINTS = st.lists(st.one_of(REGISTER, COIL), min_size=1, max_size=60)
LIMITS = st.builds(Limits, st.integers(15, 125), st.integers(1, 2000), st.integers(0, 20))
CUTS = st.lists(
    st.builds(lambda at, width: Cut(Table.holding, at, at + width), st.integers(0, 400), st.integers(0, 3)), max_size=5
)


@given(POINTS, LIMITS, CUTS)
def test_a_plan_keeps_its_promises(points, limits, cuts):
    wanted = signals(adapter(points))
    reads = plan(wanted, limits, cuts)
    assert Counter(s for read in reads for s in read.signals) == Counter(wanted), "every point exactly once"
    for read in reads:
        assert read.count <= limits.most(read.table)
        assert read.start == min(s.start for s in read.signals)
        assert read.start + read.count == max(s.end for s in read.signals), (
            "points are whole, and nothing is read beyond them"
        )
        assert {s.table for s in read.signals} == {read.table}
        reached = read.start
        for signal in read.signals:
            assert signal.start - reached <= limits.gap_of(read.table), "no gap over the limit"
            reached = max(reached, signal.end)
        if len(read.signals) > 1:
            assert not [cut for cut in cuts if cut.table is read.table and crossed(cut, read)]


def crossed(cut, read):
    if cut.start == cut.end:
        return read.signals[0].start < cut.start <= read.signals[-1].start
    return read.start < cut.end and read.start + read.count > cut.start


@given(POINTS, LIMITS)
def test_neighbours_are_not_read_apart_without_need(points, limits):
    reads = plan(signals(adapter(points)), limits)
    for one, other in pairwise(reads):
        if one.table is other.table:
            first = other.signals[0]
            too_far = first.start - (one.start + one.count) > limits.gap_of(one.table)
            too_long = max(first.end, one.start + one.count) - one.start > limits.most(one.table)
            assert too_far or too_long


def test_contiguous_overlapping_and_nearby_points_share_one_read():
    points = [
        register(100, "float32"),
        register(102),
        register(102, {"bit": 3}),
        register(110, "uint32"),
        register(101),
    ]
    (read,) = plan(signals(adapter(points)), Limits(125, 2000, 8))
    assert (read.start, read.count, len(read.signals)) == (100, 12, 5)


def test_a_gap_over_the_limit_parts_them():
    reads = plan(signals(adapter([register(100), register(110)])), Limits(125, 2000, 8))
    assert [(read.start, read.count) for read in reads] == [(100, 1), (110, 1)]


def test_the_order_of_the_configuration_does_not_matter():
    points = [register(n) for n in range(0, 300, 3)]
    forward = plan(signals(adapter(points)), Limits(125, 2000, 8))
    backward = plan(signals(adapter(points[::-1])), Limits(125, 2000, 8))
    assert [(r.start, r.count) for r in forward] == [(r.start, r.count) for r in backward]


@given(st.lists(REGISTER, min_size=2, max_size=40))
def test_halves_hold_the_same_points(points):
    wanted = sorted(
        (s for s in signals(adapter(points)) if s.table is Table.holding), key=lambda s: (s.start, s.end, s.number)
    )
    if len(wanted) < 2:
        return
    left, right = halves(read_of(wanted))
    assert left.signals + right.signals == tuple(wanted)
    assert left.signals
    assert right.signals


def test_around_a_parked_point_and_a_border_the_rest_stays_merged():
    wanted = signals(adapter([register(n) for n in range(20)]))
    parked = wanted[7]
    reads = plan(
        [s for s in wanted if s is not parked], Limits(125, 2000, 8), [hole(parked), border(read_of(wanted[12:]))]
    )
    assert [(read.start, read.count) for read in reads] == [(0, 7), (8, 4), (12, 8)]
