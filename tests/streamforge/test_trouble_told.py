"""How `status` and `tail` tell what is wrong: each cause once with its step, dead letters as a person can read them."""

from __future__ import annotations

import io
import re
import time
from typing import Any

import pytest
from rich.console import Console

from control.tail import in_order
from schemas.records import Quality
from stream.codec import Codec, SchemaIds, Template, dead_letter
from streamforge.tables import show_record, show_status
from tests.kit.records import NOON, series

FLOW: dict[str, list[Any]] = {"adapters": [], "stages": [], "sinks": []}


def printed(show: Any, *what: Any) -> str:
    """As it goes into a pipe."""
    out = io.StringIO()
    show(Console(file=out, no_color=True, highlight=False, soft_wrap=True), *what)
    return re.sub(r"\x1b\[[\d;]*m", "", out.getvalue())


def cause(said: str, next_step: str | None) -> dict[str, Any]:
    since = (time.time() - 180) * 1e6
    return {"said": said, "next_step": next_step, "since": since, "points": 300, "names": ["a/b"] * 300}


def status(*causes: dict[str, Any], letters: list[dict[str, Any]] | None = None) -> str:
    problem = {
        "component": "data_path/adapters/presses", "status": "DEGRADED", "reason": "all at once", "next_step": "general advice",
        "causes": list(causes),
    }  # fmt: skip
    health = {
        "gateway": {"id": "g"}, "status": "DEGRADED", "reason": "x", "problems": [problem], "dead_letters": letters or [],
    }  # fmt: skip
    return printed(show_status, health, FLOW, 4711)


def test_each_cause_is_a_sentence_with_its_own_step_and_how_long_it_lasts() -> None:
    text = status(cause("unit 7 refuses; 300 points have no value", "correct it"), cause("unit 8 is silent", "see"))
    assert "unit 7 refuses; 300 points have no value (for 3 min)\n    correct it\n    unit 8 is silent" in text
    assert "all at once" not in text
    assert len(text) < 500


def test_a_step_that_two_causes_share_is_said_once_and_a_cause_without_gets_the_general_one() -> None:
    assert status(cause("a", "correct it"), cause("b", "correct it")).count("correct it") == 1
    assert "general advice" in status(cause("a", None))


def test_without_causes_the_reason_is_told() -> None:
    assert "all at once\n    general advice" in status()


def test_dead_letters_are_told_by_component_with_the_command() -> None:
    now = time.time()
    one = {
        "component": "data_path/processing/validator-0", "count": 152, "since": (now - 180) * 1e6, "last_at": now - 4,
        "rule": "range", "point": "press_4/oil", "reason": "range: 999 is above 120", "topic": "dlq.telemetry",
        "command": "streamforge tail dlq.telemetry",
    }  # fmt: skip
    text = status(letters=[one])
    assert "validator-0: 152 in 3 min; the newest 4 s ago: press_4/oil: range: 999 is above 120" in text
    assert "streamforge tail dlq.telemetry" in text


def test_components_in_the_same_trouble_are_told_together() -> None:
    wait = {"status": "STARTING", "reason": "waits for its turn to start", "next_step": "wait a moment", "causes": []}
    problems = [{**wait, "component": f"data_path/adapters/a{n}"} for n in range(13)]
    for n in (11, 12):
        problems[n]["reason"] = f"the stream does not answer since 17:00:{n}; tries again in {n}.2 s"
    text = printed(
        show_status, {"gateway": {"id": "g"}, "status": "STARTING", "reason": "x", "problems": problems}, FLOW, 1
    )
    assert "STARTING  11 components: a0, a1, a2, a3, a4 and 6 more" in text
    assert "STARTING  2 components: a11, a12" in text
    assert text.count("waits for its turn") == 1


class Sent:
    """A message of the stream."""

    def __init__(self, offset: int, timestamp: int, value: bytes) -> None:
        self.offset, self.timestamp, self.key, self.value = offset, timestamp, b"key", value


@pytest.fixture
def codec(tmp_path: Any) -> Codec:
    return Codec(SchemaIds(tmp_path / "schemas.json"))


def letter(codec: Codec, original: bytes, **more: Any) -> dict[str, Any]:
    """As `tail` gives it."""
    given = {
        "stage": "data_path/adapters/hall", "rule": "type", "reason": "t/a: 'x' is no number", "source": ("", -1, -1),
        "arrived_at": NOON, **more,
    }  # fmt: skip
    wire = codec.encode_document(dead_letter("dlq.telemetry", original=original, **given))
    (found,) = in_order(codec, {("dlq.telemetry", 3): [Sent(7, 1, wire)]})  # type: ignore[dict-item]
    return found


def test_a_refused_reading_is_shown_as_the_reading_it_was(codec: Codec) -> None:
    wire = Template(series("press_4", "oil", "celsius"), 1).encode(999.5, NOON, NOON, Quality.GOOD)
    found = letter(
        codec, wire, stage="data_path/processing/validator-0", rule="range", reason="range: 999.5 is above 120",
        source=("telemetry.raw", 5, 1234), asset="press_4", parameter="oil",
    )  # fmt: skip
    assert found["original_reading"]["value"] == 999.5
    head, by, original = printed(show_record, found).splitlines()
    assert head.split() == [
        "3/7",
        "2026-01-29T12:00:00.000000Z",
        "press_4/oil",
        "range:",
        "999.5",
        "is",
        "above",
        "120",
    ]
    assert by.strip() == "refused by data_path/processing/validator-0 (rule range), stood in telemetry.raw 5/1234"
    assert original.strip() == "original: 999.5 celsius, GOOD as it came, of 2026-01-29T12:00:00.000000Z"


@pytest.mark.parametrize(
    ("original", "told"),
    [
        (b'{"v": "none"}', """original, 13 bytes of text: '{"v": "none"}'"""),
        ("grün".encode(), "original, 5 bytes of text: 'grün'"),
        (b"\xff\x00\x7f", "original, 3 bytes: ff 00 7f"),
        (b"\x1b[2J", "original, 4 bytes: 1b 5b 32 4a"),
        (b"", "original, 0 bytes of text: ''"),
        (b"x" * 5000, "x ... (whole with --json)'"),
    ],
    ids=["json", "text", "bytes", "terminal", "nothing", "long"],
)
def test_a_refused_payload_is_text_where_it_is_text_else_hex(codec: Codec, original: bytes, told: str) -> None:
    head, by, shown = printed(show_record, letter(codec, original)).splitlines()
    assert head.endswith("t/a: 'x' is no number")
    assert by.strip() == "refused by data_path/adapters/hall (rule type)"
    assert shown.endswith(told)
    assert len(shown) < 400


def test_a_reading_that_cannot_be_decoded_is_shown_in_hex(codec: Codec) -> None:
    found = letter(codec, b"\x00\x00\x00\x03\xe7\xff", rule="decode", source=("telemetry.raw", 0, 5))
    assert found["original_hex"] == "00 00 00 03 e7 ff"


def test_the_newest_comes_last_whatever_partition_it_is_in(codec: Codec) -> None:
    make = Template(series(), 1)
    past = {
        ("telemetry.clean", p): [Sent(n, 10 * n + p, make.encode(float(10 * n + p), NOON, NOON)) for n in range(700)]
        for p in range(3)
    }
    values = [record["value"] for record in in_order(codec, past)]  # type: ignore[arg-type]
    assert values == sorted(values)
    assert len(values) == 2100
