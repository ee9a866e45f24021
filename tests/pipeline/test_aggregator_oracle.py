"""Whatever is late, cut into batches, crashed and replayed: the newest document of each window says what its readings say."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.aggregator import Aggregator
from schemas.records import Quality
from tests.kit.readings import SECOND, START, Batches, Row
from tests.pipeline.naive_aggregator import NaiveAggregator, figures

FAR = START + 10**6 * SECOND


def rows(steps, arrivals) -> st.SearchStrategy[list[Row]]:
    """A log: device time goes on by steps, may lie back or ahead of arrival; arrival mostly goes on."""

    def build(parts) -> list[Row]:
        made, now = [], START
        for step, back, value, quality, parameter, timed in parts:
            now = max(now + step, START - 10**5 * SECOND)
            time = now - back
            made.append(
                Row(value, time if timed else None, gateway_time=now, arrived=now, quality=quality, parameter=parameter)
            )
        return made

    part = st.tuples(
        steps,
        arrivals,
        st.one_of(st.floats(-1e3, 1e3), st.integers(-5, 5), st.booleans(), st.sampled_from(["on", float("nan")])),
        st.sampled_from([Quality.GOOD, Quality.GOOD, Quality.SUSPECT, Quality.UNCERTAIN]),
        st.sampled_from("ab"),
        st.sampled_from([True, True, True, False]),
    )
    return st.lists(part, min_size=1, max_size=120).map(build)


STEPS = st.sampled_from([0, SECOND // 10, SECOND // 2, SECOND, 4 * SECOND, 25 * SECOND, 90 * SECOND, 1900 * SECOND])
BACK = st.sampled_from([0, 0, 0, 0, SECOND // 3, 2 * SECOND, 14 * SECOND, 70 * SECOND, 1500 * SECOND, 4000 * SECOND, -SECOND, -9 * SECOND, -100 * SECOND, FAR])


class Newest:
    """The newest document of each window, as a reader of the topics would see them."""

    def __init__(self) -> None:
        self.documents: dict[tuple[str, str, int], dict] = {}
        self.counters: dict[str, int] = {}

    def see(self, outputs, count: bool = True) -> None:
        for document in outputs.documents:
            f = document.fields
            assert document.topic == f"telemetry.{f['interval']}"
            self.documents[f["interval"], f["parameter"], f["window_start"]] = f
        for name, n in outputs.counters.items():
            self.counters[name] = self.counters.get(name, 0) + n


def quiet(aggregator: Aggregator, newest: Newest) -> None:
    """Let time pass until everything is due."""
    for seconds in (0, 3, 10, 8000):
        newest.see(aggregator.tick(FAR * 2 + seconds * SECOND))


@st.composite
def lives(draw, steps=STEPS, arrivals=BACK, **options):
    log = draw(rows(steps, arrivals))
    place = st.integers(0, len(log))
    return log, sorted(draw(st.lists(place, max_size=6))), draw(st.lists(st.tuples(place, place), max_size=2)), draw(st.booleans())


def live(make, log, cuts, crashes, ticks) -> Newest:
    """Read the log in batches cut at `cuts`. For each (snapshot, crash): a new process takes the snapshot of that place when the
    first had come to the crash, replays up to there in one batch with the outputs thrown away, and goes on."""
    newest, aggregator, batches, at = Newest(), make(), Batches(), 0
    snapshots: dict[int, bytes] = {0: b""}
    crashes = {max(pair): min(pair) for pair in crashes}
    for end in sorted({*cuts, *crashes, *crashes.values(), len(log)}):
        if end > at:
            newest.see(aggregator.step(0, batches.of(log[at:end]), 0))
        at = end
        snapshots[at] = aggregator.snapshot(0)
        if ticks:
            for seconds in (0, 3):
                newest.see(aggregator.tick(log[max(0, at - 1)].got + seconds * SECOND))
        if at in crashes:
            begin = crashes[at]
            aggregator, batches = make(), Batches()
            aggregator.restore(0, snapshots[begin])
            if at > begin:
                aggregator.step(0, batches.of(log[begin:at]), 0)
    quiet(aggregator, newest)
    return newest


def same(found: dict, wanted: dict, where) -> None:
    for name, value in wanted.items():
        if isinstance(value, float):
            assert found[name] == pytest.approx(value, rel=1e-9, abs=1e-7), (where, name)
        else:
            assert found[name] == value, (where, name)


@settings(max_examples=150, deadline=None)
@given(life=lives(), lateness=st.sampled_from([0, 0.5, 5, 60, 1000]))
def test_newest_documents_say_what_the_readings_say(life, lateness):
    log, cuts, crashes, ticks = life
    naive = NaiveAggregator(lateness)
    for row in log:
        naive.take(row)
    newest = live(lambda: Aggregator(lateness_s=lateness), log, cuts, crashes, ticks)
    assert newest.documents.keys() == naive.windows.keys()
    for where, readings in naive.windows.items():
        same(newest.documents[where], figures(readings), where)
    assert newest.counters == naive.counters


@settings(max_examples=100, deadline=None)
@given(life=lives(steps=st.sampled_from([0, SECOND, 20 * SECOND, -9000 * SECOND, 40 * SECOND])), most=st.sampled_from([1, 5, 20]))
def test_batches_and_crashes_change_nothing_even_when_memory_is_short(life, most):
    log, cuts, crashes, ticks = life
    make = lambda: Aggregator(lateness_s=60, readings_max=most, points_max=1 if most == 5 else 10)  # noqa: E731
    whole = live(make, log, [], [], False)
    cut = live(make, log, cuts, crashes, ticks)
    assert cut.counters == whole.counters
    assert cut.documents.keys() == whole.documents.keys()
    for where, fields in whole.documents.items():
        same(cut.documents[where], fields, where)
