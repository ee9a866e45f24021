"""What the stream is told: one BAD for a point that fails, changes only where that is wanted, and the raw words."""

from __future__ import annotations

import struct

import pytest

from protocols.load import validated
from protocols.modbus.plan import Limits, plan, signals
from protocols.modbus.report import Answered, Failed, Report
from schemas.records import Quality

ASKED, CAME = 1_000_000, 1_003_000


class Device:
    """A report over the given points, fed with the values of their registers."""

    def __init__(self, *points, time="poll"):
        base = {"id": "a", "protocol": "modbus_tcp", "host": "h", "defaults": {"asset": "press"}, "time": time}
        given = [
            {"parameter": f"p{n}", "address": 40001 + n, "type": "int16", **point} for n, point in enumerate(points)
        ]
        self.signals = tuple(signals(validated({**base, "points": given})))
        (self.read,) = plan(self.signals, Limits(125, 2000, 8))
        self.report = Report(self.signals, with_time=time == "poll")

    def says(self, *numbers, now=0.0):
        answer = Answered(self.read, struct.pack(f">{len(numbers)}h", *numbers), ASKED, CAME)
        return self.report.readings([answer], now)

    def fails(self, reason="no answer", told=False):
        return self.report.readings([Failed(self.signals, reason, CAME, told)], 0.0)


def values(readings):
    return [reading.value for reading in readings]


def test_every_reading_is_sent_with_its_words_and_the_middle_of_the_request():
    (reading,) = Device({}).says(-2)
    assert (reading.value, reading.raw, reading.status) == (-2, b"\xff\xfe", Quality.GOOD)
    assert reading.device_time == (ASKED + CAME) // 2


def test_time_none_leaves_the_device_time_out():
    device = Device({}, time="none")
    assert device.says(1)[0].device_time is None
    assert device.fails()[0].device_time is None


def test_telemetry_is_sent_again_although_nothing_changed():
    device = Device({})
    assert values(device.says(5) + device.says(5)) == [5, 5]


@pytest.mark.parametrize("classification", ["EVENT", "ALARM", "LOG"])
def test_events_are_sent_when_they_change(classification):
    device = Device({"bit": 0, "type": "bool", "classification": classification})
    assert values(device.says(1) + device.says(1) + device.says(3) + device.says(0)) == [True, False]
    assert device.report.suppressed == 2


@pytest.mark.parametrize("deadband", [2, "10%"])
def test_within_the_deadband_of_the_last_one_sent_nothing_is_sent(deadband):
    device = Device({"deadband": deadband, "range": [0, 20]})
    sent = [values(device.says(number)) for number in (10, 11, 12, 13, 12, 11, 10)]
    assert sent == [[10], [], [], [13], [], [], [10]], (
        "slow drift must not escape: the distance is from the last one sent"
    )
    assert device.report.suppressed == 4


def test_deadband_zero_sends_changes():
    device = Device({"deadband": 0})
    assert [values(device.says(n)) for n in (1, 1, 2)] == [[1], [], [2]]


def test_an_unchanged_reading_is_sent_when_it_is_overdue():
    device = Device({"deadband": 5, "at_least_every": "60s"})
    assert [values(device.says(1, now=now)) for now in (0, 59, 60, 61, 120)] == [[1], [], [1], [], [1]]


def test_only_the_quiet_points_of_a_read_are_held_back():
    device = Device({}, {"deadband": 5}, {})
    device.says(1, 1, 1)
    assert values(device.says(1, 2, 3)) == [1, 3]


def test_a_failing_point_is_bad_once_and_then_silent_until_it_is_good_again():
    device = Device({}, {"deadband": 5})
    device.says(1, 1)
    bad = device.fails("no answer")
    assert [(r.status, r.reason, r.value) for r in bad] == [(Quality.BAD, "no answer", None)] * 2
    assert device.fails("no answer") == []
    assert device.fails("still no answer") == []
    assert values(device.says(1, 1)) == [1, 1], "GOOD after BAD is sent, deadband or not"
    assert len(device.fails()) == 2


def test_after_the_caller_said_that_all_is_lost_silence_is_not_said_again():
    device = Device({}, {"deadband": 5})
    device.says(1, 1)
    device.report.lost("gone")
    assert device.fails("no answer") == []
    assert values(device.says(1, 1)) == [1, 1]


def test_what_the_device_itself_says_is_told_after_a_loss():
    device = Device({})
    device.report.lost("gone")
    assert [r.reason for r in device.fails("exception 2", told=True)] == ["exception 2"]
    assert device.fails("exception 2", told=True) == []


def test_a_value_that_cannot_be_trusted_is_bad_with_its_words():
    device = Device({"type": "float32"})
    (reading,) = device.report.readings([Answered(device.read, bytes.fromhex("7FC00000"), ASKED, CAME)], 0.0)
    assert (reading.status, reading.raw) == (Quality.BAD, bytes.fromhex("7FC00000"))
    assert "NaN" in reading.reason


def test_under_a_deadband_a_repeated_nan_is_one_reading_and_the_way_back_is_another():
    device = Device({"type": "float32", "deadband": 1})
    nan, one = bytes.fromhex("7FC00000"), struct.pack(">f", 1.0)
    sent = [
        device.report.readings([Answered(device.read, words, ASKED, CAME)], 0.0) for words in (one, nan, nan, one, one)
    ]
    assert [len(readings) for readings in sent] == [1, 1, 0, 1, 0]


NAN = (0x7FC0, 0)


def test_a_value_that_is_none_is_trouble_until_the_device_sends_one_or_is_lost():
    device = Device({"type": "float32"})
    device.says(*NAN)
    assert [why.said for why in device.report.trouble.values()] == ["the device sent NaN: not a number"]
    device.says(0x4000, 0)
    assert device.report.trouble == {}
    device.fails("exception 4", told=True)
    assert [why.said for why in device.report.trouble.values()] == ["exception 4"]
    device.report.lost("gone")
    assert device.report.trouble == {}
