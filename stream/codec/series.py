"""The series a decoder has seen, by how their records begin. Bounded: a full table is left to its readers and a new one begun."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.records import Classification, Series
from stream.codec.template import prefix

HEAD = 13
"""Bytes of framing and series key: what a series is recognised by."""


class SeriesTable:
    """Grows by `add`; indexes are good for `series` of this object only."""

    def __init__(self, schema_id: int) -> None:
        self._schema_id = schema_id
        self.series: list[Series] = []
        self.by_head: dict[bytes, int] = {}
        self.prefixes: list[bytes] = []
        """How records of each series begin; verified for every record."""
        self._sizes = np.zeros(256, np.int64)
        self._by_series: dict[Series, int] = {}

    def __len__(self) -> int:
        return len(self.series)

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Length of each prefix."""
        return self._sizes

    def add(self, series: Series) -> int:
        """The index of a series, known or new."""
        if series in self._by_series:
            return self._by_series[series]
        index = len(self.series)
        begin = prefix(series, self._schema_id)
        self.series.append(series)
        self.prefixes.append(begin)
        if index >= len(self._sizes):
            self._sizes = np.concatenate([self._sizes, np.zeros_like(self._sizes)])
        self._sizes[index] = len(begin)
        self._by_series[series] = index
        self.by_head.setdefault(begin[:HEAD], index)
        return index


def series_of(fields: dict[str, Any]) -> Series:
    """The static part of a decoded reading."""
    meta = fields["metadata"]
    return Series(
        fields["asset_id"],
        fields["parameter"],
        fields["unit"],
        Classification[fields["classification"]],
        meta["adapter_id"],
        meta["adapter_version"],
        meta["pipeline_id"],
        meta["gateway_id"],
    )
