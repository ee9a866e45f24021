"""One gateway file, read and checked whole: every mistake at once, each with file, line, path, what was given and what would be right.

`streamforge check`, the daemon and the demo use this one function; what the fields mean stands in schemas/gateway.py and beside
each protocol and sink.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

import protocols
import sinks
from schemas.gateway import AdapterConfig, Gateway, SinkConfig
from streamforge.yaml_source import Source, Unreadable, Where, parse, read


@dataclass(frozen=True)
class Problem:
    """One mistake in the file."""

    file: str
    line: int | None
    path: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.path}: {self.message}" if self.path else f"{place}: {self.message}"


class Invalid(Exception):
    """The file cannot be used; `problems` says all that is wrong with it."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


@dataclass(frozen=True)
class Checked:
    """A file without mistakes."""

    gateway: Gateway
    adapters: list[AdapterConfig]
    sinks: list[SinkConfig]
    raw: dict[str, Any]
    version: str
    """First 12 digits of the SHA-256 of the content: same content, same version."""


def load(path: Path) -> Checked:
    """Raises Invalid."""
    try:
        return check(read(path))
    except Unreadable as error:
        raise Invalid([Problem(str(path), error.line, "", str(error))]) from None


def load_text(text: str, name: str = "configuration") -> Checked:
    """Raises Invalid."""
    try:
        return check(parse(name, text))
    except Unreadable as error:
        raise Invalid([Problem(name, error.line, "", str(error))]) from None


def check(source: Source) -> Checked:
    """Raises Invalid with every mistake of the file."""
    if not isinstance(source.data, dict):
        raise Invalid([Problem(source.name, 1, "", "is empty; right would be at least `gateway: {id: my-gateway}`")])
    problems: list[Problem] = []
    gateway = _validated(Gateway, source, (), problems)
    adapters = list(_each(source, "adapters", "protocol", protocols.CONFIGS, problems))
    sink_configs = list(_each(source, "sinks", "type", sinks.CONFIGS, problems))
    problems += _doubled_ids(source)
    if not adapters and not problems:
        problems.append(Problem(source.name, source.line(("adapters",)), "adapters", "is empty: nothing would be read"))
    if problems or gateway is None:
        raise Invalid(sorted(problems, key=lambda p: p.line or 0))
    text = json.dumps(source.data, sort_keys=True, default=str)
    version = hashlib.sha256(text.encode()).hexdigest()[:12]
    return Checked(gateway, adapters, sink_configs, source.data, version)


def _each(source: Source, section: str, kind: str, table: dict[str, str], problems: list[Problem]) -> Iterator[Any]:
    """Validate each entry of `adapters` or `sinks` by the model its `protocol` or `type` names."""
    entries = source.data.get(section)
    for i, entry in enumerate(entries if isinstance(entries, list) else []):
        where: Where = (section, i)
        name = entry.get(kind) if isinstance(entry, dict) else None
        if not isinstance(entry, dict):
            continue  # Gateway's own check has said so
        if not isinstance(name, str) or name not in table:
            given = f"{name!r} is not known" if name is not None else "is missing"
            message = f"{given}; right would be one of {', '.join(table)}{_meant(str(name), table)}"
            problems.append(Problem(source.name, source.line((*where, kind)), _path((*where, kind)), message))
            continue
        module, _, cls = table[name].partition(":")
        model = getattr(importlib.import_module(module), cls)
        validated = _validated(model, source, where, problems, entry)
        if validated is not None:
            yield validated


def _validated(model: type[Any], source: Source, where: Where, problems: list[Problem], data: Any = None) -> Any:
    try:
        return model.model_validate(source.data if data is None else data)
    except ValidationError as error:
        problems += [_problem(source, where, model, detail) for detail in error.errors(include_url=False)]
        return None


def _problem(source: Source, where: Where, model: type[BaseModel], detail: ErrorDetails) -> Problem:
    *around, last = detail["loc"] or ("",)
    steps = (*(s for s in around if not _is_tag(s)), last) if detail["loc"] else ()
    place = (*where, *steps)
    line = source.line(place)
    if len(steps) >= 3 and steps[0] == "points" and place not in source.lines:
        line = source.lines.get((*where, "defaults", *steps[2:]), line)
    return Problem(source.name, line, _path(place), _words(detail, model, steps))


def _is_tag(step: str | int) -> bool:
    """Pydantic puts the names of union members and validators into the path: people did not write those."""
    return isinstance(step, str) and ("[" in step or "-" in step)


def _words(detail: ErrorDetails, model: type[BaseModel], steps: Where) -> str:
    given, kind = detail["input"], detail["type"]
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        known = _known_fields(model, steps)
        return f"is not a known field{_meant(str(detail['loc'][-1]), known)}; known are {', '.join(known)}"
    if kind == "value_error":
        text = str(detail["ctx"]["error"])
        return f"{_shown(given)} {text}" if text.startswith(("is ", "has ")) else text
    message = detail["msg"].replace("Input should be", "should be").replace("String should", "should")
    return f"{_shown(given)} {message[0].lower()}{message[1:]}"


def _shown(given: Any) -> str:
    text = json.dumps(given, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def _known_fields(model: type[BaseModel], steps: Where) -> list[str]:
    """The fields that are known where the last of `steps` stands."""
    current: Any = model
    for step in steps[:-1]:
        if isinstance(step, str) and isinstance(current, type) and issubclass(current, BaseModel):
            field = current.model_fields.get(step)
            current = _inner_model(field.annotation) if field else None
    return list(current.model_fields) if isinstance(current, type) and issubclass(current, BaseModel) else []


def _inner_model(annotation: Any) -> Any:
    """The model inside `list[Model]`, `Model | None`, `Annotated[...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in getattr(annotation, "__args__", ()):
        found = _inner_model(part)
        if found is not None:
            return found
    return None


def _meant(given: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(given, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _doubled_ids(source: Source) -> Iterator[Problem]:
    seen: dict[str, Where] = {}
    for section in ("adapters", "sinks"):
        entries = source.data.get(section)
        for i, entry in enumerate(entries if isinstance(entries, list) else []):
            if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
                continue
            where: Where = (section, i, "id")
            first = seen.setdefault(entry["id"], where)
            if first != where:
                message = (
                    f"{entry['id']!r} is also the id in line {source.line(first)}; each adapter and sink needs its own"
                )
                yield Problem(source.name, source.line(where), _path(where), message)


def _path(where: Where) -> str:
    text = ""
    for step in where:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text
