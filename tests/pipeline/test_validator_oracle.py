"""The validator's columns say what its rules say reading by reading, however the log is cut into batches."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import memory
from pipeline.rules import Rules
from pipeline.validator import Validator
from schemas.gateway import Rule
from schemas.records import Quality
from tests.kit.readings import SECOND, START, Batches, Row
from tests.pipeline.naive_validator import NaiveValidator

QUALITIES = st.sampled_from(["GOOD", "SUSPECT", "UNCERTAIN", "BAD"])


def maybe(strategy):
    return st.none() | strategy


def rule():
    sections = {
        "range": st.fixed_dictionaries(
            {"min": st.sampled_from([-5, 0]), "max": st.sampled_from([3, 9]), "quality": QUALITIES}
        ),
        "rate_of_change": st.fixed_dictionaries({"max_per_second": st.sampled_from([0.5, 3]), "quality": QUALITIES}),
        "duplicate": st.fixed_dictionaries({"quality": QUALITIES}),
        "gap": st.fixed_dictionaries({"expected": st.just("1s")}),
        "time": st.fixed_dictionaries({"missing": QUALITIES, "warn_skew": st.just("5s"), "skewed": QUALITIES}),
        "type": st.fixed_dictionaries(
            {"type": st.sampled_from(["number", "integer", "boolean", "string"]), "quality": QUALITIES}
        ),
        "flat_line": st.fixed_dictionaries(
            {"longer_than": st.just("2s"), "tolerance": st.sampled_from([0, 1]), "quality": QUALITIES}
        ),
        "stale": st.fixed_dictionaries({"older_than": st.just("3s"), "quality": QUALITIES}),
    }
    match = st.fixed_dictionaries({"parameter": st.sampled_from(["*", "a", "[ab]"])})
    return st.fixed_dictionaries({"match": match}, optional=sections).filter(lambda r: len(r) > 1)


VALUES = st.one_of(
    st.sampled_from([0.0, 0.5, 1.0, 4.0, 100.0, float("nan"), float("inf"), 1e308, -1e308]),
    st.sampled_from([0, 1, 2, 2**60]),
    st.booleans(),
    st.sampled_from(["", "on"]),
)
ROWS = st.builds(
    lambda value, when, skew, timed, quality, parameter: Row(
        value,
        device_time=START + when * SECOND // 4 if timed else None,
        gateway_time=START + when * SECOND // 4 + int(skew * SECOND),
        arrived=START + when * SECOND // 4 + int(skew * SECOND) + 1000,
        quality=quality,
        parameter=parameter,
    ),
    value=VALUES,
    when=st.integers(0, 80),
    skew=st.sampled_from([0, 0, 0, 0.5, 4, 7, -7, 20]),
    timed=st.sampled_from([True, True, True, True, False]),
    quality=st.sampled_from([Quality.GOOD] * 6 + [Quality.SUSPECT, Quality.UNCERTAIN, Quality.BAD]),
    parameter=st.sampled_from("ab"),
)


def run(validator: Validator, rows: list[Row], cuts: list[int], restart: bool):
    """(quality, rules) of each row and all gaps, from batches cut at `cuts`, with a restart from a snapshot at each."""
    batches, verdicts, gaps, at = Batches(), {}, [], 0
    for end in [*cuts, len(rows)]:
        records = batches.of(rows[at:end])
        outputs = validator.step(0, records, 0)
        for judged in outputs.readings:
            for row, quality in zip(judged.rows.tolist(), judged.quality.tolist(), strict=True):
                verdicts[int(judged.records.offsets[row])] = (quality, judged.reasons.get(row, ""))
        for refused in outputs.refused:
            verdicts[int(refused.records.offsets[refused.row])] = (Quality.BAD, refused.reason)
        gaps += [(d.fields["details"]["from"], d.fields["details"]["to"]) for d in outputs.documents]
        at = end
        if restart:
            snapshot = validator.snapshot(0)
            validator.restore(0, b"")
            validator.restore(0, snapshot)
    return verdicts, gaps


@settings(max_examples=300, deadline=None)
@given(
    rules=st.lists(rule(), max_size=4),
    rows=st.lists(ROWS, min_size=1, max_size=90),
    cuts=st.lists(st.integers(0, 90), max_size=4),
    restart=st.booleans(),
    keep=st.sampled_from([2, 32]),
)
def test_columns_say_what_the_rules_say(rules, rows, cuts, restart, keep):
    from pipeline import sequence
    from tests.pipeline import naive_validator

    old = memory.TIMES_KEPT
    memory.TIMES_KEPT = sequence.TIMES_KEPT = naive_validator.TIMES_KEPT = keep
    try:
        parsed = [Rule.model_validate(r) for r in rules]
        naive = NaiveValidator(Rules(parsed).limits)
        expected = [naive.judge(row) for row in rows]
        cuts = sorted(min(c, len(rows)) for c in cuts)
        verdicts, gaps = run(Validator(parsed), rows, cuts, restart)
    finally:
        memory.TIMES_KEPT = sequence.TIMES_KEPT = naive_validator.TIMES_KEPT = old
    for at, (quality, broken, _gap) in enumerate(expected):
        given_quality, reason = verdicts[at]
        named = [part.split(":")[0] for part in reason.split("; ")] if reason else []
        assert (given_quality, named) == (quality, broken), (at, rows[at], reason)
    assert sorted(gaps) == sorted(gap for _, _, gap in expected if gap)
