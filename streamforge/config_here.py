"""What a good file still needs on the machine where it runs: secrets, certificates, a Java, room on the disk.

What only parks one adapter or sink is a warning, so that a file can be checked on another machine than the gateway's; what would keep
the whole gateway from running is an error.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from actors import secrets
from schemas.gateway import secret_name
from schemas.mistakes import as_text
from streamforge.config_file import Checked
from streamforge.config_problems import Problem
from streamforge.config_rules import entries, texts
from streamforge.yaml_source import Source


def lacking(checked: Checked, data_dir: Path) -> list[Problem]:
    """Errors and warnings, in the order of the file. Looks at files and asks the configured Java for its version."""
    found = [
        *_java(checked),
        *_room(checked, data_dir),
        *secrets_lacking(checked.source, data_dir),
        *_files(checked, data_dir),
    ]
    return sorted(found, key=lambda problem: problem.line or 0)


def _java(checked: Checked) -> Iterator[Problem]:
    from stream.broker import java
    from stream.parts import PartsError

    stream = checked.gateway.stream
    if stream.java is None or stream.bootstrap is not None:
        return
    try:
        java.find(stream.java)
    except PartsError as error:
        yield Problem(
            checked.source.name, checked.source.line(("stream", "java")), "stream.java", str(error), stream.java
        )


def _room(checked: Checked, data_dir: Path) -> Iterator[Problem]:
    stream = checked.gateway.stream
    place = next((p for p in (data_dir, *data_dir.absolute().parents) if p.exists()), Path("/"))
    total = shutil.disk_usage(place).total
    if stream.bootstrap is None and stream.disk_budget > total:
        line = checked.source.line(("stream", "disk_budget"))
        text = f"{stream.disk_budget / 2**30:.1f} GiB is more than the whole disk of {data_dir}; right would be less than {total / 2**30:.1f} GiB"
        yield Problem(checked.source.name, line, "stream.disk_budget", text, None, "warning")


def secrets_lacking(source: Source, data_dir: Path) -> Iterator[Problem]:
    """Each missing secret once, where it is first referred to; known of a file with mistakes, too."""
    said = set()
    for section in ("adapters", "sinks"):
        for place, entry in entries(source, section):
            for where, text in texts(entry, place) if entry.get("enabled") is not False else ():
                name = secret_name(text)
                if name is None or name in said:
                    continue
                said.add(name)
                try:
                    secrets.value(name, data_dir)
                except secrets.NoSecret as missing:
                    line, step = source.line(where), missing.next_step
                    yield Problem(source.name, line, as_text(where), str(missing), text, "warning", step)


def _files(checked: Checked, data_dir: Path) -> Iterator[Problem]:
    for number, adapter in enumerate(checked.adapters):
        for place, text in adapter.lacking(data_dir) if adapter.enabled else ():
            where = ("adapters", number, *place)
            yield Problem(checked.source.name, checked.source.line(where), as_text(where), text, None, "warning")
