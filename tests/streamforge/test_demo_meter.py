"""The demo's line for the terminal, of a gateway in any state."""

from contextlib import contextmanager

from streamforge.demo.meter import Meter

TREE = {"id": "demo", "role": "root", "children": []}
SINK = {"readings_rate": 12.0, "latency_p50_ms": None}


class Gateway:
    """Stands for the demo's parts, and for its gateway's answers."""

    def __init__(self, lag):
        flow = {"adapters": [{"rate": 13.0}], "sinks": [{**SINK, "lag": lag}]}
        self._answers = {"/health": {"status": "HEALTHY", "reason": ""}, "/api/v1/flow": flow, "/api/v1/tree": TREE}

    @contextmanager
    def gateway(self):
        yield self

    def get(self, path):
        return self._answers[path]


def test_it_says_how_much_waits():
    assert "stored     12/s  waiting     3 " in Meter(Gateway(lag=3), begun=0).line(1)


def test_a_sink_that_does_not_know_yet_what_waits_ends_no_demo():
    assert "stored     12/s  waiting     - " in Meter(Gateway(lag=None), begun=0).line(1)
