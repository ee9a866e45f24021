"""The validator: raw readings in, judged readings, dead letters and gap events out. Rules stand in checks.py, sequence.py, silence.py.

The worst quality of all rules and of the adapter wins, and every reason is kept. BAD goes to the dead letters, everything else
goes on. The order in which rules look: source (what the adapter itself refused), type, range, time, stale, duplicate, rate of
change, gap, flat line; the first one that says BAD names the dead letter. What source, type, range, time or stale made BAD is
not compared with other readings and never remembered.

State is kept for each input topic and partition apart, since only within one of them is there an order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pipeline import checks, sequence, silence
from pipeline.checks import Columns, Violation
from pipeline.contract import Judged, Outputs, Refused, Stage
from pipeline.memory import Memory
from pipeline.packing import pack, unpack
from pipeline.points import Points, Slots
from pipeline.rules import LimitTable, Rules
from pipeline.sequence import Run
from pipeline.slices import piece
from pipeline.words import span
from schemas.gateway import Rule
from schemas.records import NO_TIME, Codes, Document, Floats, Kind, Quality, Records, Rows

CLEAN = {"telemetry.raw": "telemetry.clean", "events.raw": "events.clean"}
ON_CHANGE = "events.raw"
"""Holds changes only: there silence is no gap and sameness no flat line."""
REFUSED = {"telemetry.raw": "dlq.telemetry", "events.raw": "dlq.events"}
EVENTS = "events.clean"

POINTS_MAX = 100_000
"""Points remembered in one partition of one topic. Rules that need a memory are off for further ones, and those are counted."""
GENERATION = 1 << 20
"""Each time so many records of a partition have passed, points unseen for as long are forgotten if there are many."""

_MAGIC = b"SFV1"


class _Log:
    """The state of one topic and partition."""

    def __init__(self, points: Points, memory: Memory, generation: int = 0) -> None:
        self.points, self.memory, self.generation = points, memory, generation


class Validator(Stage):
    """Judges readings by `rules`."""

    name = "validator"
    inputs = ("telemetry.raw", "events.raw")

    def __init__(self, rules: Sequence[Rule] = (), points_max: int = POINTS_MAX, generation: int = GENERATION) -> None:
        self._table = LimitTable(Rules(rules))
        self._points_max, self._generation = points_max, generation
        self._logs: dict[tuple[str, int], _Log] = {}

    def step(self, partition: int, records: Records, arrived_at: int) -> Outputs:  # noqa: ARG002 - each row knows its own
        key = (records.topic, partition)
        if key not in self._logs:
            self._logs[key] = _Log(Points(self._points_max), Memory())
        outputs = Outputs()
        for part in self._generations(records):
            self._forget_unseen(self._logs[key], int(part.offsets[0]) // self._generation)
            self._judge(self._logs[key], part, outputs)
        return outputs

    def tick(self, now: int) -> Outputs:  # noqa: ARG002
        """Nothing is due by time alone: a gap is known when the next reading ends it."""
        return Outputs()

    def _generations(self, records: Records) -> Iterator[Records]:
        """The records in pieces that lie within one generation of the log: nearly always one piece."""
        if not len(records):
            return
        numbers = records.offsets // self._generation
        cuts = (np.flatnonzero(numbers[1:] != numbers[:-1]) + 1).tolist()
        for begin, end in zip([0, *cuts], [*cuts, len(records)], strict=True):
            yield records if not cuts else piece(records, begin, end)

    def _forget_unseen(self, log: _Log, generation: int) -> None:
        if generation <= log.generation:
            return
        if 2 * len(log.points) > self._points_max:
            used = np.array([name is not None for name in log.points.names])
            old = np.flatnonzero(used & (log.memory.seen[: len(used)] < generation - 1))
            log.points.forget(old.tolist())
            log.memory.clear(old)
        log.generation = generation

    def _judge(self, log: _Log, records: Records, outputs: Outputs) -> None:
        at = self._table.rows(records)
        limits = self._table.columns
        quality = records.quality.copy()
        found = self._alone(records, limits, at, outputs)
        for violation in found:
            quality[violation.rows] = np.maximum(quality[violation.rows], violation.quality)
        slots = log.points.of(records)
        log.memory.grow(len(log.points.names))
        over = int(np.count_nonzero(slots < 0))
        if over:
            outputs.counters["points_over_total"] = outputs.counters.get("points_over_total", 0) + over
        found += self._compared(log, records, slots, at, quality, outputs)
        _write(records, quality, found, outputs)

    def _alone(self, records: Records, limits: Columns, at: Slots, outputs: Outputs) -> list[Violation]:
        rows = at.astype(np.intp)
        given = checks.source(records)
        found = [given] if given else []
        found += checks.kind(records, limits, rows)
        found += checks.value_range(records, limits, rows)
        off, alerts = checks.time(records, limits, rows)
        found += off
        if alerts:
            outputs.counters["clock_alerts_total"] = outputs.counters.get("clock_alerts_total", 0) + alerts
        return found + checks.stale(records, limits, rows)

    def _compared(
        self, log: _Log, records: Records, slots: Slots, at: Slots, quality: Codes, outputs: Outputs
    ) -> list[Violation]:
        """The rules with a memory, over what is not BAD so far. Raises `quality` by what they find."""
        rows = np.flatnonzero((quality != Quality.BAD) & (slots >= 0))
        rows = rows[np.argsort(slots[rows], kind="stable")]
        limits, memory = self._table.columns, log.memory
        memory.seen[slots[rows]] = log.generation
        run = _run(records, rows, slots, at, limits)
        found = sequence.judge(run, memory)
        for violation in found:
            quality[violation.rows] = np.maximum(quality[violation.rows], violation.quality)
        if records.topic == ON_CHANGE:
            return found
        gap_s, flat_s = limits["gap_s"], limits["flat_s"]
        with_gaps, with_flat = bool(np.isfinite(gap_s).any()), bool(np.isfinite(flat_s).any())
        if not (with_gaps or with_flat):
            return found
        run = run.only(quality[run.rows] != Quality.BAD)
        times = np.minimum(run.time, records.arrived[run.rows])
        place = at[run.rows]
        if with_gaps:
            ended = silence.gaps(run.rows, run.slot, times, gap_s[place], memory)
            outputs.documents += [_gap_event(gap, records) for gap in sorted(ended, key=lambda gap: gap.row)]
        if with_flat:
            columns = (flat_s[place], limits["flat_tolerance"][place], limits["flat_quality"][place])
            flat = silence.flat_lines(run.rows, run.slot, times, run.value, columns, memory)
            if flat is not None and len(flat.rows):
                quality[flat.rows] = np.maximum(quality[flat.rows], flat.quality)
                found.append(flat)
        return found

    def snapshot(self, partition: int) -> bytes:
        header: dict[str, Any] = {}
        columns: dict[str, Any] = {}
        for (topic, number), log in self._logs.items():
            if number == partition:
                header[topic] = {"names": log.points.names, "generation": log.generation}
                kept = log.memory.columns(len(log.points.names))
                columns |= {f"{topic}/{name}": column for name, column in kept.items()}
        return pack(_MAGIC, header, columns)

    def restore(self, partition: int, snapshot: bytes) -> None:
        for key in [key for key in self._logs if key[1] == partition]:
            del self._logs[key]
        if not snapshot:
            return
        header, columns = unpack(_MAGIC, snapshot)
        try:
            logs = {topic: self._restored(topic, kept, columns) for topic, kept in header.items()}
        except (KeyError, TypeError, IndexError) as wrong:
            raise ValueError(f"not a validator's snapshot: {type(wrong).__name__} {wrong}") from None
        self._logs |= {(topic, partition): log for topic, log in logs.items()}

    def _restored(self, topic: str, kept: dict[str, Any], columns: dict[str, Any]) -> _Log:
        own = {
            name.removeprefix(f"{topic}/"): column for name, column in columns.items() if name.startswith(f"{topic}/")
        }
        names = [None if name is None else (str(name[0]), str(name[1])) for name in kept["names"]]
        memory = Memory.restored(own)
        if len(memory) != len(names):
            raise ValueError(f"{topic}: {len(names)} points but {len(memory)} rows")
        return _Log(Points(self._points_max, names), memory, int(kept["generation"]))


def _run(records: Records, rows: Rows, slots: Slots, at: Slots, limits: Columns) -> Run:
    place = at[rows]
    kind, device_time = records.kind[rows], records.device_time[rows]
    time = np.where(device_time == NO_TIME, records.gateway_time[rows], device_time)
    value: Floats = records.number[rows].copy()
    value[~np.isfinite(value)] = np.nan
    rate = limits["rate"][place]
    rate[kind == Kind.BOOLEAN] = np.inf
    return Run(
        rows,
        slots[rows],
        device_time,
        time,
        value,
        rate,
        limits["rate_quality"][place],
        limits["duplicate_quality"][place],
    )


def _write(records: Records, quality: Codes, found: list[Violation], outputs: Outputs) -> None:
    """Part the batch into what goes on and what does not, with every reason."""
    reasons: dict[int, str] = {}
    blame: dict[int, str] = {}
    for violation in found:
        name = f'violations_total{{rule="{violation.rule}"}}'
        outputs.counters[name] = outputs.counters.get(name, 0) + len(violation.rows)
        _explain(records, violation, reasons, blame)
    bad = quality == Quality.BAD
    accepted = np.flatnonzero(~bad)
    if len(accepted):
        refused_rows = np.flatnonzero(bad).tolist()
        kept = {row: text for row, text in reasons.items() if not bad[row]} if refused_rows else reasons
        outputs.readings.append(Judged(CLEAN[records.topic], records, accepted, quality[accepted], kept))
    topic = REFUSED[records.topic]
    outputs.refused += [Refused(topic, records, row, blame[row], reasons[row]) for row in np.flatnonzero(bad).tolist()]


def _explain(records: Records, violation: Violation, reasons: dict[int, str], blame: dict[int, str]) -> None:
    """Add one rule's reasons behind those there are, the adapter's own first."""
    for row, code, reason in zip(violation.rows.tolist(), violation.quality.tolist(), violation.reasons, strict=True):
        before = reasons.get(row)
        if before is None and violation.rule != "source":
            before = records.reason.get(row)
        reasons[row] = reason if before is None else f"{before}; {reason}"
        if code == Quality.BAD:
            blame.setdefault(row, violation.rule)


def _gap_event(gap: silence.Gap, records: Records) -> Document:
    series = records.table[records.series[gap.row]]
    expected, actual = span(gap.expected_s), span(gap.actual_s)
    fields = {
        "asset_id": series.asset,
        "parameter": series.parameter,
        "kind": "gap",
        "device_time": gap.end,
        "gateway_time": int(records.gateway_time[gap.row]),
        "message": f"gap: no reading for {actual}, expected every {expected}; about {gap.missing} are missing",
        "details": {
            "expected_s": gap.expected_s,
            "actual_s": gap.actual_s,
            "missing_samples": gap.missing,
            "from": gap.begin,
            "to": gap.end,
        },
    }
    return Document(EVENTS, series.asset.encode(), "event", fields)
