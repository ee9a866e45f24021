"""Why a broker's process ended, in words: from its exit code and its last console lines. Pure."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence

CAUSES: list[tuple[str, str]] = [
    (r"No space left on device", "the disk is full. Free some space, or give the stream a smaller disk_budget"),
    (r"Read-only file system", "the file system of its data is mounted read-only: often the kernel's answer to a failing disk. See dmesg"),
    (r"Input/output error", "the disk reports input/output errors. See dmesg; the disk may be dying"),
    (r"Address already in use|Failed to bind", "its port was taken in the moment of the start. Right would be another `stream.port`"),
    (r"Failed to acquire lock on file", "another Kafka uses the same data. Right would be to stop it, or another data_dir"),
    (r"UnsupportedClassVersionError", "the Java is too old for Kafka; 17 or newer is needed"),
    (r"InconsistentClusterId|Invalid cluster\.id", "the data belongs to another cluster. Right would be this gateway's own data_dir"),
    (r"UnsupportedVersionException|Unsupported metadata\.version|No MetadataVersion with feature level|unknown version for feature", "the data was written by a newer Kafka. Right would be that version, or another data_dir"),
    (r"OutOfMemoryError|Terminating due to java\.lang\.OutOfMemory", "its memory ran out. Right would be a larger `stream.heap`"),
    (r"insufficient memory for the Java Runtime|Could not reserve enough space|Cannot allocate memory", "the machine has too little free memory for it. Right would be a smaller `stream.heap`"),
    (r"AccessDeniedException|Permission denied", "a file of its data may not be read or written by this user. Right would be that the data_dir belongs to the gateway's user"),
    (r"Error while reading (?:checkpoint|partition metadata) file", "a small file of its data is damaged"),
    (r"Found problem with meta\.properties|meta\.properties.*(?:corrupt|malformed)", "meta.properties is damaged"),
    (r"CorruptRecordException|Found invalid messages|checksum|CRC", "a file of its data is damaged"),
]  # fmt: skip
"""Pattern in the console, and what it means and what helps; the first that is found counts."""


def explain(code: int, console: Sequence[str]) -> str:
    """One sentence for the supervisor's report: how it ended, why, what helps, and the line that says so."""
    how = _ended(code)
    for pattern, meaning in CAUSES:
        for line in console:
            if re.search(pattern, line):
                return f"The broker {how}: {meaning} [{_short(line)}]"
    said = _telling(console, killed=code < 0)
    return f"The broker {how}" + (f". It said: {_short(said)}" if said else "" if code < 0 else " and did not say why")


def _telling(console: Sequence[str], *, killed: bool) -> str | None:
    """The first error with the exception that follows it; else the last line that is no mere information, unless it was killed: then
    what it said before has nothing to do with its end."""
    for number, line in enumerate(console):
        if line.startswith(("ERROR", "FATAL", "Error", "Exception")):
            following = console[number + 1] if number + 1 < len(console) else ""
            return f"{line} {following}" if re.match(r"[\w.$]+(Exception|Error)\b", following) else line
    return None if killed else next((line for line in reversed(console) if not line.startswith("INFO")), None)


def _ended(code: int) -> str:
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = str(-code)
        return f"was killed by {name}" + (
            " (by somebody, or by the kernel for want of memory)" if name == "SIGKILL" else ""
        )
    return f"ended by itself with code {code}"


def _short(line: str) -> str:
    return line if len(line) <= 300 else line[:297] + "..."
