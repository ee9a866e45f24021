"""The demo's comparison must notice every way in which a reading can get lost or doubled."""

from collections import Counter
from copy import deepcopy

import pytest

from streamforge.demo.compare import Seen, judge

S = 1_000_000
READINGS = [("press", "temp", n * S // 4, n * S // 4 + 7, repr(float(n))) for n in range(4, 40)]


def sound() -> Seen:
    seen = Seen(raw=Counter(READINGS), clean=Counter(READINGS[:-1]), refused=Counter(READINGS[-1:]), rejects=2)
    seen.stored = {r[:3]: r[4] for r in READINGS[:-1]}
    for second in range(1, 9):
        seen.windows["press", "temp", "1s", second * S] = 4
    seen.stored_windows = dict(seen.windows)
    seen.emissions = len(seen.windows)
    return seen


def test_a_sound_run_has_nothing_missing_and_nothing_doubled():
    found = judge(sound())
    assert (found.missing, found.doubled, found.sentences) == (0, 0, [])
    assert (found.produced, found.validated, found.rejected, found.stored) == (36, 35, 3, 35)


def lose_clean(s):
    del s.clean[READINGS[5]]


def double_clean(s):
    s.clean[READINGS[5]] += 1


def lose_row(s):
    del s.stored[READINGS[5][:3]]


def strange_row(s):
    s.stored["press", "temp", 123] = "1.0"


def other_value(s):
    s.stored[READINGS[5][:3]] = "77.0"


def double_raw(s):
    s.raw[READINGS[3]] += 1
    s.clean[READINGS[3]] += 1


def window_counts_twice(s):
    s.windows["press", "temp", "1s", 3 * S] = s.stored_windows["press", "temp", "1s", 3 * S] = 5


def window_forgot_one(s):
    s.windows["press", "temp", "1s", 3 * S] = s.stored_windows["press", "temp", "1s", 3 * S] = 3


def window_not_stored(s):
    del s.stored_windows["press", "temp", "1s", 3 * S]


@pytest.mark.parametrize(
    ("fault", "missing", "doubled"),
    [
        (lose_clean, True, True), (double_clean, False, True), (lose_row, True, False), (strange_row, False, True), (other_value, True, False),
        (double_raw, False, True), (window_counts_twice, False, True), (window_forgot_one, True, False), (window_not_stored, True, False),
    ],
)  # fmt: skip
def test_each_fault_is_noticed(fault, missing, doubled):
    seen = deepcopy(sound())
    fault(seen)
    found = judge(seen)
    assert (found.missing > 0, found.doubled > 0) == (missing, doubled)
    assert found.sentences
