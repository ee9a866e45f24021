"""The demo's comparison must notice every way in which something can get lost, doubled or changed, and name it with an example."""

import math
from random import Random

import numpy as np
import pytest

from pipeline.aggregator import Aggregator
from schemas.records import NO_TIME, Classification, Kind, Records, Series
from streamforge.demo.judge import Found, judge
from streamforge.demo.seen import FIGURES, WINDOW, Event, Names, Seen, pack, pack_stored, pack_window

S = 1_000_000
BEGIN = 1_700_000_000 * S
POINTS = [("press", "temp"), ("press", "strokes"), ("press", "state")]
LONG = 2**60 + 1
"""More than a double can hold."""


def records(n, topic="telemetry.clean", seed=1):
    """n readings, ten a second of each of three points: doubles (with a NaN and an infinity among them), longs and texts."""
    rng, at = Random(seed), np.arange(n)
    table = [Series(*point, None, Classification.TELEMETRY, "plc", "1", None, "gw") for point in POINTS]
    series = (at % 3).astype(np.int32)
    kind = np.array([Kind.DOUBLE, Kind.LONG, Kind.STRING], np.uint8)[series]
    number = np.array([rng.gauss(50, 9) for _ in range(n)])
    number[series == 1] = np.rint(number[series == 1])
    number[series == 2] = np.nan
    number[30], number[33] = math.nan, math.inf
    text = {int(row): rng.choice(("RUNNING", "STANDBY")) for row in np.flatnonzero(series == 2)}
    time = BEGIN + at // 3 * (S // 10)
    device = np.where(series == 1, NO_TIME, time)  # one whose gateway time stands for it
    quality = np.where(at % 50 == 7, 1, 0).astype(np.uint8)
    whole = {31: LONG}
    number[31] = float(LONG)
    return Records(
        topic, 0, table, at.astype(np.int64), time + 4000, series, device, time + 1000, kind, number, quality, [b""] * n, text, whole
    )  # fmt: skip


def emissions(readings):
    """What the real aggregator makes of them, the last windows by a tick."""
    stage = Aggregator(("1s", "10s"))
    found = stage.step(0, readings, BEGIN).documents
    now = int(readings.arrived[-1])
    for seconds in (1, 4, 20):
        found += stage.tick(now + seconds * S).documents
    return found


def stored_rows(readings):
    """As the database's cursor gives them; 1, 2 and 3 are its ids of the points."""
    times = np.where(readings.device_time == NO_TIME, readings.gateway_time, readings.device_time)
    for row in range(len(readings)):
        kind = int(readings.kind[row])
        value = None if kind == Kind.STRING else float(readings.number[row])
        yield (
            int(readings.series[row]) + 1, kind, int(readings.quality[row]), int(times[row]), int(readings.gateway_time[row]),
            value, readings.whole.get(row), readings.text.get(row),
        )  # fmt: skip


GAP = Event(
    "press", "temp", "gap", BEGIN + S, BEGIN + S + 1000, "gap: no reading for 3 s", {"actual_s": 3.0, "to": BEGIN + S}
)


def sound(n=300):
    """n readings, of which the last was refused by a rule."""
    everything, kept = records(n), records(n - 1)
    names = Names()
    seen = Seen(names, since=BEGIN - S, rejects=2)
    seen.raw.add(pack(everything, names, seen.since))
    seen.clean.add(pack(kept, names, seen.since, aggregated=True))
    seen.refused.add(pack(everything, names, seen.since)[-1:])
    seen.stored.add(pack_stored(list(stored_rows(kept)), {1: 0, 2: 1, 3: 2}, names))
    windows = np.array([window(d.fields, names) for d in emissions(kept)], WINDOW)
    seen.windows.add(windows)
    seen.stored_windows.add(windows[::-1])
    seen.events, seen.stored_events = [GAP], [GAP]
    return seen


def window(fields, names):
    point = names.points((fields["asset_id"], fields["parameter"]))
    return pack_window(point, fields["interval"], fields["window_start"], [fields[name] for name in FIGURES])


def test_a_sound_run_has_nothing_missing_and_nothing_doubled():
    found = judge(sound())
    assert (found.missing, found.doubled, found.sentences) == (0, 0, [])
    assert (found.produced, found.validated, found.rejected, found.stored) == (300, 299, 3, 299)
    assert found.aggregated >= 33


def lose(name, row=40):
    def fault(seen):
        column = getattr(seen, name)
        keep = np.ones(len(column.rows()), bool)
        keep[row] = False
        column.keep(keep)

    return fault


def double(name, row=40):
    def fault(seen):
        column = getattr(seen, name)
        column.add(column.rows()[row : row + 1].copy())

    return fault


def change(names, field, value, row=40):
    def fault(seen):
        for name in names.split():
            getattr(seen, name).rows()[field][row] = value

    return fault


def both(*faults):
    def fault(seen):
        for each in faults:
            each(seen)

    return fault


def events(stream, database):
    def fault(seen):
        seen.events, seen.stored_events = stream, database

    return fault


def in_second(field, by):
    """The same wrong figure of a window of 1s in the stream and in the database: only the readings tell it."""

    def fault(seen):
        for column in (seen.windows, seen.stored_windows):
            rows = column.rows()
            which = (rows["interval"] == 0) & (rows["start"] == BEGIN + 5 * S) & (rows["point"] == 0)
            assert which.sum() == 1
            rows[field][which] += by

    return fault


def without_second(seen):
    for column in (seen.windows, seen.stored_windows):
        rows = column.rows()
        column.keep(~((rows["interval"] == 0) & (rows["start"] == BEGIN + 5 * S) & (rows["point"] == 0)))


def one_bit(seen):
    rows = seen.stored_windows.rows()
    at = np.flatnonzero(np.isfinite(rows["p95"]) & (rows["point"] == 0))[0]
    rows["p95"][at] = np.nextafter(rows["p95"][at], 0)


OF_THE_DATABASE = "windows of the database have another {} than the newest of the stream"
FAULTS = {
    "clean lost": (both(lose("clean"), lose("stored")), "missing: 1 raw readings are neither clean nor refused, as press/strokes of 2023-11-14T22:13:21.301"),
    "refused lost": (lose("refused", 0), "missing: 1 raw readings are neither clean nor refused"),
    "clean twice": (double("clean"), "doubled: 1 clean readings stand in the stream more than once"),
    "raw twice": (both(double("raw"), double("clean")), "doubled: 1 clean readings stand in the stream more than once"),
    "no raw one": (lose("raw"), "doubled: 1 clean or refused readings have no raw one"),
    "refused and clean": (lambda s: s.refused.add(s.clean.rows()[:1]), "doubled: 1 clean or refused readings have no raw one"),
    "row lost": (lose("stored"), "missing: 1 clean readings are not in the database, as press/strokes"),
    "row strange": (change("stored", "time", 5), "doubled: 1 rows of the database are not in the stream, as press/strokes of 1970-01-01T00:00:00.000005Z"),
    "other value": (change("stored", "value", 77), "missing: 1 rows of the database hold another value than the stream, as press/strokes"),
    "other kind": (change("stored", "kind", Kind.BOOLEAN), "missing: 1 rows of the database hold another value than the stream"),
    "other text": (lambda s: change("stored", "value", s.names.texts("BROKEN"), 41)(s), "missing: 1 rows of the database hold another value"),
    "long rounded": (change("stored", "value", 2**60, 31), "missing: 1 rows of the database hold another value"),
    "other quality": (change("stored", "quality", 2), "missing: 1 rows of the database hold another quality than the stream"),
    "other gateway time": (change("stored", "gateway", 9), "missing: 1 rows of the database hold another gateway time"),
    "window not stored": (lose("stored_windows", 3), "missing: 1 windows of the stream are not in the database, as press/"),
    "window only stored": (lose("windows", 12), "doubled: 1 windows of the database are not in the stream, as press/"),
    "window never written": (without_second, "missing: 1 windows of 1s were never written, as press/temp, 1s from 2023-11-14T22:13:25.000000Z"),
    "window of nothing": (both(change("windows", "start", BEGIN + 60 * S, 5)), "doubled: 1 windows of 1s are of no reading"),
    "counts one less": (in_second("count", -1), "missing: 1 windows of 1s count fewer readings than were read, as press/temp, 1s"),
    "counts one more": (in_second("count", 1), "doubled: 1 windows of 1s count more readings than were read, as press/temp, 1s"),
    **{
        f"reckons another {name}": (in_second(name, 1), f"missing: 1 windows of 1s have another {name} than the readings, as press/temp, 1s")
        for name in ("good", "suspect", "min", "max", "first", "last")
    },
    **{
        f"stored another {name}": (change("stored_windows", name, 12345, 12), f"missing: 1 {OF_THE_DATABASE.format(name)}, as press/")
        for name in FIGURES
    },
    "one bit of a figure": (one_bit, f"missing: 1 {OF_THE_DATABASE.format('p95')}, as press/temp"),
    "event lost": (events([GAP], []), "missing: 1 events of the stream are not in the database, as gap of press/temp, 2023-11-14T22:13:21.000000Z"),
    "event strange": (events([], [GAP]), "doubled: 1 events of the database are not in the stream, as gap of press/temp"),
    "event twice": (events([GAP, GAP], [GAP]), "doubled: 1 events stand in the stream more than once"),
    "event changed": (events([GAP], [GAP._replace(details={"actual_s": 4.0})]), "missing: 1 events of the database differ from the stream"),
    "unreadable": (lambda s: s.unreadable.append("telemetry.clean/3 at 7: cut short"), "missing: 1 records of the stream cannot be decoded, as telemetry.clean/3 at 7"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_noticed_and_named_with_an_example(name):
    fault, sentence = FAULTS[name]
    seen = sound()
    fault(seen)
    found = judge(seen)
    assert any(said.startswith(sentence) for said in found.sentences), found.sentences
    assert (found.missing if sentence.startswith("missing") else found.doubled) >= 1


def test_a_window_written_again_counts_by_its_newest_record():
    seen = sound()
    old = seen.windows.rows()[:4].copy()
    old["count"] -= 1
    newer = seen.windows.rows().copy()
    seen.windows.keep(np.zeros(len(newer), bool))
    seen.windows.add(old)
    seen.windows.add(newer)
    assert judge(seen).sentences == []


def test_a_key_read_twice_is_stored_as_the_newest():
    seen = sound()
    again = seen.raw.rows()[40:41].copy()
    again["gateway"] += 9
    again["counts_at"] = NO_TIME
    seen.raw.add(again)
    seen.clean.add(again)
    seen.stored.rows()["gateway"][40] += 9
    assert judge(seen).sentences == []


def test_what_an_earlier_run_left_is_not_judged():
    """Its windows stand in the database alone, and the first second holds readings of both."""
    seen = sound()
    old = seen.stored_windows.rows()[:1].copy()
    old["start"] = seen.since - 100 * S
    seen.stored_windows.add(old)
    seen.leave_out_before(BEGIN + 3 * S + 1)
    times = seen.stored.rows()["gateway"]
    seen.stored.keep(times >= seen.since)
    seen.events = seen.stored_events = []
    found = judge(seen)
    assert found.sentences == []
    assert 150 < found.produced < 240


def test_an_empty_partition_is_sound():
    found = judge(Seen())
    assert (found.sentences, found.counts()) == ([], dict.fromkeys(found.counts(), 0))


def test_partitions_add_up_and_each_kind_is_said_once():
    whole = Found(produced=1, lacking={"readings are lost": (2, "a")})
    whole.add(Found(produced=4, lacking={"readings are lost": (3, "b")}, surplus={"readings are double": (1, "c")}))
    assert (whole.produced, whole.missing, whole.doubled) == (5, 5, 1)
    assert whole.sentences == ["missing: 5 readings are lost, as a", "doubled: 1 readings are double, as c"]
