"""Was anything lost, doubled or changed on its way from the machines to the database? Pure: a function of what was seen.

Did each raw reading become exactly one clean or one refused reading? Does each clean one stand in the database once, as it is? Do the
windows of one second say what was read? Does each window, and each event, stand in the database as the newest record of the stream has it?
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import and_, or_
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.intervals import SECOND
from schemas.records import NO_TIME, Floats, Kind
from streamforge.demo.seen import FIGURES, QUALITIES, WINDOW, Event, Rows, Seen

Mask = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.intp]
READING_KEY = ("point", "time")
WHOLE_READING = ("point", "time", "gateway", "kind", "value")
WINDOW_KEY = ("point", "interval", "start")
RECOUNTED = (*QUALITIES, "min", "max", "first", "last")
"""Of the windows of 1s: what is worked out again from the readings, besides `count`."""


@dataclass
class Found:
    """The comparison's answer; `sentences` says in words what was wrong, each kind once with the first example."""

    produced: int = 0
    validated: int = 0
    rejected: int = 0
    aggregated: int = 0
    stored: int = 0
    lacking: dict[str, tuple[int, str]] = field(default_factory=dict)
    surplus: dict[str, tuple[int, str]] = field(default_factory=dict)

    @property
    def missing(self) -> int:
        return sum(n for n, _ in self.lacking.values())

    @property
    def doubled(self) -> int:
        return sum(n for n, _ in self.surplus.values())

    @property
    def sentences(self) -> list[str]:
        kinds = (("missing", self.lacking), ("doubled", self.surplus))
        return [f"{kind}: {n} {what}, as {example}" for kind, all_ in kinds for what, (n, example) in all_.items()]

    def counts(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in ("produced", "validated", "rejected", "aggregated", "stored")}

    def add(self, other: Found) -> None:
        for name, count in other.counts().items():
            setattr(self, name, getattr(self, name) + count)
        for into, more in ((self.lacking, other.lacking), (self.surplus, other.surplus)):
            for what, (n, example) in more.items():
                before, first = into.get(what, (0, example))
                into[what] = (before + n, first)


class _Judge:
    """Of one point: notes what differs, with an example that a person can look up. `begin` and `end`: of the windows to work out again."""

    def __init__(self, seen: Seen, begin: int, end: int) -> None:
        self.seen, self.begin, self.end = seen, begin, end
        self.found = Found()

    def readings(self, into: dict[str, tuple[int, str]], what: str, rows: Rows, n: int | None = None) -> None:
        if len(rows):
            into[what] = (len(rows) if n is None else n, self.seen.names.reading(rows[0]))

    def windows(self, into: dict[str, tuple[int, str]], what: str, rows: Rows) -> None:
        if len(rows):
            into[what] = (len(rows), self.seen.names.window(rows[0]))

    def figures(self, what: str, names: Sequence[str], left: Rows, right: Rows) -> None:
        """Each differing pair of windows counts once, under the first figure in which it differs; `what` takes that name."""
        told = np.zeros(len(left), bool)
        for name in names:
            differ = ~told & ~_same(left[name], right[name])
            if differ.any():
                at = int(np.flatnonzero(differ)[0])
                example = f"{self.seen.names.window(left[at])}: {right[name][at]} instead of {left[name][at]}"
                self.found.lacking[what.format(name)] = (int(differ.sum()), example)
                told |= differ


def judge(seen: Seen) -> Found:
    """Compare. A raw reading that the adapter wrote twice counts as doubled unless a rule refused the second."""
    found = Found(
        produced=len(seen.raw.rows()),
        validated=len(seen.clean.rows()),
        rejected=len(seen.refused.rows()) + seen.rejects,
        aggregated=len(seen.windows.rows()),
        stored=len(seen.stored.rows()),
    )
    if seen.unreadable:
        found.lacking["records of the stream cannot be decoded"] = (len(seen.unreadable), seen.unreadable[0])
    begin, end = _whole_seconds(seen)
    for point in seen.points():
        judging = _Judge(seen.of_point(point), begin, end)
        _judge_stream(judging)
        _judge_rows(judging)
        newest = _newest(judging.seen.windows.rows(), WINDOW_KEY)
        _judge_windows(judging, newest)
        _judge_seconds(judging, newest)
        found.add(judging.found)
    _judge_events(seen, found)
    return found


def _whole_seconds(seen: Seen) -> tuple[int, int]:
    """After which and up to which start the windows of 1s can be worked out again: the first may hold readings of an earlier run, and as
    all of a partition close at once, up to the newest that was written none may be absent."""
    counted, windows = seen.clean.rows()["counts_at"], seen.windows.rows()
    first = int(counted.min(initial=np.iinfo(np.int64).max, where=counted != NO_TIME))
    return max(seen.since, first), int(windows["start"].max(initial=0, where=windows["interval"] == 0))


def _judge_stream(judging: _Judge) -> None:
    seen, found = judging.seen, judging.found
    rows, (raw, clean, refused) = _tally([seen.raw.rows(), seen.clean.rows(), seen.refused.rows()], WHOLE_READING)
    lost, extra = np.maximum(raw - clean - refused, 0), np.maximum(clean + refused - raw, 0)
    twice = np.maximum(clean - 1, 0)
    for into, what, n in (
        (found.lacking, "raw readings are neither clean nor refused", lost),
        (found.surplus, "clean or refused readings have no raw one", extra),
        (found.surplus, "clean readings stand in the stream more than once", twice),
    ):
        judging.readings(into, what, rows[n > 0], int(n.sum()))


def _judge_rows(judging: _Judge) -> None:
    seen, found = judging.seen, judging.found
    absent, strange, (clean, stored) = _paired(_newest(seen.clean.rows(), READING_KEY), seen.stored.rows(), READING_KEY)
    for what, names in (("value", ("kind", "value")), ("gateway time", ("gateway",)), ("quality", ("quality",))):
        differ = reduce(or_, [clean[name] != stored[name] for name in names])
        judging.readings(found.lacking, f"rows of the database hold another {what} than the stream", clean[differ])
    judging.readings(found.lacking, "clean readings are not in the database", absent)
    judging.readings(found.surplus, "rows of the database are not in the stream", strange)


def _judge_windows(judging: _Judge, newest: Rows) -> None:
    """Windows of an earlier run may stand in the database alone: their records are older than what was read."""
    seen, found = judging.seen, judging.found
    absent, strange, (windows, stored) = _paired(newest, seen.stored_windows.rows(), WINDOW_KEY)
    judging.figures("windows of the database have another {} than the newest of the stream", FIGURES, windows, stored)
    judging.windows(found.lacking, "windows of the stream are not in the database", absent)
    judging.windows(
        found.surplus, "windows of the database are not in the stream", strange[strange["start"] > seen.since]
    )


def _judge_seconds(judging: _Judge, newest: Rows) -> None:
    seen, found = judging.seen, judging.found
    clean = seen.clean.rows()
    expected = _seconds(clean[clean["counts_at"] != NO_TIME])
    expected = expected[(expected["start"] > judging.begin) & (expected["start"] <= judging.end)]
    written = newest[(newest["interval"] == 0) & (newest["start"] > judging.begin)]
    absent, strange, (read, windows) = _paired(expected, written, WINDOW_KEY)
    judging.windows(found.lacking, "windows of 1s were never written", absent)
    judging.windows(found.surplus, "windows of 1s are of no reading", strange)
    less, more = windows["count"] < read["count"], windows["count"] > read["count"]
    judging.windows(found.lacking, "windows of 1s count fewer readings than were read", read[less])
    judging.windows(found.surplus, "windows of 1s count more readings than were read", read[more])
    alike = ~(less | more)
    judging.figures("windows of 1s have another {} than the readings", RECOUNTED, read[alike], windows[alike])


def _seconds(readings: Rows) -> Rows:
    """The windows of 1s of these readings, in the order of the log, as far as they are worked out here."""
    second = readings["counts_at"] // SECOND * SECOND
    order = np.lexsort((readings["counts_at"], readings["point"]))
    readings, second = readings[order], second[order]
    begins = np.flatnonzero(_changes([readings["point"], second]))
    windows = np.zeros(len(begins), WINDOW)
    if not len(begins):
        return windows
    windows["point"], windows["start"] = readings["point"][begins], second[begins]
    windows["count"] = np.diff(begins, append=len(readings))
    for quality, name in enumerate(QUALITIES):
        windows[name] = np.add.reduceat((readings["quality"] == quality).astype(np.int64), begins)
    number = _numbers(readings)
    windows["min"], windows["max"] = np.fmin.reduceat(number, begins), np.fmax.reduceat(number, begins)
    places = np.arange(len(number))
    there = np.isfinite(number)
    first = np.minimum.reduceat(np.where(there, places, len(number)), begins)
    last = np.maximum.reduceat(np.where(there, places, -1), begins)
    windows["first"] = np.append(number, np.nan)[first]
    windows["last"] = np.append(number, np.nan)[last]
    return windows


def _numbers(readings: Rows) -> Floats:
    """What windows reckon with; NaN for what is no finite number."""
    kind, value = readings["kind"], np.ascontiguousarray(readings["value"])
    number = np.where(kind == Kind.DOUBLE, value.view(np.float64), value.astype(np.float64))
    nothing = (kind == Kind.STRING) | (kind == Kind.NULL) | ~np.isfinite(number)
    number[nothing] = np.nan
    return number


def _judge_events(seen: Seen, found: Found) -> None:
    def key(event: Event) -> tuple[Any, ...]:
        return event[:4]

    newest, stored = {key(e): e for e in seen.events}, {key(e): e for e in seen.stored_events}
    for into, what, events in (
        (found.surplus, "events stand in the stream more than once", _repeated(seen.events)),
        (found.lacking, "events of the stream are not in the database", [e for k, e in newest.items() if k not in stored]),
        (found.lacking, "events of the database differ from the stream", [e for k, e in newest.items() if stored.get(k, e) != e]),
        (found.surplus, "events of the database are not in the stream", [e for k, e in stored.items() if k not in newest]),
    ):  # fmt: skip
        if events:
            into[what] = (len(events), str(events[0]))


def _repeated(events: list[Event]) -> list[Event]:
    known: set[tuple[Any, ...]] = set()
    return [event for event in events if event[:4] in known or known.add(event[:4])]  # type: ignore[func-returns-value]


def _changes(columns: Sequence[npt.NDArray[Any]]) -> Mask:
    """Where sorted rows begin to differ from the one before."""
    change = np.ones(len(columns[0]), bool)
    change[1:] = reduce(or_, [column[1:] != column[:-1] for column in columns])
    return change


def _tally(sets: list[Rows], by: Sequence[str]) -> tuple[Rows, list[Counts]]:
    """One row of each kind, and how often each set holds it."""
    rows = np.concatenate(sets)
    order = np.lexsort([rows[name] for name in by])
    new = _changes([rows[name][order] for name in by])
    group = np.empty(len(rows), np.intp)
    group[order] = np.cumsum(new) - 1
    n, ends = int(new.sum()), np.cumsum([len(each) for each in sets])
    parts = np.split(group, ends[:-1])
    return rows[order[new]], [np.bincount(part, minlength=n) for part in parts]


def _newest(rows: Rows, by: Sequence[str]) -> Rows:
    """The last of each key."""
    order = np.lexsort([rows[name] for name in by])
    last = np.append(_changes([rows[name][order] for name in by])[1:], True)[: len(rows)]
    newest: Rows = rows[order[last]]
    return newest


def _paired(left: Rows, right: Rows, by: Sequence[str]) -> tuple[Rows, Rows, tuple[Rows, Rows]]:
    """Of two sets, each with one row a key: the rows only left, only right, and side by side those with the same key."""
    columns = [np.concatenate((left[name], right[name])) for name in by]
    order = np.lexsort(columns)
    same = reduce(and_, [column[order][1:] == column[order][:-1] for column in columns])
    at = np.flatnonzero(same)
    alone = np.ones(len(order), bool)
    alone[at] = alone[at + 1] = False
    single = order[alone]
    pairs = left[order[at]], right[order[at + 1] - len(left)]  # lexsort is stable: left comes first
    return left[single[single < len(left)]], right[single[single >= len(left)] - len(left)], pairs


def _same(left: npt.NDArray[Any], right: npt.NDArray[Any]) -> Mask:
    """Equal to the last bit that says something; a figure that is not there equals one that is not there."""
    found: Mask = (left == right) | ((left != left) & (right != right))  # noqa: PLR0124 - that is how a NaN is known
    return found
