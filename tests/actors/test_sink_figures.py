"""Latency is what a reading needed from its arrival until it was stored, in this run of the gateway."""

import numpy as np
import pytest

from actors.context import Context
from actors.sink_figures import GATEWAY_STARTED_US, Latency

S = 1_000_000


@pytest.fixture
def context():
    return Context("data_path/sinks/historian", {})


def test_what_an_earlier_run_left_waiting_counts_as_waiting_not_as_latency(context):
    latency = Latency(context)
    latency.stored(np.array([GATEWAY_STARTED_US - 3600 * S] * 1000), GATEWAY_STARTED_US + 10 * S)
    latency.publish()
    assert (context.counters, context.gauges) == ({}, {})
    latency.stored(
        np.array([GATEWAY_STARTED_US - 3600 * S, GATEWAY_STARTED_US + 9 * S]), GATEWAY_STARTED_US + 9 * S + 180_000
    )
    latency.publish()
    assert context.counters == {'latency_ms_total{upto="200"}': 1}
    assert context.gauges == {"latency_p50_ms": 180.0, "latency_p99_ms": 180.0}


def test_a_destination_that_was_away_counts(context):
    latency = Latency(context)
    latency.stored(np.array([GATEWAY_STARTED_US + S]), GATEWAY_STARTED_US + 41 * S)
    assert context.counters == {'latency_ms_total{upto="60000"}': 1}
