"""A broker of version 5 that keeps sessions for a shorter time than it is asked to: known before something is lost, where it matters."""

from __future__ import annotations

import pytest

from tests.protocols.mqtt_kit import connected, scripted

SUBACK = bytes.fromhex("9004000100 01")


def connack(kept_s: int) -> bytes:
    """Accepted, and how long the session will be kept (property 17)."""
    return bytes.fromhex("2008000005 11") + kept_s.to_bytes(4, "big")


@pytest.mark.parametrize(
    ("settings", "kept_s", "is_said"),
    [
        ({"session_expiry": "1h"}, 30, True),
        ({"session_expiry": "1h"}, 3600, False),
        ({"session_expiry": "1h"}, 7200, False),
        ({}, 30, False),
        ({"session": "clean"}, 0, False),
    ],
    ids=["less than wanted", "as wanted", "more", "less than our default", "none wanted"],
)
async def test_less_than_somebody_asked_for_is_said(settings, kept_s, is_said):
    async with scripted(connack(kept_s), SUBACK) as port, connected(port, version="5", **settings) as one:
        health = one.health()
        assert any("keeps the session only for 30 s" in said for said in health.degraded) is is_said
        assert ("raise its limit" in (health.next_step or "")) is is_said


async def test_with_a_session_that_was_lost_it_is_said_in_any_case():
    async with scripted(connack(30), SUBACK) as port, connected(port, version="5") as one:
        one.lost_session = True
        assert "and not for the 604800 s that it was asked for" in one.health().degraded[1]
