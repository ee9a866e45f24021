from __future__ import annotations

import pytest

from actors.cadence import Cadence


@pytest.mark.parametrize(
    ("busy_s", "of_s", "gathers_s"),
    [(0.0, 0.05, 0.05), (0.01, 0.05, 0.05), (0.02, 0.05, 0.1), (0.02, 0.1, 0.05), (0.05, 0.1, 0.1), (0.0, 0.0, 0.05), (0.01, 0.0, 0.1)],
)  # fmt: skip
def test_who_is_busy_gathers_twice_as_long(busy_s, of_s, gathers_s):
    cadence = Cadence(0.05)
    cadence.worked(busy_s, of_s)
    assert cadence.gather_s == pytest.approx(gathers_s)


def test_who_is_no_longer_busy_is_prompt_again():
    cadence = Cadence(0.05)
    cadence.worked(1.0, 1.0)
    cadence.worked(0.0, 1.0)
    assert cadence.gather_s == pytest.approx(0.05)
