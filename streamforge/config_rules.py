"""What must fit together across the sections of a gateway file, beyond what one model can know of itself.

Works on the file as it was written, so that these mistakes are told together with all others. Asks nothing of the machine
(config_here.py does).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from schemas.gateway import Interval, Match, secret_name
from schemas.mistakes import Where, as_text, shown
from stream.topics import TOPICS
from streamforge.config_problems import Problem
from streamforge.yaml_source import Source

INTERVALS: tuple[str, ...] = Interval.__args__  # type: ignore[attr-defined]
PASSWORDS = ("password",)
TELEMETRY = "TELEMETRY"
LEAVES_AS = {TELEMETRY: "telemetry.clean", "EVENT": "events.clean", "ALARM": "alarms.raw"}
"""The topic from which a sink delivers the readings of a class."""
SECRET_LIKE = re.compile(r"\$\{|\$?\{\s*secrets?\s*[:.]|\$secrets?\b|^secrets?:|<secret", re.IGNORECASE)
"""What somebody wrote who meant a reference to a secret."""


def problems(source: Source) -> list[Problem]:
    """All of them, errors and warnings."""
    found = [
        *_doubled_ids(source),
        *_unmade_windows(source),
        *_one_name_twice(source),
        *_secrets(source),
        *_log_points(source),
    ]
    return [*found, *_idle(source), *_rules_for_nobody(source), *_delivered_nowhere(source)]


def entries(source: Source, section: str) -> Iterator[tuple[Where, dict[str, Any]]]:
    """The sections of a list that can be read as such."""
    given = source.data.get(section)
    for i, entry in enumerate(given if isinstance(given, list) else []):
        if isinstance(entry, dict):
            yield (section, i), entry


def texts(data: Any, where: Where = ()) -> Iterator[tuple[Where, str]]:
    """Every text of a part of the file, with the way to it."""
    if isinstance(data, str):
        yield where, data
    inside = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in inside:
        yield from texts(value, (*where, key))


def _problem(source: Source, where: Where, message: str, given: Any = None, *, warning: bool = False) -> Problem:
    told = None if given is None else shown(given, where)
    return Problem(source.name, source.line(where), as_text(where), message, told, "warning" if warning else "error")


def _doubled_ids(source: Source) -> Iterator[Problem]:
    seen: dict[str, Where] = {}
    for section in ("adapters", "sinks"):
        for place, entry in entries(source, section):
            name, where = entry.get("id"), (*place, "id")
            if isinstance(name, str) and seen.setdefault(name, where) != where:
                first = source.line(seen[name])
                text = f"{name!r} is also the id in line {first}; right would be an id of its own for each adapter and sink"
                yield _problem(source, where, text, name)


def _unmade_windows(source: Source) -> Iterator[Problem]:
    """A sink that waits for windows nobody makes."""
    made = source.data.get("aggregates", list(INTERVALS))
    if not isinstance(made, list) or any(one not in INTERVALS for one in made):
        return  # what is wrong there has been said, and may be what is wanted here
    for place, entry in entries(source, "sinks"):
        for i, topic in enumerate(_listed(entry, "topics")):
            interval = str(topic).removeprefix("telemetry.")
            if topic == f"telemetry.{interval}" and interval in INTERVALS and interval not in made:
                right = f"`aggregates: [{', '.join([*map(str, made), interval])}]`"
                text = f"{topic} is made by nobody, since `aggregates` does not have {interval}; right would be {right}, or to leave it out here"
                yield _problem(source, (*place, "topics", i), text, topic)


class Point(NamedTuple):
    """As it stands in the file, `defaults` included; None for what cannot be told."""

    adapter: str
    where: Where
    asset: str | None
    parameter: str | None
    classification: str | None


def points(source: Source) -> Iterator[Point]:
    """Of the adapters that run."""
    for place, entry in entries(source, "adapters"):
        if entry.get("enabled") is False:
            continue
        defaults = entry.get("defaults")
        around = defaults if isinstance(defaults, dict) else {}
        holders = [(place, entry, around)]
        for i, one in enumerate(_listed(entry, "subscriptions")):
            own = {"asset": one["asset"]} if isinstance(one, dict) and "asset" in one else {}
            holders.append(((*place, "subscriptions", i), one, {**around, **own}))
        for where, holder, given in holders:
            for i, point in enumerate(_listed(holder, "points")):
                whole = {**given, **point} if isinstance(point, dict) else {}
                names = (whole.get("asset"), whole.get("parameter"), whole.get("classification", TELEMETRY))
                yield Point(
                    str(entry.get("id")), (*where, "points", i), *(n if isinstance(n, str) else None for n in names)
                )


def _listed(holder: Any, name: str) -> list[Any]:
    """What stands in a list, if it is one."""
    found = holder.get(name) if isinstance(holder, dict) else None
    return found if isinstance(found, list) else []


def _one_name_twice(source: Source) -> Iterator[Problem]:
    """Points of two adapters under one name would be one series in the database; within an adapter its own model looks."""
    first: dict[tuple[str, str], tuple[str, Where]] = {}
    for adapter, place, asset, parameter, _ in points(source):
        if asset is None or parameter is None or "{" in asset + parameter:
            continue
        owner, where = first.setdefault((asset, parameter), (adapter, place))
        if where[:2] != place[:2]:
            text = f"{asset}/{parameter} is also read by adapter {owner} in line {source.line(where)}, and both would be stored as one series"
            yield _problem(source, place, f"{text}; right would be another asset or parameter")


def _log_points(source: Source) -> Iterator[Problem]:
    for section, entry in entries(source, "adapters"):
        for where, text in texts(entry, section):
            if where[-1] == "classification" and text == "LOG":
                yield _problem(
                    source,
                    where,
                    '"LOG" is for log lines, not for points; right would be TELEMETRY, EVENT or ALARM',
                    text,
                )


def _secrets(source: Source) -> Iterator[Problem]:
    """Passwords that stand in the file, and references to secrets that are none."""
    for section in ("adapters", "sinks"):
        for place, entry in entries(source, section):
            right = f'"${{secret:{entry.get("id", "name")}}}"'
            for where, text in texts(entry, place):
                if secret_name(text) is not None:
                    continue
                if SECRET_LIKE.search(text):
                    alone = (
                        "the reference alone, as the whole value" if re.search(r"\$\{secret:[\w.-]+\}", text) else right
                    )
                    text = f"{shown(text, where)} is no reference to a secret and would be taken as it stands; right would be {alone}"
                    yield _problem(source, where, text)
                elif where[-1] in PASSWORDS:
                    yield _problem(
                        source,
                        where,
                        f"stands in the file for everyone to read; right would be {right}, the value kept on the gateway",
                    )


def _idle(source: Source) -> Iterator[Problem]:
    """Workers that would never get a partition, and gateways that read nothing."""
    stream, processing = source.data.get("stream"), source.data.get("processing")
    partitions = stream.get("partitions", 12) if isinstance(stream, dict) else 12
    for name in ("validators", "aggregators"):
        count = processing.get(name) if isinstance(processing, dict) else None
        if isinstance(count, int) and isinstance(partitions, int) and count > partitions:
            text = f"{count} is more than the {partitions} partitions, so that some have nothing to do; right would be at most {partitions}"
            yield _problem(source, ("processing", name), text, count, warning=True)
    adapters = [entry for _, entry in entries(source, "adapters")]
    if adapters and all(entry.get("enabled") is False for entry in adapters):
        yield _problem(source, ("adapters",), "none is enabled: nothing is read", warning=True)


def _rules_for_nobody(source: Source) -> Iterator[Problem]:
    """A rule whose pattern is misspelt would never be missed."""
    known = list(points(source))
    if not known or _names_come_later(source):
        return
    for place, rule in entries(source, "rules"):
        match = rule.get("match")
        if (
            isinstance(match, dict)
            and set(match) <= set(Match.model_fields)
            and not any(_matches(match, one) for one in known)
        ):
            text = f"{shown(match)} matches no point of this file; right would be names of its points, with * for any"
            yield _problem(source, (*place, "match"), text, match, warning=True)


def _delivered_nowhere(source: Source) -> Iterator[Problem]:
    """Readings of a class that no sink takes: they would be looked for in the database in vain."""
    several = [entry for _, entry in entries(source, "sinks") if entry.get("enabled") is not False]
    topics = [str(topic) for entry in several for topic in _listed(entry, "topics")]
    if not topics or not {topic.name for topic in TOPICS}.issuperset(topics):
        return
    taken = {topic.partition(".")[0] for topic in topics}
    for name, topic in LEAVES_AS.items():
        places = [point.where for point in points(source) if point.classification == name]
        if places and topic.partition(".")[0] not in taken:
            more = f", with {len(places) - 1} more," if len(places) > 1 else ""
            text = f"is{more} of class {name}, and no sink has {topic} among its topics: such readings stay in the local stream"
            yield _problem(source, places[0], f"{text}; right would be a sink with {topic}", warning=True)


def _names_come_later(source: Source) -> bool:
    """Whether there are points that are named by what comes in, or whose names are wrong in the file."""
    if any(p.asset is None or p.parameter is None or "{" in p.asset + p.parameter for p in points(source)):
        return True
    around = [entry for _, entry in entries(source, "adapters")]
    holders = [*around, *(one for entry in around for one in _listed(entry, "subscriptions"))]
    return any("parameters" in one or not (_listed(one, "points") or _listed(one, "subscriptions")) for one in holders)


def _matches(match: dict[str, Any], point: Point) -> bool:
    given = {"adapter": point.adapter, "asset": point.asset or "", "parameter": point.parameter or ""}
    return all(fnmatchcase(value, str(match.get(name, "*"))) for name, value in given.items())
