"""Which limits hold for which point: the configured rules, merged once for each series when it is first seen.

A later rule wins over an earlier one in each figure it sets: `{range: {max: 90}}` behind `{range: {min: -20, max: 120}}` keeps
the -20. Where nothing is configured the time and duplicate rules hold with their defaults; quality GOOD switches a rule off.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.points import Lookup
from schemas.gateway import (
    DuplicateRule,
    FlatLineRule,
    GapRule,
    RangeRule,
    RateRule,
    Rule,
    StaleRule,
    TimeRule,
    TypeRule,
)
from schemas.records import Kind, Quality, Records, Series

TYPES = ("any", "number", "integer", "boolean", "string")
FITS = np.zeros((len(TYPES), len(Kind)), bool)
"""[type, kind]: may the value be of this kind? A double without a fraction passes for an integer, see checks.py."""
FITS[TYPES.index("any"), [Kind.DOUBLE, Kind.LONG, Kind.BOOLEAN, Kind.STRING]] = True
FITS[TYPES.index("number"), [Kind.DOUBLE, Kind.LONG]] = True
FITS[TYPES.index("integer"), [Kind.DOUBLE, Kind.LONG]] = True
FITS[TYPES.index("boolean"), Kind.BOOLEAN] = True
FITS[TYPES.index("string"), Kind.STRING] = True

_SECTIONS: dict[str, type[Any]] = {
    "range": RangeRule,
    "rate_of_change": RateRule,
    "duplicate": DuplicateRule,
    "gap": GapRule,
    "time": TimeRule,
    "type": TypeRule,
    "flat_line": FlatLineRule,
    "stale": StaleRule,
}
_LIMITS_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """Every figure of every rule for one point; infinite where there is no limit, quality GOOD where a rule is off."""

    low: float = -np.inf
    high: float = np.inf
    range_quality: int = Quality.BAD
    rate: float = np.inf
    rate_quality: int = Quality.SUSPECT
    duplicate_quality: int = Quality.BAD
    gap_s: float = np.inf
    missing_quality: int = Quality.UNCERTAIN
    skew_s: float = 5.0
    skew_quality: int = Quality.UNCERTAIN
    type: int = 0
    type_quality: int = Quality.BAD
    flat_s: float = np.inf
    flat_tolerance: float = 0.0
    flat_quality: int = Quality.SUSPECT
    stale_s: float = np.inf
    stale_quality: int = Quality.SUSPECT


_COLUMNS = {field.name: np.float64 if "float" in str(field.type) else np.uint8 for field in fields(Limits)}


@dataclass(frozen=True, slots=True)
class _Pattern:
    order: int
    rule: Rule
    asset: Callable[[str], Any]
    parameter: Callable[[str], Any]
    adapter: Callable[[str], Any]

    def fits(self, series: Series) -> bool:
        return bool(self.asset(series.asset) and self.parameter(series.parameter) and self.adapter(series.adapter_id))


class Rules:
    """The rules of one configuration. Rules for one named point cost nothing for the others, however many there are."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._named: dict[tuple[str, str], list[_Pattern]] = {}
        self._wide: list[_Pattern] = []
        for order, rule in enumerate(rules):
            match = rule.match
            pattern = _Pattern(order, rule, _matcher(match.asset), _matcher(match.parameter), _matcher(match.adapter))
            asset, parameter = literal(match.asset), literal(match.parameter)
            if asset is None or parameter is None:
                self._wide.append(pattern)
            else:
                self._named.setdefault((asset, parameter), []).append(pattern)

    def limits(self, series: Series) -> Limits:
        """What holds for one point."""
        fitting = [p for p in [*self._wide, *self._named.get((series.asset, series.parameter), [])] if p.fits(series)]
        merged: dict[str, dict[str, Any]] = {"duplicate": {}, "time": {}}
        for pattern in sorted(fitting, key=lambda p: p.order):
            for section in _SECTIONS:
                given = getattr(pattern.rule, section)
                if given is not None:
                    merged.setdefault(section, {}).update(
                        {name: getattr(given, name) for name in given.model_fields_set}
                    )
        return _limits({section: _SECTIONS[section].model_construct(**given) for section, given in merged.items()})


class LimitTable:
    """The limits of the series of a decoder's table as columns: `rows(records)` says where each row's stand."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._begin()

    def _begin(self) -> None:
        self._lookup = Lookup()
        self._places: dict[Limits, int] = {}
        self.columns: dict[str, npt.NDArray[Any]] = {name: np.empty(0, kind) for name, kind in _COLUMNS.items()}

    def rows(self, records: Records) -> npt.NDArray[np.int32]:
        """An index into each of `columns` for each row."""
        found = self._lookup.of(records)
        if found.min(initial=0) >= 0:
            return found
        if len(self._places) > _LIMITS_MAX:
            self._begin()
            found = self._lookup.of(records)
        for series in dict.fromkeys(records.series[found < 0].tolist()):
            limits = self._rules.limits(records.table[series])
            self._lookup.known[series] = self._places.setdefault(limits, len(self._places))
        self._fill()
        return self._lookup.of(records)

    def _fill(self) -> None:
        new = list(islice(self._places, len(self.columns["low"]), None))
        for field in _COLUMNS:
            added = np.array([getattr(limits, field) for limits in new], self.columns[field].dtype)
            self.columns[field] = np.concatenate([self.columns[field], added])


def literal(pattern: str) -> str | None:
    """The one text a pattern matches (`[*]` stands for a star), or None if it may match several."""
    plain = re.sub(r"\[[*?\[]\]", "", pattern)
    return None if re.search(r"[*?\[]", plain) else re.sub(r"\[([*?\[])\]", r"\1", pattern)


def _matcher(pattern: str) -> Callable[[str], Any]:
    if pattern == "*":
        return lambda _text: True
    text = literal(pattern)
    return re.compile(fnmatch.translate(pattern)).match if text is None else text.__eq__


def _limits(merged: dict[str, Any]) -> Limits:
    given: dict[str, Any] = {}
    for section, rule in merged.items():
        given |= _FIGURES[section](rule)
    return Limits(**given)


def _or(given: float | None, otherwise: float) -> float:
    return otherwise if given is None else given


_FIGURES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "range": lambda r: {"low": _or(r.min, -np.inf), "high": _or(r.max, np.inf), "range_quality": r.quality},
    "rate_of_change": lambda r: {"rate": r.max_per_second, "rate_quality": r.quality},
    "duplicate": lambda r: {"duplicate_quality": r.quality},
    "gap": lambda r: {"gap_s": r.expected},
    "time": lambda r: {"missing_quality": r.missing, "skew_s": r.warn_skew, "skew_quality": r.skewed},
    "type": lambda r: {"type": TYPES.index(r.type), "type_quality": r.quality},
    "flat_line": lambda r: {"flat_s": r.longer_than, "flat_tolerance": r.tolerance, "flat_quality": r.quality},
    "stale": lambda r: {"stale_s": r.older_than, "stale_quality": r.quality},
}
