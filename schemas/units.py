"""Durations and sizes as people write them: `500ms`, `10s`, `1min`, `2h`, `7d`; `64 MiB`, `20 GiB`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "m": 60, "hour": 3600, "h": 3600, "d": 86400, "y": 365 * 86400}
BYTES = {"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}

_DURATIONS, _SIZES = "500ms, 1s or 10min", "64 MiB or 20 GiB"


def _parse(text: str, units: dict[str, float], example: str) -> float:
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", text)
    if not found or found[2] not in units:
        raise ValueError(f"is not a number with a unit of {', '.join(units)}; right would be {example}")
    return float(found[1]) * units[found[2]]


def seconds(given: Any) -> Any:
    """`"500ms"` to 0.5. A bare number is refused: it hides whether seconds or milliseconds were meant."""
    if isinstance(given, str):
        return _parse(given, SECONDS, _DURATIONS)
    if isinstance(given, int | float) and not isinstance(given, bool) and abs(given) < float("inf"):
        raise ValueError(f"has no unit; right would be {given}s or {given}ms")
    raise ValueError(f"is not a duration; right would be {_DURATIONS}")


def octets(given: Any) -> Any:
    """`"20 GiB"` to 21474836480; a bare integer is bytes."""
    if isinstance(given, str):
        return int(_parse(given, BYTES, _SIZES))
    if isinstance(given, bool) or not isinstance(given, int):
        raise ValueError(f"is not a size; right would be {_SIZES}")  # noqa: TRY004 - pydantic wants ValueError
    return given


def between(least: str, most: str) -> AfterValidator:
    """Limits of a duration or a size as people write them: `between("1ms", "1d")`."""
    units = SECONDS if re.sub(r"[\d.\s]", "", least) in SECONDS else BYTES
    low, high = _parse(least, units, ""), _parse(most, units, "")

    def check(value: float) -> float:
        if value < low:
            raise ValueError(f"is too small; right would be at least {least}")
        if value > high:
            raise ValueError(f"is too large; right would be at most {most}")
        return value

    return AfterValidator(check)


def as_limit(limit: float, given: Any) -> str:
    """A limit in the words of what was given: `1h` for 3600 when that was a duration."""
    for parse, units in ((seconds, SECONDS), (octets, BYTES)):
        if isinstance(given, str) and _is(parse, given):
            name, one = max(
                ((n, u) for n, u in units.items() if limit and limit >= u and limit % u == 0),
                key=lambda pair: pair[1],
                default=("s" if units is SECONDS else "B", 1),
            )
            return f"{limit / one:g}{name}" if units is SECONDS else f"{limit / one:g} {name}"
    return f"{limit:g}" if isinstance(limit, float) else str(limit)


def _is(parse: Callable[[Any], Any], given: str) -> bool:
    try:
        parse(given)
    except ValueError:
        return False
    return True


_written = PlainSerializer(lambda value: f"{value:.6f}s", return_type=str, when_used="json")
"""As JSON a duration is text with its unit again, so that what one process wrote another can validate."""

Duration = Annotated[
    float,
    BeforeValidator(seconds, json_schema_input_type=str),
    _written,
    Field(gt=0, json_schema_extra={"examples": ["1s", "500ms"]}),
    between("1us", "100y"),
]
"""Seconds as a float after validation."""

Period = Annotated[Duration, between("1ms", "31d")]
"""How often something is read."""

Wait = Annotated[Duration, between("1ms", "1h")]
"""How long something may take, or is left alone."""

MaybeZeroDuration = Annotated[
    float,
    BeforeValidator(seconds, json_schema_input_type=str),
    _written,
    Field(ge=0, json_schema_extra={"examples": ["0s", "20ms"]}),
    between("0s", "100y"),
]

Size = Annotated[
    int,
    BeforeValidator(octets, json_schema_input_type=int | str),
    Field(gt=0, json_schema_extra={"examples": ["64 MiB", "20 GiB"]}),
    between("1 B", "1000 TiB"),
]
