"""A part of a batch as a batch of its own, for stages whose rules change at some place in the log."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np

from schemas.records import Records


def piece(records: Records, begin: int, end: int) -> Records:
    """The rows from `begin` to before `end`."""
    n = len(records)
    columns: dict[str, Any] = {}
    for field in fields(records):
        given = getattr(records, field.name)
        if isinstance(given, np.ndarray) and len(given) == n:
            columns[field.name] = given[begin:end]
        elif isinstance(given, dict):
            columns[field.name] = {row - begin: kept for row, kept in given.items() if begin <= row < end}
    return replace(records, wire=records.wire[begin:end], **columns)
