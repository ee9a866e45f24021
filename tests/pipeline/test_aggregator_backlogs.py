"""Points of one partition that are not equally far: each is judged by its own clock, whatever its neighbours hand over before it."""

import base64

import numpy as np
import pytest

from pipeline.aggregator import BEHIND_MOST
from pipeline.packing import pack, unpack
from tests.kit.readings import SECOND, Row
from tests.pipeline.aggregator_log import BEGIN, DAY, Log, at

_HEAD = b"SFA1"
OLD = (
    "Q$|5oM*si-cmV-50?Pe+B4}k{WMy(9I(vOAB4clCb!~2QB05`JB4}k{WFjmge04D*EL$=&IbB^WTOw$0b#ikpF)$)5B7Ai*A}m`nH8ovbU42tV"
    "K`}xB004LaZBWZ<!!Qs`FCpYJmL6rWz_h6e<U@=Pa=fuc^(c~+&?fnneq(OAcBKRxOa}?HGqdch&d{T1(Ls3zBQ$y_s|vmxdJha5sM%BrsA~qn"
    "$RW8*P>Ml!ik|6Bj=i$`Pbm4@N5m$7A_*Sb|CHW3`D4u}y%%FsgS|A=lrw0h8@^*en)p04&IH|{qe$fN*l9E=A1S>Jk>~l9W?L1sd93G^9ca6)"
    "EPz!7EmgrFH705^Qb(ae;tmscP@;<;a|!(6tFJGF#SHf>%YHfME7D#`Thm?6JoEBK*b%mbKZ=oOyi-O&F>3(;0C)kdl1*;HFc5{!CY88CcTSgH"
    "K^IX}DcmE9kf9URk{uVvK?1~zV{rpcl4XuSa29dL3o3<?7oN}a#?L<|`UCtM3{6jGMz>lvs;X(4=d_mEQbxZ-LRr2j3f3db4Q9KBOJN1nV=eo1"
    ")xX>bdl<2U680dy+M%yF`g+IqTs8wN9|o37M-}ku(b2KNl+p?+=gNZ;c#WCT0V;(Fm<*Lwqc&i$YbRb?p#Yz;?-20fOlAZ{l4#wwaXg<#5h48`"
    "@2Fx*Iz#(KuWUZW*h{tDv&f!>Z>Q_B%+K*0um2|x@BQz)ugK+gRqb2+G5mu&j4i1g=UM!V"
)
"""What the aggregator's `snapshot` was as long as it had one clock for a partition."""


class Newest(Log):
    """As a reader of the topics sees it: of each window the newest count."""

    def __init__(self, **options):
        self.counts: dict[tuple[str, str, float], int] = {}
        self.counted: dict[str, int] = {}
        super().__init__(**options)

    def windows(self, outputs):
        for name, n in outputs.counters.items():
            self.counted[name] = self.counted.get(name, 0) + n
        for document in outputs.documents:
            f = document.fields
            start = (f["window_start"] - BEGIN) / SECOND
            self.counts[f["interval"], f["parameter"], start] = f["count"]
        return super().windows(outputs)

    def lost(self) -> dict[str, int]:
        return {name: n for name, n in self.counted.items() if not name.startswith("late_total")}

    def of(self, interval: str, parameter: str) -> dict[float, int]:
        return {start: n for (i, p, start), n in self.counts.items() if (i, p) == (interval, parameter)}


def twice_a_second(parameter: str, begin: int, end: int) -> list[Row]:
    return [at(half / 2, parameter=parameter) for half in range(2 * begin, 2 * end)]


def test_a_point_that_is_behind_its_neighbour_is_not_late():
    log = Newest()
    log.read(*twice_a_second("a", 0, 30), *twice_a_second("b", 0, 30))
    log.read(*twice_a_second("a", 30, 1800))
    log.read(*twice_a_second("b", 30, 1800))
    log.tick(DAY)
    assert log.lost() == {}
    for parameter in "ab":
        assert log.of("1s", parameter) == dict.fromkeys(range(1800), 2)
        assert log.of("1min", parameter) == {60 * n: 120 for n in range(30)}
        assert log.of("1hour", parameter) == {0: 3600}


def test_a_reading_is_late_by_its_own_points_clock_however_far_back_the_neighbour_is():
    log = Newest(intervals=["1s"])
    log.read(at(0, parameter="b"), at(100, parameter="a"), at(10, parameter="a"))
    assert log.lost() == {'too_late_total{interval="1s"}': 1}
    log.read(at(50, parameter="a"), at(1, parameter="b"), at(0.5, parameter="b"))
    assert log.lost() == {'too_late_total{interval="1s"}': 1}


def test_the_hour_of_a_point_that_is_behind_takes_its_readings_hours_later():
    log = Newest(intervals=["1hour"])
    log.read(*twice_a_second("b", 0, 600))
    log.read(*[at(float(second), parameter="a") for second in range(0, 20 * 3600, 60)])
    assert log.of("1hour", "b") == {0: 1200}
    log.read(*twice_a_second("b", 600, 3700))
    log.tick(2 * DAY)
    assert log.of("1hour", "b") == {0: 7200, 3600: 200}
    assert log.lost() == {}


def test_a_point_that_was_waited_for_a_day_never_writes_a_part_over_a_whole():
    log = Newest()
    log.read(*twice_a_second("b", 0, 90))
    log.read(*[at(float(second), parameter="a") for second in range(0, DAY + 300, 60)])
    whole = {interval: log.of(interval, "b") for interval in ("1s", "10s", "1min", "1hour")}
    assert whole["1min"] == {0: 120, 60: 60}
    # Its minute and its hour are closed, what follows them is not.
    log.read(*twice_a_second("b", 90, 3660))
    log.tick(2 * DAY)
    assert log.lost() == {
        'too_late_total{interval="1s"}': 60,
        'too_late_total{interval="10s"}': 60,
        'too_late_total{interval="1min"}': 60,
        'too_late_total{interval="1hour"}': 2 * (3600 - 90),
    }
    assert log.of("1hour", "b") == whole["1hour"] | {3600: 120}
    assert log.of("1min", "b") == whole["1min"] | {60 * n: 120 for n in range(2, 61)}
    assert log.of("1s", "b") == whole["1s"] | dict.fromkeys(range(120, 3660), 2)


def test_a_long_backlog_takes_no_more_memory_than_allowed_though_the_clock_stands():
    log = Newest(readings_max=1000)
    log.read(at(0, parameter="b"), at(0.5, parameter="b"), at(3000, parameter="a"))
    for begin in range(1, 3000, 50):
        log.read(*twice_a_second("b", begin, min(begin + 50, 3000)))
        assert len(log.stage._shards[0].recent) <= 1000
    log.tick(DAY)
    assert log.lost() == {}
    assert log.of("1s", "b") == dict.fromkeys(range(3000), 2)
    assert log.of("1hour", "b") == {0: 6000}


def test_held_readings_of_hours_ago_do_not_start_the_clock_anew():
    log = Newest(intervals=["1min"])
    log.read(at(0, parameter="b"), at(5 * 3600, parameter="a"))
    log.read(*[at(float(second), parameter="b") for second in range(1, 60 + 2 * BEHIND_MOST)])
    log.tick(DAY)
    assert log.lost() == {}
    assert log.of("1min", "b")[60] == 60


def test_a_device_whose_clock_is_an_hour_behind_has_windows_beside_one_that_goes_right():
    log = Newest(intervals=["1s", "1hour"])
    for second in range(4000, 4300):
        log.read(
            at(second, parameter="a"), at(second - 3600, parameter="b", late=3600), at(second + 0.5, parameter="a")
        )
    log.tick(DAY)
    assert log.lost() == {}
    assert log.of("1s", "b") == dict.fromkeys(range(400, 700), 1)
    assert log.of("1hour", "b") == {0: 300}


def test_a_snapshot_from_before_there_were_clocks_lets_nothing_be_written_in_part():
    """`a` had come each 20 s up to 600 s, and `b` each second up to 5 s; of all points was folded away what ends at 540 s or before."""
    log = Newest()
    log.stage.restore(0, base64.b85decode(OLD))
    log.read(*[at(second, parameter="a") for second in range(620, 720, 20)])
    log.read(*[at(second, parameter="b") for second in range(6, 700)])
    log.tick(DAY)
    assert log.lost() == {f'too_late_total{{interval="{name}"}}': 540 - 6 for name in ("1s", "10s", "1min")}
    assert log.of("1s", "b") == dict.fromkeys(range(540, 700), 1)
    assert log.of("1min", "b") == {540: 60, 600: 60, 660: 40}
    # Their hour stood still, and has taken all.
    assert log.of("1hour", "b") == {0: 700}
    assert log.of("1hour", "a") == {0: 36}


def test_a_snapshot_with_too_few_clocks_is_a_value_error():
    log = Log()
    log.read(at(0, parameter="a"), at(0, parameter="b"))
    parts = log.stage.snapshot_parts(0, ())
    head, columns = unpack(_HEAD, parts["head"])
    columns["folded"] = np.zeros(1, np.int64)
    with pytest.raises(ValueError, match="has 1 of folded; right would be one for each of 2"):
        log.stage.restore_parts(0, {**parts, "head": pack(_HEAD, head, columns)})
