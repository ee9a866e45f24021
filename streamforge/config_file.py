"""One gateway file, read and checked whole: every mistake at once, each with file, line, path, what was given and what would be right.

`streamforge check`, the daemon and the demo use this one function; what the fields mean stands in schemas/gateway.py and beside
each protocol and sink, what must fit together in config_rules.py, what this machine must have in config_here.py.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

import protocols
import sinks
from schemas.gateway import AdapterConfig, Gateway, SinkConfig
from schemas.mistakes import Where, as_text, closest, shown
from schemas.validation import validate
from streamforge import config_rules
from streamforge.config_problems import Invalid, Problem, placed
from streamforge.file_text import Unreadable, read_text
from streamforge.yaml_source import Source, parse

SMALLEST = "right would be at least `gateway: {id: my-gateway}` and `adapters: [...]`"


@dataclass(frozen=True)
class Checked:
    """A file without mistakes."""

    gateway: Gateway
    adapters: list[AdapterConfig]
    sinks: list[SinkConfig]
    raw: dict[str, Any]
    version: str
    """First 12 digits of the SHA-256 of the content: same content, same version."""
    source: Source
    warnings: list[Problem] = field(default_factory=list)
    """What works, but hardly as it was meant."""


def load(path: Path) -> Checked:
    """Raises Invalid."""
    try:
        text = read_text(path)
    except Unreadable as error:
        raise Invalid([Problem(str(path), error.line, "", str(error))]) from None
    return load_text(text, str(path))


def load_text(text: str, name: str = "configuration") -> Checked:
    """Raises Invalid."""
    try:
        return check(parse(name, text))
    except Unreadable as error:
        raise Invalid([Problem(name, error.line, "", str(error))]) from None


def check(source: Source) -> Checked:
    """Raises Invalid with every mistake of the file."""
    if not isinstance(source.data, dict):
        is_what = f"is {_kind(source.data)} and not a mapping of sections" if source.data is not None else "is empty"
        raise Invalid([Problem(source.name, source.line(()) or 1, "", f"{is_what}; {SMALLEST}")])
    problems = [Problem(source.name, source.line(at), as_text(at), text) for at, text in source.refused]
    gateway = _validated(Gateway, source, (), problems)
    adapters = list(_each(source, "adapters", "protocol", protocols.CONFIGS, problems))
    sink_configs = list(_each(source, "sinks", "type", sinks.CONFIGS, problems))
    problems += config_rules.problems(source)
    misspelt = any(key not in Gateway.model_fields and closest(str(key), ("adapters",)) for key in source.data)
    if not source.data.get("adapters") and not misspelt and not any(p.path == "adapters" for p in problems):
        text = (
            "is missing or empty: nothing would be read; right would be at least one adapter with `id` and `protocol`"
        )
        problems.append(Problem(source.name, source.line(("adapters",)), "adapters", text))
    problems.sort(key=lambda p: p.line or 0)
    if gateway is None or any(p.severity == "error" for p in problems):
        raise Invalid(problems, source)
    text = json.dumps(source.data, sort_keys=True, default=str)
    version = hashlib.sha256(text.encode()).hexdigest()[:12]
    return Checked(gateway, adapters, sink_configs, source.data, version, source, problems)


def _kind(data: Any) -> str:
    return "a list" if isinstance(data, list) else f"one value ({shown(data)})"


def _each(source: Source, section: str, kind: str, table: dict[str, str], problems: list[Problem]) -> Iterator[Any]:
    """Validate each entry of `adapters` or `sinks` by the model its `protocol` or `type` names."""
    entries = source.data.get(section)
    for i, entry in enumerate(entries if isinstance(entries, list) else []):
        where: Where = (section, i)
        if not isinstance(entry, dict):
            continue  # Gateway's own check has said so
        name = entry.get(kind)
        if not isinstance(name, str) or name not in table:
            likely = _likely(entry, kind, table)
            problems += _unknown_kind(source, (*where, kind), entry, table, likely)
            if likely is None:
                continue
            entry, name = {**entry, kind: likely}, likely
        validated = _validated(_model(table[name]), source, where, problems, entry)
        if validated is not None:
            yield validated


def _unknown_kind(
    source: Source, place: Where, entry: dict[str, Any], table: dict[str, str], likely: str | None
) -> list[Problem]:
    name, kind = entry.get(str(place[-1])), str(place[-1])
    if name is None and any(closest(str(key), (kind,)) for key in entry if key != "id"):
        return []  # said of the key that was meant to be it
    given = f"{shown(name)} is not known" if name is not None else "is missing"
    guess = f"; did you mean `{likely}`?" if likely and name is not None else ""
    message = f"{given}; right would be one of {', '.join(table)}{guess}"
    return [Problem(source.name, source.line(place), as_text(place), message, None if name is None else shown(name))]


def _model(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def _likely(entry: dict[str, Any], kind: str, table: dict[str, str]) -> str | None:
    """What an entry of no known kind was meant to be, so that its other mistakes are told, too: by its word, or by the keys it has."""
    word = entry.get(kind)
    if isinstance(word, str) and (close := closest(word, table)):
        return close[0]
    fitting = []
    for name, path in table.items():
        fields = _model(path).model_fields
        needed = {field for field, about in fields.items() if about.is_required()} - {"id", kind}
        if needed <= set(entry):
            fitting.append(name)
    return fitting[0] if len(fitting) == 1 else None


def _validated(model: type[BaseModel], source: Source, where: Where, problems: list[Problem], data: Any = None) -> Any:
    made, mistakes = validate(model, source.data if data is None else data)
    problems += placed(source, where, mistakes)
    return made
