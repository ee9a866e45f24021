"""The demo's line for the terminal, of a gateway in any state, and how long it waits for the last readings."""

from contextlib import contextmanager
from pathlib import Path

import pytest

from streamforge.demo import meter
from streamforge.demo.meter import Meter
from streamforge.demo.parts import DemoFailed

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


class Draining:
    """Stands for the demo's parts: at each look `step` more readings of those that wait are stored."""

    data = Path("/demo")

    def __init__(self, waiting, step):
        self._waiting, self._step, self._stored = waiting, step, 0

    def check(self):
        return None

    @contextmanager
    def gateway(self):
        yield self

    def get(self, _path):
        moved = min(self._step, self._waiting)
        self._waiting, self._stored = self._waiting - moved, self._stored + moved
        sink = {
            "id": "demo/data_path/sinks/historian", "role": "worker", "status": "HEALTHY", "pid": 1, "children": [],
            "gauges": {"lag": self._waiting}, "counters": {"stored_total": self._stored}, "facts": {},
        }  # fmt: skip
        return {"id": "demo", "role": "root", "children": [sink]}


@pytest.fixture
def looks_often(monkeypatch):
    monkeypatch.setattr(meter, "LOOK_EVERY_S", 0.01)


def test_a_slow_machine_gets_its_time_as_long_as_something_moves(looks_often):
    Meter(Draining(waiting=150, step=1), begun=0).wait_until_drained(1, 60)


def test_where_nothing_moves_the_demo_says_what_waits(looks_often):
    with pytest.raises(DemoFailed, match="not drained: historian is HEALTHY, lag 5; its words are in /demo"):
        Meter(Draining(waiting=5, step=0), begun=0).wait_until_drained(0.2, 60)


def test_what_never_comes_to_an_end_is_not_waited_for_for_ever(looks_often):
    with pytest.raises(DemoFailed, match="not drained: historian is HEALTHY, lag"):
        Meter(Draining(waiting=10**9, step=1), begun=0).wait_until_drained(60, 0.5)
