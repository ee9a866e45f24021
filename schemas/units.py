"""Durations and sizes as people write them: `500ms`, `10s`, `1min`, `2h`, `7d`; `64 MiB`, `20 GiB`."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer

SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "m": 60, "hour": 3600, "h": 3600, "d": 86400, "y": 365 * 86400}
BYTES = {"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def _parse(text: str, units: dict[str, float], example: str) -> float:
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", text)
    if not found or found[2] not in units:
        raise ValueError(f"is not a number with a unit of {', '.join(units)}; right would be {example}")
    return float(found[1]) * units[found[2]]


def seconds(given: Any) -> Any:
    """`"500ms"` to 0.5. A bare number is refused: it hides whether seconds or milliseconds were meant."""
    if isinstance(given, str):
        return _parse(given, SECONDS, "500ms, 1s or 10min")
    if isinstance(given, int | float) and not isinstance(given, bool):
        raise ValueError(f"has no unit; right would be {given}s or {given}ms")  # noqa: TRY004 - pydantic wants ValueError
    return given


def octets(given: Any) -> Any:
    """`"20 GiB"` to 21474836480; a bare integer is bytes."""
    return int(_parse(given, BYTES, "64 MiB or 20 GiB")) if isinstance(given, str) else given


_written = PlainSerializer(lambda value: f"{value:.6f}s", return_type=str, when_used="json")
"""As JSON a duration is text with its unit again, so that what one process wrote another can validate."""

Duration = Annotated[
    float,
    BeforeValidator(seconds, json_schema_input_type=str),
    _written,
    Field(gt=0, json_schema_extra={"examples": ["1s", "500ms"]}),
]
"""Seconds as a float after validation."""

MaybeZeroDuration = Annotated[
    float,
    BeforeValidator(seconds, json_schema_input_type=str),
    _written,
    Field(ge=0, json_schema_extra={"examples": ["0s", "20ms"]}),
]

Size = Annotated[
    int,
    BeforeValidator(octets, json_schema_input_type=int | str),
    Field(gt=0, json_schema_extra={"examples": ["64 MiB", "20 GiB"]}),
]
