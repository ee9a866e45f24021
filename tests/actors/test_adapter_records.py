"""From readings to parcels: topics, keys, changes, silence, and nothing that disappears without a word."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from actors.adapter_hold import Held, Hold
from actors.adapter_records import RecordMaker
from protocols.contract import Batch, Point, Reading, Reject
from schemas.records import Classification, Quality, Series
from stream.codec import Codec, SchemaIds
from stream.partitions import Partitioner
from tests.kit.messages import messages

NOW = 1_769_688_000_000_000
FORCE = Point("press", "force", "kN")
DOOR = Point("press", "door", None, Classification.EVENT)
SMOKE = Point("hall", "smoke", None, Classification.ALARM)
GOOD, BAD = Quality.GOOD, Quality.BAD


@pytest.fixture
def maker():
    return RecordMaker(("plc", "1.0.0", "g1"), "data_path/adapters/plc", SchemaIds(), 12, "v1")


def decoded(encoded):
    """(topic, value, quality name, reason) of every reading, and the documents."""
    codec, rows, documents = Codec(SchemaIds()), [], []
    for parcel in encoded.parcels:
        found = codec.decode(parcel.topic, parcel.partition, messages(parcel.values))
        documents += found.documents
        for records in found.records:
            rows += [
                (parcel.topic, records.value(i), Quality(records.quality[i]).name, records.reason.get(i))
                for i in range(len(records))
            ]
    return rows, documents


def batch(*readings, rejects=()):
    return Batch([Reading(*r) if isinstance(r, tuple) else r for r in readings], NOW, list(rejects))


def test_classification_decides_the_topic_and_the_asset_the_partition(maker):
    encoded = maker.encode(batch((FORCE, 1.5), (DOOR, True), (SMOKE, False)))
    assert {(p.topic, p.partition, p.keys[0], p.timestamps_ms) for p in encoded.parcels} == {
        (topic, Partitioner(12)(asset), asset, NOW // 1000)
        for topic, asset in [("telemetry.raw", b"press"), ("events.raw", b"press"), ("alarms.raw", b"hall")]
    }
    assert encoded.readings == 3


def test_a_record_says_everything(maker):
    codec = Codec(SchemaIds())
    parcel = maker.encode(batch(Reading(FORCE, 1.5, NOW - 5, Quality.UNCERTAIN, "drifts", b"\1\2"))).parcels[0]
    records = codec.decode("t", 0, messages(parcel.values)).records[0]
    assert records.table == [Series("press", "force", "kN", Classification.TELEMETRY, "plc", "1.0.0", None, "g1")]
    assert (records.device_time[0], records.gateway_time[0], records.value(0)) == (NOW - 5, NOW, 1.5)
    assert records.reason == {0: "drifts"}
    assert parcel.values[0].endswith(b"\1\2")


def gateway_times(encoded):
    found = (Codec(SchemaIds()).decode(p.topic, p.partition, messages(p.values)).records for p in encoded.parcels)
    return [int(at) for records in found for r in records for at in r.gateway_time]


def test_readings_without_a_device_time_that_come_together_stay_several(maker):
    """A database tells them apart by asset, parameter and time only: the messages that a broker kept come hundreds in one batch."""
    given = [(FORCE, float(n)) for n in range(3)] + [Reading(FORCE, 9.0, NOW - 7)]
    assert gateway_times(maker.encode(batch(*given))) == [NOW, NOW + 1, NOW + 2, NOW]
    assert gateway_times(maker.encode(batch((FORCE, 3.0)))) == [NOW + 3]


def test_they_stay_several_beside_one_that_cannot_be_written(maker):
    encoded = maker.encode(batch((FORCE, 1.0), (FORCE, "\ud800"), (FORCE, 2.0)))
    assert len(set(gateway_times(encoded))) == 2
    assert sum(encoded.rejects.values()) == 1


def test_telemetry_is_sent_always_events_when_they_change(maker):
    said = [maker.encode(batch((FORCE, 1.0), (DOOR, value))) for value in (True, True, False, False, True)]
    assert [e.readings for e in said] == [2, 1, 2, 1, 2]
    assert sum(e.unchanged for e in said) == 2


@pytest.mark.parametrize(("before", "after"), [(1, True), (1, 1.0), (None, 0), ("", None), (0.0, math.nan)])
def test_a_change_of_kind_is_a_change(maker, before, after):
    maker.encode(batch((DOOR, before)))
    assert maker.encode(batch((DOOR, after))).readings == 1


def test_nan_does_not_change_into_nan(maker):
    maker.encode(batch((DOOR, math.nan)))
    assert maker.encode(batch((DOOR, math.nan))).readings == 0


def test_a_change_of_status_is_an_event(maker):
    maker.encode(batch((DOOR, True)))
    assert maker.encode(batch(Reading(DOOR, True, None, BAD, "sensor"))).readings == 1
    assert maker.encode(batch((DOOR, True))).readings == 1


def test_a_lost_source_says_bad_once_for_each_point(maker):
    maker.encode(batch((FORCE, 1.0), Reading(DOOR, None, None, BAD, "broken")))
    first = maker.encode(maker.lost([FORCE, DOOR, SMOKE], "source lost: gone", NOW))
    rows, _ = decoded(first)
    assert sorted(rows) == [
        ("alarms.raw", None, "BAD", "source lost: gone"),
        ("telemetry.raw", None, "BAD", "source lost: gone (before: GOOD)"),
    ]
    assert maker.lost([FORCE, DOOR, SMOKE], "still", NOW).readings == []
    maker.encode(batch((FORCE, 1.0)))
    assert [r.point for r in maker.lost([FORCE, DOOR], "again", NOW).readings] == [FORCE]


def test_bad_without_a_value_is_not_repeated_unless_the_reason_changes(maker):
    said = [maker.encode(batch(Reading(FORCE, None, None, BAD, why))).readings for why in ("a", "a", "b", "b")]
    assert said == [1, 0, 1, 0]
    assert maker.encode(batch((FORCE, 2.0))).readings == 1


@pytest.mark.parametrize("value", [2**63, "\ud800", [1], b"raw"])
def test_a_value_that_cannot_be_written_is_rejected_and_the_others_sent(maker, value):
    encoded = maker.encode(batch((FORCE, 1.0), (FORCE, value), (FORCE, 2.0)))
    rows, letters = decoded(encoded)
    assert [row[1] for row in rows] == [1.0, 2.0]
    assert encoded.rejects == {"encode": 1}
    assert letters[0].topic == "dlq.telemetry"
    assert letters[0].fields["asset_id"] == "press"
    assert "press force: " in letters[0].fields["reason"]


@pytest.mark.parametrize("point", [Point("\udcff", "p"), Point("a", "p", None, Classification.LOG)])
def test_a_point_that_cannot_be_written_is_rejected(maker, point):
    rows, letters = decoded(maker.encode(batch((point, 1.0), (FORCE, 1.0))))
    assert len(rows) == len(letters) == 1


def test_a_record_too_large_for_the_stream_is_a_dead_letter_with_its_beginning(maker):
    rows, letters = decoded(maker.encode(batch((FORCE, "x" * 1_100_000), (FORCE, "y"))))
    assert [row[1] for row in rows] == ["y"]
    assert letters[0].fields["rule"] == "too_large"
    assert len(letters[0].fields["original"]) == 900_000
    assert "only the first 900000" in letters[0].fields["reason"]


def test_rejects_keep_their_payload(maker):
    reject = Reject("payload", "no number: \udcff", b"\xff\x00", "press", None)
    encoded = maker.encode(batch(rejects=[reject, reject]))
    _, letters = decoded(encoded)
    assert encoded.rejects == {"payload": 2}
    expected = {
        "original": b"\xff\x00",
        "stage": "data_path/adapters/plc",
        "rule": "payload",
        "offset": -1,
        "config_version": "v1",
    }
    assert expected.items() <= letters[0].fields.items()


def test_points_made_anew_for_each_reading_are_the_same_point(maker):
    for _ in range(3):
        encoded = maker.encode(batch((Point("press", "door", None, Classification.EVENT), True)))
    assert encoded.readings == 0


async def test_the_hold_counts_until_it_is_acknowledged():
    hold = Hold(readings_max=10, bytes_max=1000)
    delivered = Counter()
    for name in "abc":
        hold.add(Held([], 4, 100, 0, lambda name=name: delivered.update(name)))
    assert hold.full
    taken = await hold.take()
    assert len(taken) == 3
    assert hold.fill == 1.2
    hold.done(taken)
    assert (hold.readings, hold.size, hold.full) == (0, 0, False)
    await hold.empty()
    await hold.room()
