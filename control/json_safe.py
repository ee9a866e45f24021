"""What becomes JSON on its way out: NaN and infinities, which JSON does not know, become null."""

from __future__ import annotations

import json
import math
from typing import Any

from starlette.responses import Response


def json_safe(value: Any) -> Any:
    """The same value, to be written as JSON that every reader takes."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: json_safe(item) for key, item in value.items()}
    return [json_safe(item) for item in value] if isinstance(value, list | tuple) else value


def json_text(value: Any) -> str:
    """On one line."""
    return json.dumps(json_safe(value), separators=(",", ":"), ensure_ascii=False, default=str)


def answer(value: Any, status: int = 200) -> Response:
    return Response(json_text(value), status, media_type="application/json")
