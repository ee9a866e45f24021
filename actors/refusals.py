"""Where what a component refused goes as a dead letter, and the newest as a fact of the component: so that people see the reason and not
only a count."""

from __future__ import annotations

import time
from typing import Any

from actors.context import Context

FACT = "last_refused"
REASON_MAX = 500


def letters_of(topic: str) -> str:
    """Where the dead letters of a topic go."""
    return "dlq.events" if topic.startswith(("events.", "alarms.")) else "dlq.telemetry"


def note(context: Context, letters: str, rule: str, reason: str, asset: str | None, parameter: str | None, **more: Any) -> None:  # fmt: skip
    """`letters`: the topic that has it."""
    context.facts[FACT] = {
        "at": round(time.time(), 3), "letters": letters, "rule": rule, "reason": reason[:REASON_MAX],
        "asset": asset, "parameter": parameter, **more,
    }  # fmt: skip
