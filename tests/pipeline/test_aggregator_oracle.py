"""Whatever is late, cut into batches, crashed and replayed: the newest document of each window says what its readings say."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.aggregator import BEHIND_MOST, Aggregator
from pipeline.intervals import INTERVALS
from schemas.records import Quality
from tests.kit.readings import SECOND, START, Batches, Row
from tests.pipeline.naive_aggregator import NaiveAggregator, figures

FAR = 10**6 * SECOND
VALUES = [1, -3, 2.5, 1e3, -0.1, True, False, "on", float("nan"), float("inf")]
QUALITIES = [Quality.GOOD, Quality.GOOD, Quality.SUSPECT, Quality.UNCERTAIN]

PROFILES = {
    # Steps between arrivals and how far device times lie back, both in tenths of a second.
    "dense": ([0, 0, 1, 3, 10], [0, 0, 0, 0, 3, 12, 60, 140]),
    "minutes": ([0, 10, 40, 150], [0, 0, 0, 20, 130, 700, -10, -90]),
    "hours": ([0, 10, 900, 6000, 19000], [0, 0, 0, 30, 700, 15000, 40000, -1000, -(10**8), 10**8]),
}


def log_of(random: Random, profile: str, size: int) -> list[Row]:
    steps, backs = PROFILES[profile]
    made, now = [], START
    for _ in range(size):
        now += random.choice(steps) * SECOND // 10
        time = now - random.choice(backs) * SECOND // 10
        made.append(
            Row(
                random.choice(VALUES),
                time if random.random() < 0.9 else None,
                gateway_time=now,
                arrived=now,
                quality=random.choice(QUALITIES),
                parameter=random.choice("ab"),
            )
        )
    return made


def uneven_log(random: Random, outage_s: int, jitter_s: float) -> list[Row]:
    """Points that come in turn, but for `outage_s` seconds: what there was in these is handed over afterwards, by one a little and
    then by another, each in its own order."""
    began = random.randrange(150) * SECOND
    ended = began + outage_s * SECOND
    held: dict[str, list[Row]] = {}
    before, after = [], []
    for parameter, period in (("a", 10), ("b", 25), ("c", 65), ("d", 15)):
        # The last one is not there yet when the stream goes away.
        begin = random.randrange(period * SECOND) if parameter < "d" else began
        for at in range(begin, ended + random.choice([0, 90, 700]) * SECOND, period * SECOND):
            # Two in one second or across its end.
            for got in (START + at, START + at + SECOND // 2):
                time = got - int(random.random() * jitter_s * SECOND)
                row = Row(random.choice(VALUES), time, got, quality=random.choice(QUALITIES), parameter=parameter)
                (before if at < began else held.setdefault(parameter, []) if at < ended else after).append(row)
    handed = []
    while held:
        parameter = random.choice(list(held))
        n = random.choice([1, 10, 100, 1000])
        handed += held[parameter][:n]
        held[parameter] = held[parameter][n:]
        if not held[parameter]:
            del held[parameter]
    return [*sorted(before, key=lambda row: row.got), *handed, *sorted(after, key=lambda row: row.got)]


class Newest:
    """The newest document of each window, as a reader of the topics would see them."""

    def __init__(self) -> None:
        self.documents: dict[tuple[str, str, int], dict] = {}
        self.counters: dict[str, int] = {}

    def see(self, outputs) -> None:
        for document in outputs.documents:
            f = document.fields
            assert document.topic == f"telemetry.{f['interval']}"
            self.documents[f["interval"], f["parameter"], f["window_start"]] = f
        for name, n in outputs.counters.items():
            self.counters[name] = self.counters.get(name, 0) + n


def live(make, random: Random, log: list[Row], ticks: bool) -> tuple[Newest, Aggregator]:
    """Read the log in random batches. Now and then a new process takes an older snapshot, replays from there to where the first had
    come in batches of its own with the outputs thrown away, and goes on."""
    newest, aggregator, batches = Newest(), make(), Batches()
    snapshots, at = {0: b""}, 0
    while at < len(log):
        end = min(len(log), at + random.choice([1, 2, 5, 30, 100]))
        newest.see(aggregator.step(0, batches.of(log[at:end]), 0))
        at = end
        if random.random() < 0.3:
            snapshots[at] = aggregator.snapshot(0)
        if ticks and random.random() < 0.5:
            for seconds in (0, 3):
                newest.see(aggregator.tick(log[at - 1].got + seconds * SECOND))
        if random.random() < 0.2:
            begin = random.choice(list(snapshots))
            aggregator, batches = make(), Batches()
            aggregator.restore(0, snapshots[begin])
            while begin < at:
                end = min(at, begin + random.choice([3, 50, 500]))
                aggregator.step(0, batches.of(log[begin:end]), 0)
                begin = end
    # Let time pass until everything is due.
    for seconds in (0, 3, 10, 8000):
        newest.see(aggregator.tick(START + 2 * FAR + seconds * SECOND))
    return newest, aggregator


def hours(aggregator: Aggregator) -> bytes:
    parts = aggregator.snapshot_parts(0, ())
    return next(part for name, part in parts.items() if name.startswith("hours-"))


def same(found: dict, wanted: dict, where) -> None:
    for name, value in wanted.items():
        if isinstance(value, float):
            assert found[name] == pytest.approx(value, rel=1e-9, abs=1e-7), (where, name)
        else:
            assert found[name] == value, (where, name)


def check(random: Random, log: list[Row], lateness: float, ticks: bool, readings_max: int) -> Newest:
    naive = NaiveAggregator(lateness, readings_max)
    for row in log:
        naive.take(row)

    def make() -> Aggregator:
        return Aggregator(lateness_s=lateness, readings_max=readings_max)

    newest, worn = live(make, random, log, ticks)
    assert newest.documents.keys() == naive.windows.keys()
    for where, readings in naive.windows.items():
        same(newest.documents[where], figures(readings), where)
    assert newest.counters == naive.counters
    # The folded figures are the same to the last bit as if the log had been read at once.
    fresh = make()
    fresh.step(0, Batches().of(log), 0)
    assert hours(worn) == hours(fresh)
    return newest


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    profile=st.sampled_from(list(PROFILES)),
    size=st.integers(1, 300),
    lateness=st.sampled_from([0, 0.5, 5, 60, 1000]),
    ticks=st.booleans(),
    readings_max=st.sampled_from([5, 40, 10**6]),
)
def test_newest_documents_say_what_the_readings_say(seed, profile, size, lateness, ticks, readings_max):
    random = Random(seed)
    newest = check(random, log_of(random, profile, size), lateness, ticks, readings_max)
    assert all(found["count"] >= 1 for found in newest.documents.values()), "no document speaks of nothing"


def test_a_gateway_clock_that_was_far_ahead_does_not_silence_the_partition():
    random = Random(1)
    ahead = [Row(1.0, START + FAR + at * SECOND) for at in range(20)]
    # Some of the old time come in between and must not count together.
    some = [Row(1.0, START + at * SECOND) for at in range(BEHIND_MOST - 1)]
    some += [Row(1.0, START + FAR + 50 * SECOND)] * 250
    back = [Row(float(at), START + at * SECOND) for at in range(BEHIND_MOST + 500)]
    newest = check(random, ahead + some + back, 60, False, 10**6)
    assert newest.counters["clock_resets_total"] == 1
    assert newest.counters['too_late_total{interval="1s"}'] == 2 * (BEHIND_MOST - 1)
    assert newest.documents["1s", "temperature", START + 400 * SECOND]["avg"] == 400


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    outage_min=st.integers(2, 30),
    lateness=st.sampled_from([0, 5, 60]),
    ticks=st.booleans(),
    readings_max=st.sampled_from([40, 300, 10**6]),
)
def test_unevenly_handed_over_backlogs_are_counted_whole(seed, outage_min, lateness, ticks, readings_max):
    random = Random(seed)
    log = uneven_log(random, outage_min * 60, lateness / 2)
    newest = check(random, log, lateness, ticks, readings_max)
    if readings_max > len(log):
        truth = Counter(
            (interval.name, row.parameter, row.device_time // interval.length * interval.length)
            for interval in INTERVALS
            for row in log
        )
        assert {where: found["count"] for where, found in newest.documents.items()} == truth
