"""Each kind of trouble of an adapter has its own next step: a refused connection is not an illegal address."""

from __future__ import annotations

import pytest

from actors.adapter import POINTS_STEP, STREAM_STEP, next_step
from protocols.contract import Health

ILLEGAL = ["temp: the device has no address 40999"]


@pytest.mark.parametrize(
    ("away", "stream", "own", "step"),
    [
        (False, False, Health(), None),
        (True, False, Health(), None),
        (True, True, Health(next_step="move the certificate to trusted/"), "move the certificate to trusted/"),
        (False, True, Health(degraded=ILLEGAL), STREAM_STEP + "streamforge status"),
        (False, False, Health(degraded=ILLEGAL), POINTS_STEP),
        (False, False, Health(degraded=ILLEGAL, next_step="correct the address"), "correct the address"),
    ],
)
def test_the_next_step_follows_from_the_first_trouble(away: bool, stream: bool, own: Health, step: str | None) -> None:
    assert next_step(away=away, stream=stream, own=own) == step
