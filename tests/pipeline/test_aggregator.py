"""When windows are written, and again, and no more; that they say the right thing is test_aggregator_oracle.py's."""

import numpy as np
import pytest

from pipeline.aggregator import Aggregator
from schemas.records import Quality
from tests.kit.readings import SECOND, Row
from tests.pipeline.aggregator_log import BEGIN, DAY, Log, at


def test_a_window_is_written_when_the_clock_passes_its_end():
    log = Log()
    assert log.read(at(0), at(0.5), at(0.9)) == []
    assert log.read(at(1.2)) == [("1s", 0, 3)]
    assert log.read(at(12)) == [("1s", 1, 1), ("10s", 0, 4)]
    assert log.read(at(61)) == [("1s", 12, 1), ("10s", 10, 1), ("1min", 0, 5)]
    assert ("1hour", 0, 6) in log.read(at(3601))


def test_a_document_says_everything():
    log = Log()
    log.read(at(0, 1.0, unit="bar"), at(0.2, 4.0, unit="bar", quality=Quality.SUSPECT), at(0.1, 2.0, unit="bar"), at(1))
    (document,) = log.documents
    assert (document.topic, document.key, document.schema) == ("telemetry.1s", b"press", "aggregate")
    fields = document.fields
    assert fields.pop("stddev") == pytest.approx(np.std([1, 2, 4]))
    assert fields == {
        "asset_id": "press", "parameter": "temperature", "unit": None, "interval": "1s", "gateway_id": "gw",
        "window_start": BEGIN, "window_end": BEGIN + SECOND, "count": 3, "avg": pytest.approx(7 / 3), "min": 1.0, "max": 4.0,
        "p50": 2.0, "p95": pytest.approx(3.8), "p99": pytest.approx(3.96), "first": 1.0, "last": 4.0,
        "good": 2, "suspect": 1, "uncertain": 0, "bad": 0, "percent_good": pytest.approx(200 / 3),
    }  # fmt: skip


def test_strings_are_counted_and_booleans_are_zero_and_one():
    log = Log(intervals=["1s"])
    log.read(at(0, "on"), at(0.1, "off"), at(0, True, parameter="b"), at(0.1, False, parameter="b"), at(1))
    text, flag = (document.fields for document in log.documents)
    assert (text["count"], text["avg"], text["p50"], text["first"]) == (2, None, None, None)
    assert (flag["count"], flag["avg"], flag["min"], flag["max"], flag["last"]) == (2, 0.5, 0.0, 1.0, 0.0)


def test_equal_values_have_no_spread_however_large():
    log = Log(intervals=["1s"])
    log.read(*[at(i / 1000, 1e9 + 0.1) for i in range(1000)], at(1))
    assert (log.documents[0].fields["stddev"], log.documents[0].fields["avg"]) == (0.0, 1e9 + 0.1)


def test_a_late_reading_writes_its_windows_again_whole_until_they_are_too_old():
    log = Log(lateness_s=60)
    log.read(at(1), at(30))
    assert log.read(at(1.5), at(31)) == [("1s", 1, 2), ("1s", 30, 1)]
    assert log.counters == {'late_total{interval="1s"}': 1, 'late_total{interval="10s"}': 1}
    # All changes of ten seconds at once: the 10 s window follows with the next five seconds.
    assert log.read(at(36)) == [("1s", 31, 1), ("10s", 0, 2)]
    assert log.read(at(61.9)) == [("1s", 36, 1), ("10s", 30, 3), ("1min", 0, 5)]
    # A minute after its end the second takes no more, its ten seconds and its minute do.
    log.read(at(62.1))
    assert log.read(at(1.7)) == []
    assert log.counters == {
        'too_late_total{interval="1s"}': 1,
        'late_total{interval="10s"}': 1,
        'late_total{interval="1min"}': 1,
    }
    assert log.read(at(70)) == [("1s", 62, 1), ("10s", 0, 3), ("10s", 60, 2), ("1min", 0, 6)]


def test_readings_of_old_hours_are_too_late_for_all():
    log = Log()
    log.read(at(4000))
    log.read(at(0))
    assert log.counters == {f'too_late_total{{interval="{name}"}}': 1 for name in ("1s", "10s", "1min", "1hour")}


def test_a_device_clock_in_the_future_closes_nothing_and_opens_nothing():
    log = Log()
    ahead = Row(1.0, BEGIN + 10**9 * SECOND, gateway_time=BEGIN, arrived=BEGIN)
    assert log.read(at(0), *[ahead] * 50) == []
    assert log.counters == {"ahead_total": 50}
    assert log.read(at(1.1)) == [("1s", 0, 51)]
    # A little ahead is taken at its word; but only arrival moves the clock.
    assert log.read(at(9, late=-7)) == [("1s", 1, 1)]
    assert log.read(at(10)) == [("1s", 9, 1), ("10s", 0, 53)]


@pytest.mark.parametrize("time", [-(2**63) + 1, -1, 0, 2**63 - 1])
def test_any_sixty_four_bits_may_be_a_time(time):
    log = Log()
    log.read(at(0), Row(1.0, time, gateway_time=BEGIN, arrived=BEGIN), at(5))
    assert sum(log.counters.values()) in (1, 4)


def test_windows_are_written_by_the_wall_clock_when_nothing_comes():
    log = Log(intervals=["1s", "10s"])
    log.read(at(3.5))
    assert log.tick(5.9) == []
    assert log.tick(6.1) == [("1s", 3, 1)]
    assert log.tick(7) == []
    assert log.tick(12.5) == [("10s", 0, 1)]
    # What was written so is not written again, unless it has changed.
    assert log.read(at(20)) == []
    log.read(at(23.5))
    log.tick(40)
    assert log.read(at(23.7), at(41)) == [("1s", 23, 2), ("10s", 20, 3)]


def test_a_delayed_reading_is_not_forgotten_when_it_is_the_last():
    log = Log(intervals=["1s"])
    log.read(at(1))
    log.tick(20)
    assert log.read(at(5.5, late=15)) == []
    assert log.tick(24) == [("1s", 5, 1)]


def test_while_the_log_moves_the_wall_clock_writes_nothing():
    log = Log(intervals=["1s", "1hour"])
    for second in range(20):
        log.read(at(second))
        # A backlog: these readings are an hour old.
        assert log.windows(log.stage.tick(BEGIN + (3600 + second) * SECOND)) == []


def test_a_replay_in_one_batch_does_not_take_for_written_what_was_not():
    """The first run had written window 0 before the late reading came; the replay sees both at once."""
    log = Log(intervals=["10s"])
    log.read(at(1), at(12))
    snapshot = log.stage.snapshot(0)
    since = [at(15.2), at(2), at(16.1)]
    for row in since:
        assert log.read(row) == []
    again = Log(intervals=["10s"])
    again.stage.restore(0, snapshot)
    again.read(*since)
    assert again.read(at(20.1)) == log.read(at(20.1)) == [("10s", 0, 2), ("10s", 10, 3)]


def test_memory_is_bounded_by_giving_up_lateness():
    log = Log(lateness_s=3600, readings_max=1000)
    log.read(*[at(i / 10, float(i)) for i in range(2000)])
    assert len(log.stage._shards[0].recent) < 1700
    assert log.counters["lateness_cut_total"] >= 1
    log.read(at(30))
    assert log.counters == {f'too_late_total{{interval="{name}"}}': 1 for name in ("1s", "10s", "1min")}


def test_points_beyond_the_bound_are_counted():
    log = Log(points_max=2)
    log.read(*[at(0, parameter=name) for name in "abcc"])
    assert log.counters == {"points_over_total": 2}


def test_points_make_room_when_they_are_waited_for_no_longer():
    log = Log(points_max=2, intervals=["1s"])
    log.read(at(0, parameter="a"), at(0, parameter="b"))
    log.read(at(DAY - 100, parameter="b"))
    log.read(at(DAY - 99, parameter="c"))
    assert log.counters == {"points_over_total": 1}
    log.read(at(DAY + 100, parameter="b"))
    log.read(at(DAY + 101, parameter="c"))
    assert log.counters == {}


def test_a_point_that_comes_back_in_the_batch_that_makes_room_keeps_its_name():
    log = Log(points_max=2, intervals=["1s"])
    log.read(at(0, parameter="a"), at(0, parameter="b"))
    log.read(at(DAY + 100, parameter="b"), at(DAY + 101, parameter="a"), at(DAY + 102, parameter="b"))
    assert [document.fields["parameter"] for document in log.documents] == ["a", "b", "a", "b"]


def test_the_snapshot_of_a_thousand_points_is_bounded_and_mostly_stands_already():
    rng = np.random.default_rng(5)
    log = Log()
    parameters = [f"p{i}" for i in range(1000)]

    def second(n: int) -> None:
        log.stage.step(
            0,
            log.batches.of(
                [
                    at(n + i / 2000, float(v), parameter=p)
                    for i, (p, v) in enumerate(zip(parameters, rng.normal(size=1000), strict=True))
                ]
            ),
            0,
        )

    for n in range(3540, 3700):
        second(n)
    parts = log.stage.snapshot_parts(0, ())
    assert sum(map(len, parts.values())) < 8 * 2**20
    second(3700)
    again = log.stage.snapshot_parts(0, parts)
    assert sum(len(part) for part in again.values() if part is not None) < 200_000
    other = Aggregator()
    other.restore_parts(0, parts)
    assert other.snapshot_parts(0, ()) == parts


def test_a_part_that_is_missing_is_a_value_error():
    log = Log()
    log.read(*[at(i / 100) for i in range(20_000)])
    parts = log.stage.snapshot_parts(0, ())
    assert len(parts) == 3
    for name in parts:
        with pytest.raises(ValueError, match="snapshot"):
            Aggregator().restore_parts(0, {n: p for n, p in parts.items() if n != name})
