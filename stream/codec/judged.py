"""Passing readings on with another quality: their bytes are patched, or given a new end, never encoded again."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from schemas.records import Codes, Quality, Records, Rows
from stream.codec.avro import Writers, encode
from stream.codec.template import long, maybe_text

_QUALITY = tuple(bytes((2 * q,)) for q in Quality)
_ENDS_KEPT = 4096
_ends: dict[tuple[int, str], bytes] = {}


def judged(
    records: Records, rows: Rows, quality: Codes, reasons: Mapping[int, str], writers: Writers, schema_id: int
) -> list[bytes]:
    """The wire bytes of `rows` with `quality` (one for each of `rows`) and `reasons` (by row of `records`).

    A row whose quality stays and that is given no reason keeps its bytes; a new quality alone keeps the reason it had.
    """
    wires = records.wire
    out = list(wires) if _are_all(rows, len(wires)) else [wires[row] for row in rows.tolist()]
    changed = records.quality[rows] != quality
    if reasons:
        changed |= np.isin(rows, np.fromiter(reasons, np.intp, len(reasons)))
    which = np.flatnonzero(changed)
    chosen = rows[which]
    known = len(records.quality_at) == len(wires)
    starts = records.quality_at[chosen] if known else np.full(len(chosen), -1)
    columns = zip(which.tolist(), chosen.tolist(), starts.tolist(), quality[which].tolist(), strict=True)
    olds = records.reason
    for at, row, start, code in columns:
        wire, reason = wires[row], reasons.get(row)
        if start < 0:
            out[at] = _encoded_again(wire, code, reason, writers, schema_id)
        elif reason is None:
            out[at] = wire[:start] + _QUALITY[code] + wire[start + 1 :]
        else:
            behind = start + 2 if row not in olds else start + 2 + _size(olds[row])
            out[at] = wire[:start] + (_ends.get((code, reason)) or _end(code, reason)) + wire[behind:]
    return out


def _end(quality: int, reason: str) -> bytes:
    """Quality and reason, encoded; remembered, since a rule gives the same reason to many."""
    if len(_ends) >= _ENDS_KEPT:
        _ends.clear()
    end = _ends[quality, reason] = _QUALITY[quality] + maybe_text(reason)
    return end


def _size(reason: str) -> int:
    """Bytes of a reason behind its union's tag."""
    size = len(reason.encode())
    return len(long(size)) + size


def _encoded_again(wire: bytes, quality: int, reason: str | None, writers: Writers, schema_id: int) -> bytes:
    """For a record under an older schema, or not canonical: decoded and written as ours."""
    name, fields = writers.decode(wire)
    fields["quality"] = Quality(quality).name
    if reason is not None:
        fields["quality_reason"] = reason
    if fields["value"] is not None:
        fields["value"] = (_BRANCH[type(fields["value"])], fields["value"])
    return encode(name, schema_id, fields)


_BRANCH = {float: "double", int: "long", bool: "boolean", str: "string"}
"""fastavro would write a whole number as the first branch that could hold it, a double."""


def _are_all(rows: Rows, n: int) -> bool:
    return len(rows) == n and bool((rows == np.arange(n)).all())
